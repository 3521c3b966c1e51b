"""Real runs that turn each seal red, and one that leaves all green; where the seals are told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from engine import faults
from engine.encoders import markdown
from engine.events import Seal
from engine.jobs import process
from engine.runs import seals, store
from engine.runs.event_log import EventReader
from engine.runs.history import RunHistory
from engine.runtime import evidence
from engine.runtime.train import take_step
from tests.integration.conftest import MakeRun, MakeTraining, events_of, wait_for
from tests.integration.warm import run_to_end


def sealed(folder: Path, expected: str = "finished") -> dict[str, Seal]:
    """Run a run to its end and return its seals as the library shows them."""
    assert run_to_end(folder) == expected, process.last_words(folder)
    return {seal.name: seal for seal in store.summary(folder).seals}


def states(found: dict[str, Seal]) -> dict[str, str]:
    return {name: seal.state for name, seal in found.items()}


def write_rows(path: Path, pairs: list[tuple[str, str]]) -> Path:
    lines = [
        json.dumps({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]})
        for q, a in pairs
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def untied(model: Path, folder: Path, head: float = 1.0) -> Path:
    """Return a copy of a model with a head of its own, `head` times the embeddings: the larger, the surer."""
    shutil.copytree(model, folder)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] * head
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    return folder


@pytest.fixture
def make_run(make_run: MakeRun) -> MakeRun:
    """Ask three questions of validation rows, as a recipe does: the last seal looks at the answers."""
    return partial(make_run, evaluation__sample_prompts=[])


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    return {}


@pytest.fixture
def good(make_run: MakeRun, kept: dict[str, Any]) -> tuple[Path, dict[str, Seal]]:
    """Return a run that learns well, made once."""
    if "good" not in kept:
        folder = make_run(training__num_train_epochs=6, evaluation__eval_steps=24, checkpoint__save_steps=24)
        kept["good"] = folder, sealed(folder)
    found: tuple[Path, dict[str, Seal]] = kept["good"]
    return found


def test_that_a_good_run_has_six_green_seals(good: tuple[Path, dict[str, Seal]]) -> None:
    _, found = good
    assert states(found) == dict.fromkeys(seals.LABELS, "green")
    assert found["effect"].figures["mean_kl"] > 10 * found["effect"].figures["limit"]
    assert found["answers"].figures["samples"] == found["answers"].figures["ended"] == 3
    assert 0 < found["trained_tokens"].figures["share"] < 1


def test_that_the_seals_stand_before_the_end_in_the_card_and_in_runs_show(
    good: tuple[Path, dict[str, Seal]],
) -> None:
    folder, found = good
    types = [event.type for event in events_of(folder)]
    assert types.index("finished") > max(i for i, kind in enumerate(types) if kind == "sealed")
    text = (folder / "adapter" / "README.md").read_text()
    for seal in found.values():
        assert f"| {seal.label} | green | {markdown(seal.evidence, 400)} |" in text
    shown = subprocess.run(
        [sys.executable, "-m", "engine", "runs", "show", str(folder), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(shown.stdout)["seals"] == [seal.model_dump() for seal in found.values()]


def test_that_the_monitor_reads_from_the_log_what_the_child_said(good: tuple[Path, dict[str, Seal]]) -> None:
    folder, found = good
    history = RunHistory()
    history.fold(EventReader(folder).read_new())
    assert seals.judge(history) == tuple(found.values())


def test_that_a_resumed_run_is_judged_by_all_its_attempts(
    make_run: MakeRun, good: tuple[Path, dict[str, Seal]]
) -> None:
    folder = make_run(training__num_train_epochs=6, evaluation__eval_steps=24, checkpoint__save_steps=24)
    child = process.start(folder)
    wait_for(folder, lambda event: event.type == "step" and event.step == 40)
    child.kill()
    child.wait(10)
    assert states(sealed(folder)) == states(good[1])
    assert store.summary(folder).seals == tuple(good[1].values())


def test_that_a_run_whose_rate_is_next_to_nothing_changes_nothing(make_run: MakeRun) -> None:
    found = sealed(make_run(training__learning_rate=1e-9, evaluation__eval_steps=12))
    assert found["effect"].state == "red" and found["effect"].figures["changed"] == 0
    assert found["loss"].state == "red" and found["loss"].hint
    # The tiny model talks on without an end as long as nobody has taught it one.
    assert found["answers"].state == "red" and found["answers"].figures["ended"] == 0
    assert [found[name].state for name in ("trained_tokens", "finite", "validation")] == ["green"] * 3


def test_that_data_that_trains_no_token_fails_with_a_red_seal(make_run: MakeRun) -> None:
    found = sealed(make_run(data__max_length=8), "failed")
    assert states(found) == {**dict.fromkeys(seals.LABELS, "unmeasured"), "trained_tokens": "red"}
    assert "60 of 60 rows" in found["trained_tokens"].evidence


def test_that_answers_cut_in_the_data_turn_the_last_seal_red(make_run: MakeRun) -> None:
    found = sealed(make_run(data__max_length=50, evaluation__eval_steps=24))
    assert found["answers"].state == "red"
    cut, answers = found["answers"].figures["cut"], found["answers"].figures["answers"]
    assert cut and answers and 0.05 < cut / answers < 0.9
    assert found["trained_tokens"].state == "green"


def test_that_a_validation_loss_that_rises_turns_its_seal_red(
    make_run: MakeRun, tiny_model: Path, tmp_path: Path
) -> None:
    odd = [(f"What does the cat number {i} say?", "zqxj KVWY #%& zzqx") for i in range(6)]
    found = sealed(
        make_run(
            model__path=str(untied(tiny_model, tmp_path / "sure", head=10.0)),
            data__validation=str(write_rows(tmp_path / "odd.jsonl", odd)),
            evaluation__eval_steps=6,
        )
    )
    assert found["validation"].state == "red"
    assert found["validation"].figures["newest"] > found["validation"].figures["best"]
    assert "the result is that of step" in found["validation"].evidence
    assert found["loss"].state == "green"


def test_that_a_loss_that_is_no_number_turns_its_seal_red(make_run: MakeRun) -> None:
    folder = make_run(evaluation__eval_steps=16)
    process.start(folder, environment={faults.VARIABLE: "loss:nan@3;loss:nan@9"}).wait(120)
    found = {seal.name: seal for seal in store.summary(folder).seals}
    assert store.state_of(folder) == "finished" and found["finite"].state == "red"
    assert found["finite"].figures["bad_steps"] == 2
    assert found["finite"].figures["bad_evaluations"] == 0
    assert found["loss"].state == "green" and found["effect"].state == "green"


@pytest.mark.parametrize(
    "method",
    [
        {"adapter__init_lora_weights": "gaussian"},
        {"adapter__init_lora_weights": "pissa"},
        {"adapter__use_dora": True},
        {"adapter__method": "ia3", "adapter__lora_dropout": 0.05, "training__learning_rate": 0.1},
        {"adapter__method": "oft"},
        {"adapter__method": "full", "adapter__lora_dropout": 0.05},
        {"model__load_in_4bit": True},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values()),
)
def test_that_the_effect_is_nothing_at_first_and_seen_after_steps(
    make_training: MakeTraining, method: dict[str, Any]
) -> None:
    run = make_training(**method, training__warmup_steps=0, training__lr_scheduler_type="constant")
    run.model.eval()
    evidence.measure_effect(run)
    run.model.train()
    for _ in range(8):
        take_step(run)
    run.model.eval()
    evidence.measure_effect(run)
    first, last = run.job.history.effects
    limit = seals.LEAST_KL["float32"]
    assert first.mean_kl is not None and first.mean_kl < limit / 10 and first.changed == 0
    assert last.mean_kl is not None and last.mean_kl > limit
    assert first.positions == last.positions == evidence.PROBE_ROWS * evidence.PROBE_POSITIONS


def test_that_raw_text_is_not_said_to_be_cut(make_training: MakeTraining, tmp_path: Path) -> None:
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"text": f"Line {i} of a book."}) + "\n" for i in range(30)))
    run = make_training(data__train=[str(path)])
    found = {seal.name: seal for seal in seals.judge(run.job.history)}
    assert run.job.history.answers is not None and run.job.history.answers.answers == 0
    assert found["answers"].state == "unmeasured" and found["trained_tokens"].state == "green"
