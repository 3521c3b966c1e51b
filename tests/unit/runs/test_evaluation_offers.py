"""What a run can be measured on, how many questions that is, and how long it takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine import durable
from engine.benchmarks.spec import GENERAL, HELD_OUT, OWN_TESTS, benchmarks
from engine.data import frozen
from engine.data.columns import Mapping
from engine.data.dataset import Example, Prepared
from engine.data.report import Report
from engine.events import ModelLoaded, Progress, Started, encode
from engine.hardware.devices import Machine
from engine.plan.corrected import device_label
from engine.plan.ledger import FORMULA, Entry, Ledger
from engine.recipe.recipe import Recipe
from engine.runs import evaluations
from engine.runs.benchmark_rows import questions_for
from engine.runs.evaluation_offers import read_offers
from engine.runs.evaluation_pace import measured_paces, pace_of
from engine.runs.evaluations import Results, Score
from engine.runs.script_facts import FROZEN
from engine.runs.store import create_run

ROWS = 7
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "torch_dtype": "float32",
}
MACHINE = Machine("a processor", 2, 2, 8 << 30, 4 << 30, ())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run of a known shape that kept rows aside, in a home of its own."""
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps(CONFIG))
    recipe = Recipe.model_validate({"model": {"path": str(base)}, "data": {"train": ["rows.jsonl"]}})
    folder = create_run(recipe)
    trained = np.array([False] * 6 + [True] * 4)
    rows = [Example(np.arange(10, dtype=np.int32), trained, row, 0, row + 1) for row in range(ROWS)]
    data = Prepared([], rows, Report(), (Mapping("messages", {}),))
    frozen.write(data, folder / FROZEN, {})
    return folder


def test_that_held_out_rows_come_first_and_are_proposed_with_the_forgetting_check(run: Path) -> None:
    found = read_offers(run)
    assert [offer.name for offer in found.offers[:3]] == [HELD_OUT, OWN_TESTS, GENERAL]
    held_out, own, general = found.offers[:3]
    assert held_out.proposed and held_out.questions == ROWS and len(held_out.parts) == 2
    assert general.proposed and general.questions == sum(part.questions for part in general.parts) > 90
    assert not own.proposed and "Keep a prompt" in own.hint
    assert {offer.code for offer in found.offers if offer.group == "hub"} == {"HUB-01"}
    assert found.start_seconds > 0.0 and held_out.basis == "formula"


def test_that_kept_tests_and_files_are_counted_and_the_limit_cuts_the_time(run: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": f"Say {n}.", "expected": str(n), "check": "exact"}) for n in range(4)]
    (run / evaluations.TESTS).write_text("\n".join(lines) + "\n")
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"sentence_good": "Ann fell.", "sentence_bad": "Ann felled."}\n' * 6)
    own, blimp = read_offers(run, {"blimp-causative": pairs}).of([OWN_TESTS, "blimp-causative"])
    assert (own.questions, own.proposed, own.problem) == (4, True, "")
    assert (blimp.questions, blimp.file) == (6, pairs)
    whole, half = blimp.seconds(None, 2), blimp.seconds(3, 2)
    assert whole is not None and half == pytest.approx(whole / 2)
    assert blimp.seconds(None, 1) == pytest.approx(whole / 2)


def test_that_the_ledger_corrects_the_formulas_pace(run: Path) -> None:
    plain = pace_of(run, MACHINE, Ledger())
    entry = Entry(
        time=1.0,
        run="another",
        device=device_label(MACHINE),
        method="lora",
        precision="fp32",
        predicted_evaluation_seconds=1.0,
        measured_evaluation_seconds=4.0,
        formula=FORMULA,
    )
    slower = pace_of(run, MACHINE, Ledger((entry,) * 5))
    assert plain is not None and slower is not None
    assert slower.read == pytest.approx(4 * plain.read) and slower.start == plain.start
    assert (plain.runs, slower.runs) == (0, 5)
    assert slower.question(10, 2) == pytest.approx(12 * slower.read + 2 * slower.step / 16)


def test_that_an_earlier_evaluation_is_believed_before_all_else(run: Path) -> None:
    folder = evaluations.create_evaluation(str(run), [HELD_OUT], run=run)
    loss, written = benchmarks()["held-out-loss"].label, benchmarks()[HELD_OUT].label
    told = [
        Started(job="j", pid=1, host="h", mono=1.0),
        ModelLoaded(parameters=1, trainable_parameters=0, dtype="float32", seconds=1.0, mono=10.0),
        Progress(stage=loss, done=ROWS, total=ROWS, mono=10.0 + 2 * ROWS),
        Progress(stage=written, done=3, total=ROWS, mono=30.0),
        Progress(stage=written, done=ROWS, total=ROWS, mono=24.0 + 6 * ROWS),
    ]
    durable.write_file(folder / "events.jsonl", b"".join(encode(event) for event in told))
    scores = [
        Score(benchmark=HELD_OUT, metric="f1", value=0.5, n=ROWS, target=who) for who in ("base", "adapter")
    ]
    results = Results(time=1.0, target="t", base="b", scores=scores)
    durable.write_json(folder / evaluations.RESULTS, results.model_dump(mode="json"))
    assert measured_paces(run) == pytest.approx({loss: 1.0, written: 3.0})
    held_out = read_offers(run).offers[0]
    assert held_out.basis == "measured"
    assert held_out.seconds(None, 2) == pytest.approx(2 * ROWS * (1.0 + 3.0))


def test_that_another_seed_makes_other_questions() -> None:
    benchmark = benchmarks()["arithmetic-2-digits"]
    shipped = [question.text for question in questions_for(benchmark)]
    again, other = ([q.text for q in questions_for(benchmark, seed=seed)] for seed in (2, 9))
    assert again == shipped and other != shipped and len(other) == len(shipped)
