"""Evaluations with real models: likelihoods and answers against plain ones, and the whole verb."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from engine.benchmarks.spec import benchmarks
from engine.cli import main
from engine.data.tokenizer import ModelTokenizer
from engine.events import Finished
from engine.jobs.spec import read_job
from engine.runs import evaluations, store
from engine.runs.benchmark_rows import questions_for
from engine.runs.event_log import EventWriter
from engine.runtime import benchmark_lm_eval
from engine.runtime.benchmark import evaluate_job
from engine.runtime.benchmark_generate import Writer
from engine.runtime.benchmark_likelihoods import Likelihoods
from engine.runtime.benchmark_tree import Asked, head_of
from engine.runtime.control import Control
from engine.runtime.job import Job, Requests
from engine.runtime.vitals import Vitals
from tests.integration.conftest import MakeRun, events_of
from tests.integration.warm import run_to_end

HEAD = [5, 9, 13, 17]


def cases(size: int) -> list[list[Asked]]:
    """Return questions with a common head: several endings, one-token endings, one ending, a long one."""
    drawn = torch.randint(3, size, (6, 40), generator=torch.Generator().manual_seed(0)).tolist()
    first, second = HEAD + drawn[0][:9], HEAD + drawn[1][:14]
    third, long = HEAD + drawn[2][:6], HEAD + drawn[4]
    return [
        [Asked(first + drawn[3][:n], range(len(first), len(first) + n)) for n in (3, 6, 1)],
        [Asked([*second, token], (len(second),)) for token in (7, 8, 9, 10)],
        [Asked(third + drawn[5][:5], range(len(third), len(third) + 5))],
        [Asked(long + tail, range(len(long), len(long) + len(tail))) for tail in ([3, 4], [3, 5, 6])],
    ]


@torch.no_grad()
def plain(model: Any, each: Asked) -> tuple[float, bool]:
    """Return an ending's log-likelihood by a forward of its own with all scores, in float64."""
    scores = model(torch.tensor([list(each.ids)]), use_cache=False).logits[0].double().log_softmax(-1)
    found = [float(scores[place - 1, each.ids[place]]) for place in each.scored]
    return sum(found), all(int(scores[p - 1].argmax()) == each.ids[p] for p in each.scored)


def gemma(window: int) -> Any:
    """Return a random model with capped scores and attention of a window in every second layer."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=window,
        final_logit_softcapping=5.0,
        attn_logit_softcapping=5.0,
    )
    return Gemma2ForCausalLM(config).eval()


@pytest.fixture(params=["tiny", "gemma"])
def model(request: pytest.FixtureRequest, tiny_model: Path) -> Any:
    """Return a plain small model, and one whose attention has a window and caps."""
    if request.param == "gemma":
        return gemma(window=12)
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


@pytest.mark.parametrize("tree", [True, False])
def test_that_likelihoods_equal_those_of_one_forward_an_ending(model: Any, tree: bool) -> None:
    asked = cases(int(model.config.vocab_size))
    found = Likelihoods(model)
    assert found.tree
    found.tree, found.budget = tree, 64  # several passes
    assert head_of(asked) == len(HEAD)
    told = found.of(asked, head=head_of(asked))
    for question, likelihoods in zip(asked, told, strict=True):
        for each, likelihood in zip(question, likelihoods, strict=True):
            total, greedy = plain(model, each)
            assert likelihood.total == pytest.approx(total, abs=1e-4)
            assert (likelihood.tokens, likelihood.greedy) == (len(each.scored), greedy)


def test_that_one_token_endings_cost_one_pass_over_their_question_alone(tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    found, seen = Likelihoods(model), list[int]()
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    question = [Asked([*range(3, 23), token], (20,)) for token in (7, 8, 9, 10)]
    found.of([question])
    assert seen == [20]


def test_that_a_head_that_changes_between_base_and_adapter_is_asked_anew(tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval().requires_grad_(False)
    found, each = Likelihoods(model), Asked([5, 9, 13, 17, 4], (3, 4))
    for _ in range(2):
        assert found.of([[each]])[0][0].total == pytest.approx(plain(model, each)[0], abs=1e-4)
        trained = torch.randn(model.lm_head.weight.shape, generator=torch.Generator().manual_seed(0))
        model.lm_head.weight = torch.nn.Parameter(trained, requires_grad=False)


def test_that_what_is_longer_than_the_model_reads_loses_its_beginning(tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    ids = [i * 7 % 500 for i in range(600)]
    (found,) = Likelihoods(model).of([[Asked(ids, (598, 599))]])[0]
    assert found.total == pytest.approx(plain(model, Asked(ids[-513:], (511, 512)))[0], abs=1e-4)


def test_that_answers_in_a_batch_equal_those_alone(model: Any, tiny_model: Path) -> None:
    tokenizer, drawn = ModelTokenizer(tiny_model), torch.Generator().manual_seed(1)
    shared = torch.randint(3, 300, (20,), generator=drawn).tolist()
    prompts = [shared + torch.randint(3, 300, (n,), generator=drawn).tolist() for n in (3, 9, 9, 14)]
    alone = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, eos_token_id=None
        )
        alone.append(out[0, len(prompt) :].tolist())
    end = alone[0][5]  # what the first answer says sixth ends all of them
    cut = [ids[: ids.index(end)] if end in ids else ids for ids in alone]
    written = Writer(model, tokenizer, frozenset({end})).answers(prompts, 12)
    assert [each.text for each in written] == [tokenizer.decode(ids, skip_special_tokens=True) for ids in cut]
    assert [each.ended for each in written] == [end in ids for ids in alone]


def test_that_an_answer_ends_before_a_stop_text(tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    writer = Writer(model, ModelTokenizer(tiny_model), frozenset())
    (whole,) = writer.answers([[40, 50, 60]], 12)
    stop = whole.text[4:6]
    (cut,) = writer.answers([[40, 50, 60]], 12, (stop,))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.ended and not whole.ended


def evaluate(folder: Path) -> evaluations.Results:
    """Do an evaluation in this process and return its results."""
    writer = EventWriter(folder)
    job = Job(folder, read_job(folder), writer, Requests(Control(folder)), Vitals(writer))
    assert isinstance(evaluate_job(job), Finished)
    found = evaluations.read_evaluation(folder).results
    assert found is not None
    return found


def learnt(tiny_model: Path, folder: Path) -> Path:
    """Return a copy of the tiny model that knows the first twenty grammar questions by heart."""
    tokenizer = ModelTokenizer(tiny_model)
    rows = [
        torch.tensor([[tokenizer.bos_id or 0, *tokenizer.encode(" " + question.choices[0])]])
        for question in questions_for(benchmarks()["general-grammar"], limit=20)
    ]
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    overtrain(model, rows, steps=120, rate=3e-3)
    model.save_pretrained(folder)
    for path in tiny_model.iterdir():
        if not (folder / path.name).exists():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def overtrain(model: Any, rows: list[torch.Tensor], steps: int, rate: float) -> None:
    """Train what is trainable of a model on some rows again and again."""
    width = max(row.shape[1] for row in rows)
    ids = torch.cat([torch.nn.functional.pad(row, (0, width - row.shape[1]), value=-100) for row in rows])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    for _ in range(steps):
        model(input_ids=ids.clamp_min(0), labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("overtrained", [True, False])
def test_that_forgetting_is_red_for_an_adapter_that_was_overtrained(
    tiny_model: Path, tmp_path: Path, overtrained: bool
) -> None:
    base = learnt(tiny_model, tmp_path / "base")
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        LoraConfig(r=8, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    if overtrained:
        overtrain(model, [torch.tensor([[5, 6] * 12])], steps=30, rate=5e-2)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(tmp_path / "adapter")
    folder = evaluations.create_evaluation(
        str(tmp_path / "adapter"), ["general-grammar"], run=tmp_path, limit=20
    )
    found = evaluate(folder).forgetting
    assert found is not None
    assert found.base >= 0.9
    if overtrained:
        assert found.state == "red" and found.high < 0.0 and found.adapter < 0.7
    else:
        assert (found.state, found.difference, found.low, found.high) == ("green", 0.0, 0.0, 0.0)


def test_that_a_recipes_benchmarks_are_measured_and_the_verb_goes_on_after_a_stop(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(training__max_steps=4, evaluation__benchmarks=["held-out", "general-grammar"])
    assert run_to_end(run) == "finished"
    (first,) = evaluations.read_evaluations(run)
    assert first.state == "finished" and first.results is not None
    losses = {score.target: score for score in first.results.scores if score.metric == "loss"}
    measured = [event for event in events_of(run) if event.type == "evaluated"][-1]
    assert losses["adapter"].value == pytest.approx(measured.loss, abs=1e-4)
    assert losses["adapter"].value < losses["base"].value
    assert any(event.type == "progress" and "grammar" in event.stage for event in events_of(run))

    # Half of the items are gone, as after a stop: only those are answered again, the results are the same.
    kept = (first.folder / evaluations.ITEMS).read_text().splitlines()
    (first.folder / evaluations.ITEMS).write_text("\n".join(kept[: len(kept) // 2]) + '\n{"torn')
    again = evaluate(first.folder)
    assert _close(again, first.results)

    assert main(["evaluate", str(run), "--benchmark", "general", "--limit", "4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {score["target"] for score in told["scores"]} == {"base", "adapter"}
    assert told["forgetting"]["n"] == 12
    assert main(["runs", "show", str(run), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["evaluations"]) == 2
    assert store.state_of(run) == "finished"


def _close(a: evaluations.Results, b: evaluations.Results) -> bool:
    pairs = zip(a.scores, b.scores, strict=True)
    return all(
        (x.metric, x.n) == (y.metric, y.n) and math.isclose(x.value, y.value, abs_tol=1e-5) for x, y in pairs
    )


def test_that_what_cannot_be_measured_is_refused_before_a_child_is_started(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (["--benchmark", "nonsense"], "no benchmark"),
        (["--benchmark", "arc-easy"], "not on disk"),
        (["--benchmark", "lm-eval:arc_easy"], "lm-eval is not installed"),
        (["--data", "no-such.jsonl"], "does not exist"),
        (["--limit", "0"], "nothing would be asked"),
    ):
        assert main(["evaluate", str(tiny_model), *words]) == 2
        assert message in capsys.readouterr().err
    assert main(["evaluate", "--list", "--json"]) == 0
    assert any(each["name"] == "general" for each in json.loads(capsys.readouterr().out)["benchmarks"])


def test_that_what_lm_eval_tells_becomes_scores_and_comparisons() -> None:
    def told(right: list[float]) -> dict[str, Any]:
        samples = [{"doc_id": i, "metrics": ["acc"], "acc": value} for i, value in enumerate(right)]
        mean = sum(right) / len(right)
        return {
            "results": {"arc_easy": {"alias": "arc_easy", "acc,none": mean, "acc_stderr,none": 0.1}},
            "n-samples": {"arc_easy": {"original": 99, "effective": len(right)}},
            "samples": {"arc_easy": samples},
        }

    found = benchmark_lm_eval._found({"base": told([0.0, 1.0, 0.0]), "adapter": told([1.0, 1.0, 0.0])})
    assert [(s.benchmark, s.metric, s.stderr, s.n) for s in found.scores] == [
        ("lm-eval:arc_easy", "acc", 0.1, 3)
    ] * 2
    (compared,) = found.comparisons
    assert (compared.wrong_to_right, compared.right_to_wrong, compared.n) == (1, 0, 3)
