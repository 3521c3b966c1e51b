"""What real runs leave, by each method: merged, chatted with, shown, asked held-out questions."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from app import choices
from engine.errors import EngineError
from engine.jobs import process
from engine.jobs.spec import create_job
from engine.models.adapter_facts import read_adapter_facts
from engine.models.facts import read_facts
from engine.models.library import list_models
from engine.runs import store
from engine.runtime import adapted
from engine.runtime.adapted import load_target
from engine.runtime.chat import ChatModel, answer_once
from engine.runtime.generate import Sampling
from engine.runtime.load import Compute
from engine.runtime.merge import merge_adapter
from engine.runtime.target import resolve_target
from engine.verbs import library
from tests.integration.conftest import MakeRun
from tests.integration.warm import run_to_end

CPU = Compute(torch.device("cpu"), torch.float32)
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"adapter.bias": "none", "adapter.modules_to_save": ["embed_tokens", "lm_head"]},
    "head": {"adapter.target_modules": ["attention", "head"]},
    "rslora": {"adapter.use_rslora": True, "adapter.alpha_pattern": {"k_proj": 4, "layers.1.mlp.up_proj": 9}},
    "dora": {"adapter.use_dora": True},
    "pissa": {"adapter.init_lora_weights": "pissa"},
    "olora": {"adapter.init_lora_weights": "olora", "adapter.use_rslora": True},
    "eva": {"adapter.init_lora_weights": "eva"},
    "adalora": {"adapter.method": "adalora"},
    "vera": {"adapter.method": "vera", "training.learning_rate": 5e-2},
    "ia3": {"adapter.method": "ia3", "adapter.target_modules": ["key", "value", "down"]},
    "oft": {"adapter.method": "oft", "adapter.oft_block_size": 16},
}
LABELS = {
    "dora": "DoRA",
    "adalora": "AdaLoRA",
    "vera": "VeRA",
    "ia3": "IA3",
    "oft": "OFT, blocks of 16",
}


def trained(make_run: MakeRun, **options: Any) -> Path:
    """Let a real child train a few steps and return its folder."""
    ranked = options.get("adapter.method", "lora") in ("lora", "adalora", "vera")
    rank = {"adapter.r": 4} if ranked else {}
    folder = make_run(**{"training.num_train_epochs": 1, "training.learning_rate": 2e-2, **rank, **options})
    assert run_to_end(folder, 300) == "finished", process.last_words(folder)
    return folder


def scores(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=torch.arange(3, 43)[None]).logits[0].float()
    return found


@pytest.mark.parametrize("name", list(METHODS))
def test_that_the_result_of_every_method_is_shown_merged_and_answers_beside_its_base(
    make_run: MakeRun, tmp_path: Path, tiny_model: Path, name: str
) -> None:
    run = trained(make_run, **METHODS[name])
    shown = library.adapters_show(Namespace(path=str(run / "adapter")))["adapters"][0]
    assert shown["unready"] == "" and not shown["dropped_fields"] or name == "eva"
    assert shown["label"].startswith(LABELS.get(name, "LoRA"))

    result = merge_adapter([run], tmp_path / "merged")
    assert result["fidelity"]["passed"] and result["fidelity"]["max_logit_difference"] < 1e-3
    assert set(result["fidelity"]["prompt_sources"]) == {"validation"}
    base = scores(AutoModelForCausalLM.from_pretrained(tiny_model))
    merged = scores(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"))
    assert float((merged - base).abs().max()) > 1e-3
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template

    told = answer_once(str(run), "Hello", compare_base=True, max_new_tokens=4, device="cpu")["replies"]
    alone = answer_once(str(tiny_model), "Hello", max_new_tokens=4, device="cpu")["replies"][0]
    assert told[0]["text"] == alone["text"] and told[0]["fingerprint"] == alone["fingerprint"]
    assert told[1]["fingerprint"].startswith(f"{alone['fingerprint']}+")
    saved = sorted((run / "checkpoints").iterdir())[0]
    assert resolve_target(str(saved)).step == int(saved.name[5:])


@pytest.mark.parametrize("options", [{"adapter.modules_to_save": ["lm_head"]}, {"adapter.method": "full"}])
def test_that_held_out_questions_are_answered_by_the_result_and_by_the_untouched_base(
    make_run: MakeRun, tmp_path: Path, sound_rows: Path, tiny_model: Path, options: dict[str, Any]
) -> None:
    run = trained(make_run, **{"training.num_train_epochs": 3}, **options)
    rows = sound_rows.read_text().splitlines()[:3]
    (tmp_path / "few.jsonl").write_text("\n".join(rows) + "\n")
    job = tmp_path / "answers"
    asked = {"run": str(run), "data": str(tmp_path / "few.jsonl"), "max_new_tokens": 6}
    create_job("answers", asked, job)
    process.start(job).wait(300)
    found = json.loads((job / "answers.json").read_bytes())
    assert found["adapter"] != found["base"]
    for answer, row in zip(found["base"], rows, strict=True):
        question = json.loads(row)["messages"][0]["content"]
        alone = answer_once(str(tiny_model), question, max_new_tokens=6, device="cpu", system_prompt="")
        assert answer == alone["replies"][0]["text"].strip()


def test_that_a_model_trained_whole_is_a_target_by_its_run_and_has_nothing_to_merge(
    make_run: MakeRun, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(make_run, **{"adapter.method": "full", "training.learning_rate": 1e-3})
    target = resolve_target(str(run))
    assert target.adapter is None and target.run == run and target.name == store.summary(run).name
    plain = AutoModelForCausalLM.from_pretrained(run / "model")
    assert (
        float((scores(plain) - scores(AutoModelForCausalLM.from_pretrained(tiny_model))).abs().max()) > 1e-3
    )
    assert read_facts(run / "model").name == run.name
    said = [
        answer_once(str(place), "Hello", max_new_tokens=4, device="cpu")["replies"][0]
        for place in (run, run / "model", sorted((run / "checkpoints").iterdir())[-1])
    ]
    assert said[0]["target"] == target.name and said[0]["who"] == "adapter"
    assert said[0]["text"] == said[1]["text"] == said[2]["text"]
    both = answer_once(str(run), "Hello", compare_base=True, max_new_tokens=4, device="cpu")["replies"]
    alone = answer_once(str(tiny_model), "Hello", max_new_tokens=4, device="cpu")["replies"][0]
    assert [both[0][key] for key in ("target", "text", "fingerprint")] == [
        alone[key] for key in ("target", "text", "fingerprint")
    ]
    assert both[1]["text"] == said[0]["text"] and "+" in both[1]["fingerprint"]
    model = load_target(target, CPU)
    with model.speaking("adapter"):
        assert float((scores(model.model) - scores(plain)).abs().max()) < 1e-6
    monkeypatch.setattr(adapted, "_holds_two", lambda facts, compute: False)
    small, asked = ChatModel(target, device="cpu"), [{"role": "user", "content": "Hello"}]
    answer, fingerprint = small.answer("adapter", asked, Sampling(max_new_tokens=4))
    assert answer.text == said[0]["text"] and "+" not in fingerprint
    once = answer_once(str(run), "Hello", compare_base=True, max_new_tokens=4, device="cpu")["replies"]
    assert [(reply["who"], reply["text"]) for reply in once] == [("adapter", said[0]["text"])]
    with pytest.raises(EngineError, match="memory does not hold both"):
        small.answer("base", asked, Sampling(max_new_tokens=4))
    home = tmp_path / "home"
    monkeypatch.setenv("TUNESMITH_HOME", str(home))
    shutil.copytree(run, home / "runs" / "whole")
    listed = [choice for choice in choices.read_choices() if "whole" in choice.target]
    assert [(Path(choice.target).name, choice.whole) for choice in listed] == [("whole", True)]
    assert [facts.name for facts in list_models() if facts.path.name == "model"] == ["whole"]
    assert choices.choice_for(run).whole
    with pytest.raises(EngineError, match="nothing to merge") as told:
        merge_adapter([run], tmp_path / "merged")
    assert told.value.code == "MODEL-05" and not (tmp_path / "merged").exists()


def test_that_the_adapter_of_a_run_is_read_from_its_files_alone(make_run: MakeRun) -> None:
    run = trained(make_run, **{"adapter.rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 6}})
    facts = read_adapter_facts(run / "adapter")
    ranks = {module.name.removeprefix("model."): module.r for module in facts.modules}
    assert ranks["layers.0.self_attn.q_proj"] == 2 and ranks["layers.1.mlp.up_proj"] == 6
    assert ranks["layers.0.mlp.up_proj"] == 4
