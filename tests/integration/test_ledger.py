"""Runs measure themselves: what a child leaves in the ledger, and what the next plan makes of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.jobs import process
from engine.plan.ledger import Entry, Ledger, ledger_file
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import probe, probe_verdict, store
from tests.integration.conftest import MakeRun, events_of, run_to_end, wait_for
from tests.integration.warm import run_to_end as run_warm

# Enough of everything that the run, and not the libraries, is what is measured.
LARGE = {
    "training__per_device_train_batch_size": 16,
    "training__max_batch_tokens": None,
    "training__max_steps": 8,
    "evaluation__eval_steps": None,
    "checkpoint__save_steps": 100,
}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a home without runs; children get it from the environment."""
    home = tmp_path / "home"
    monkeypatch.setenv("TUNESMITH_HOME", str(home))
    return home


def entries() -> tuple[Entry, ...]:
    return Ledger.read().entries


def test_that_a_finished_run_leaves_what_it_took(make_run: MakeRun) -> None:
    folder = make_run(training__max_steps=10, evaluation__eval_steps=5)
    assert run_to_end(folder) == "finished"
    (found,) = entries()
    assert (found.run, found.steps, found.source, found.attempt) == (folder.name, 10, "run", 1)
    assert (found.method, found.precision, found.quantization) == ("lora", "fp32", None)
    steps = [e for e in events_of(folder) if e.type == "step"]
    assert found.tokens == sum(e.tokens for e in steps)
    speeds = sorted(e.seconds / e.tokens for e in steps[2:])
    assert found.measured_seconds_per_token == pytest.approx((speeds[3] + speeds[4]) / 2)
    for figure in ("memory_bytes", "seconds_per_token", "sample_seconds", "start_seconds"):
        assert getattr(found, f"measured_{figure}") > 0, figure
        assert getattr(found, f"predicted_{figure}") > 0, figure
    assert found.measured_evaluation_seconds is not None
    assert found.process_bytes is not None and found.measured_memory_bytes < found.process_bytes  # type: ignore[operator]
    planned = next(e for e in events_of(folder) if e.type == "planned")
    assert planned.basis == "formula" and found.said_memory_bytes == planned.memory_bytes
    assert planned.seconds == pytest.approx(sum(planned.time_terms.values()))
    low, high = planned.seconds_band  # type: ignore[misc]
    assert low < planned.seconds < high  # type: ignore[operator]


def test_that_the_next_runs_plan_says_that_it_rests_on_the_last_one(make_run: MakeRun) -> None:
    assert run_warm(make_run(training__max_steps=8)) == "finished"
    second = make_run(training__max_steps=8)
    assert run_warm(second) == "finished"
    planned = next(e for e in events_of(second) if e.type == "planned")
    assert (planned.basis, planned.time_runs) == ("this machine's runs", 1)
    assert len(entries()) == 2


def test_that_a_stopped_run_counts_and_each_attempt_once(make_run: MakeRun) -> None:
    folder = make_run(training__max_steps=400, evaluation__eval_steps=None)
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "step" and e.step >= 9)
    process.send(folder, "stop")
    child.wait(300)
    assert store.state_of(folder) == "stopped"
    (found,) = entries()
    assert found.steps >= 9 and found.measured_seconds_per_token
    again = process.start(folder)
    wait_for(folder, lambda e: e.type == "step" and e.attempt == 2 and e.step >= found.steps + 9)
    process.send(folder, "stop")
    again.wait(300)
    assert [(e.run, e.attempt) for e in entries()] == [(folder.name, 1), (folder.name, 2)]


def test_that_a_run_of_one_step_says_nothing(make_run: MakeRun) -> None:
    assert run_warm(make_run(training__max_steps=1)) == "finished"
    assert entries() == ()


def test_that_a_damaged_ledger_is_told_and_no_run_fails_of_it(make_run: MakeRun) -> None:
    ledger_file().parent.mkdir(parents=True, exist_ok=True)
    ledger_file().write_text("{ half")
    folder = make_run(training__max_steps=8)
    assert run_warm(folder) == "finished"
    warned = [e for e in events_of(folder) if e.type == "warned" and "calibration.json" in e.message]
    assert len(warned) == 1
    assert len(entries()) == 1
    assert len(list(paths.home().glob("calibration-damaged-*.json"))) == 1


def test_that_a_ledger_that_cannot_be_written_costs_no_run(make_run: MakeRun) -> None:
    ledger_file().mkdir(parents=True)
    folder = make_run(training__max_steps=8)
    assert run_warm(folder) == "finished"


@pytest.mark.slow
def test_that_three_runs_narrow_the_band_and_it_holds_the_fourth(make_run: MakeRun, long_rows: Path) -> None:
    """The issue's own promise, with real children: memory measured on this machine."""
    bands = []
    for number in range(4):
        folder = make_run(**{**LARGE, "data__train": [str(long_rows)], "training__seed": number})
        assert run_to_end(folder) == "finished"
        planned = next(e for e in events_of(folder) if e.type == "planned")
        bands.append((planned, entries()[-1]))
    first, last = bands[0][0], bands[3][0]
    assert (first.memory_runs, last.memory_runs) == (0, 3)
    assert last.basis == "this machine's runs"
    fourth = bands[3][1]
    assert fourth.measured_memory_bytes is not None and fourth.predicted_memory_bytes is not None
    before = Ledger(entries()[:3])
    found = before.memory(
        fourth.device, "lora", None, precision="fp32", checkpointing=False, near=fourth.predicted_memory_bytes
    )
    assert found.runs == 3
    assert found.width < Ledger().memory(fourth.device, "lora", None).width
    ratio = fourth.measured_memory_bytes / fourth.predicted_memory_bytes
    assert found.low <= ratio <= found.high, (found, ratio)


@pytest.fixture(scope="module")
def long_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return rows of some hundred tokens each, of unlike lengths."""
    path = tmp_path_factory.mktemp("long") / "rows.jsonl"
    lines = []
    for i in range(80):
        answer = " ".join(f"word{(i * 7 + k) % 50}" for k in range(60 + 3 * (i % 20)))
        messages = [{"role": "user", "content": f"Count {i}."}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": messages}))
    path.write_text("\n".join(lines) + "\n")
    return path


def recipe_of(folder: Path, **changes: Any) -> Recipe:
    return codec.override(store.load_recipe(folder), {k.replace("__", "."): v for k, v in changes.items()})


def test_that_a_trial_measures_and_leaves_nothing_but_its_entry(make_run: MakeRun) -> None:
    folder = make_run(training__num_train_epochs=3)
    seen = []
    trial = probe.start(recipe_of(folder))
    outcome = trial.wait(lambda now: seen.append(now.steps))
    assert not outcome.problem, outcome
    assert outcome.steps == 20 and outcome.loss is not None
    assert outcome.tokens_per_second and outcome.predicted_tokens_per_second
    assert outcome.memory_bytes is not None and outcome.process_bytes is not None
    assert outcome.planned is not None
    (found,) = entries()
    assert found.source == "probe" and found.steps == 20
    assert not trial.folder.exists()
    assert [summary.id for summary in store.list_runs()] == []
    assert "measured" in probe_verdict.measured_words(outcome)


def test_that_a_trial_begins_with_its_longest_batch_and_answers_nothing(make_run: MakeRun) -> None:
    folder = make_run(training__num_train_epochs=3)
    trial = probe.start(recipe_of(folder), 10)
    tokens, kinds = [], set()
    while trial.read() is None:
        for event in events_of(trial.folder) if trial.folder.exists() else []:
            kinds.add(event.type)
            if event.type == "step" and len(tokens) < event.step:
                tokens.append(event.tokens)
        time.sleep(0.01)
    assert tokens[0] == tokens[1] == max(tokens)
    assert not kinds & {"evaluated", "sample_generated", "checkpoint_saved", "sealed"}


def test_that_a_trial_can_be_cancelled(make_run: MakeRun) -> None:
    folder = make_run(training__num_train_epochs=3)
    trial = probe.start(recipe_of(folder), 5000)
    while not trial.steps:
        trial.read()
        time.sleep(0.02)
    trial.cancel()
    outcome = trial.wait()
    assert outcome.cancelled and outcome.steps < 5000
    assert not trial.folder.exists()


def test_that_a_trial_that_fails_says_why(make_run: MakeRun, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("{}\n")
    outcome = probe.start(recipe_of(make_run(), data__train=[str(empty)])).wait()
    assert outcome.problem and outcome.code.startswith("DATA")
    assert outcome.problem in probe_verdict.measured_words(outcome)
    assert entries() == ()


def test_that_qlora_is_compared_with_lora_on_the_same_rows(make_run: MakeRun) -> None:
    first, second = probe.sides(recipe_of(make_run(training__num_train_epochs=3)))
    lora, qlora = probe.start(first, 10).wait(), probe.start(second, 10).wait()
    assert (lora.problem, qlora.problem) == ("", "")
    assert (lora.quantization, qlora.quantization) == (None, "nf4")
    words = probe_verdict.compare(lora, qlora, 16e9)
    assert words.startswith(("Take LoRA", "Take QLoRA")), words
