"""Real children training a tiny model: what they write, how they end, and that going on changes nothing."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from engine.jobs import process
from engine.runs import check, store
from engine.runs.fsck import fsck
from tests.integration.conftest import MakeRun, events_of, losses, run_to_end, wait_for
from tests.integration.warm import run_to_end as run_warm

RESULT = "adapter/adapter_model.safetensors"


def kinds(folder: Path) -> list[str]:
    return [event.type for event in events_of(folder)]


def test_that_a_run_learns_and_leaves_what_the_contract_names(make_run: MakeRun) -> None:
    folder = make_run(evaluation__sample_prompts=[])
    assert run_to_end(folder) == "finished"
    curve = losses(folder)
    assert len(curve) == 24 and curve[24] < curve[1] - 0.5
    for name in (
        "recipe.yaml",
        "job.json",
        "environment.json",
        "events.jsonl",
        "lock",
        "child.log",
        "exit.json",
    ):
        assert (folder / name).exists(), name
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md"} <= {
        p.name for p in (folder / "adapter").iterdir()
    }
    assert json.loads((folder / "exit.json").read_text())["status"] == "finished"
    found = set(kinds(folder))
    assert {
        "started",
        "model_loaded",
        "data_prepared",
        "step",
        "evaluated",
        "sample_generated",
        "checkpoint_saved",
    } <= found
    assert {"hardware", "heartbeat", "finished"} <= found
    assert len({e.prompt for e in events_of(folder) if e.type == "sample_generated"}) == 3
    assert fsck(folder).findings == ()
    assert [e.seq for e in events_of(folder)] == list(range(len(events_of(folder))))


def test_r10_that_the_first_event_is_there_before_torch_is(make_run: MakeRun) -> None:
    folder = make_run(training__max_steps=1)
    run_to_end(folder)
    events = events_of(folder)
    job = json.loads((folder / "job.json").read_text())
    assert events[0].type == "started"
    assert events[0].time - job["created"] < 5
    loaded = next(e for e in events if e.type == "model_loaded")
    assert loaded.mono > events[0].mono


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, sound_rows: Path) -> Path:
    from engine.recipe import codec
    from engine.recipe.recipe import Recipe

    values = {
        "model.path": str(tiny_model),
        "data.train": [str(sound_rows)],
        "data.validation_split": 0.2,
        "training.learning_rate": 5e-3,
        "training.per_device_train_batch_size": 4,
        "training.num_train_epochs": 4,
        "training.max_grad_norm": 0.5,
        "evaluation.eval_steps": 8,
        "checkpoint.save_steps": 6,
    }
    folder = store.create_run(codec.override(Recipe(), values), tmp_path_factory.mktemp("runs") / "whole")
    assert run_to_end(folder) == "finished"
    return folder


def same_again(make_run: MakeRun) -> Path:
    return make_run(training__num_train_epochs=4, training__max_grad_norm=0.5)


def test_f01_r01_that_two_kills_and_two_resumes_give_the_same_losses_and_bytes(
    make_run: MakeRun, uninterrupted: Path
) -> None:
    folder = same_again(make_run)
    papers = [(folder / name).read_bytes() for name in ("recipe.yaml", "job.json")]
    for step in (9, 31):
        child = process.start(folder)
        wait_for(folder, lambda e, step=step: e.type == "step" and e.step == step)
        child.kill()
        child.wait(10)
        assert store.state_of(folder) == "crashed"
    assert run_to_end(folder) == "finished"
    assert losses(folder) == losses(uninterrupted)
    assert (folder / RESULT).read_bytes() == (uninterrupted / RESULT).read_bytes()
    resumed = [e.resumed_from_step for e in events_of(folder) if e.type == "started"]
    assert resumed[0] is None and resumed[1] >= 6 and resumed[2] >= 24
    assert [(folder / name).read_bytes() for name in ("recipe.yaml", "job.json")] == papers


def test_that_a_kill_during_an_evaluation_changes_nothing(make_run: MakeRun, uninterrupted: Path) -> None:
    folder = same_again(make_run)
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "step" and e.step == 8)
    wait_for(folder, lambda e: e.type == "evaluated" or (e.type == "sample_generated" and e.step == 8))
    child.kill()
    child.wait(10)
    assert run_to_end(folder) == "finished"
    assert losses(folder) == losses(uninterrupted)
    assert (folder / RESULT).read_bytes() == (uninterrupted / RESULT).read_bytes()


def test_r04_that_stop_saves_and_resume_goes_on_exactly(make_run: MakeRun, uninterrupted: Path) -> None:
    folder = same_again(make_run)
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "step" and e.step == 5)
    process.send(folder, "stop")
    assert child.wait(300) == 0
    assert store.state_of(folder) == "stopped"
    stopped = max(losses(folder))
    checkpoint, damaged = check.last_checkpoint(folder)
    assert checkpoint is not None and check.step_of(checkpoint) == stopped and not damaged
    assert run_to_end(folder) == "finished"
    assert losses(folder) == losses(uninterrupted)
    assert (folder / RESULT).read_bytes() == (uninterrupted / RESULT).read_bytes()


def test_f06_that_a_hang_up_is_ignored_and_a_signal_to_end_is_a_stop_with_a_save(make_run: MakeRun) -> None:
    folder = same_again(make_run)
    child = process.start(folder)
    assert os.getsid(child.pid) == child.pid != os.getsid(0)  # a terminal that closes takes its own session
    wait_for(folder, lambda e: e.type == "started")
    os.kill(child.pid, signal.SIGHUP)
    wait_for(folder, lambda e: e.type == "step" and e.step == 3)
    os.kill(child.pid, signal.SIGHUP)
    child.terminate()
    os.kill(child.pid, signal.SIGINT)
    assert child.wait(300) == 0
    assert store.state_of(folder) == "stopped"
    saved, damaged = check.last_checkpoint(folder)
    assert saved is not None and check.step_of(saved) == max(losses(folder)) >= 3 and not damaged


def test_that_pause_waits_and_resume_goes_on(make_run: MakeRun, uninterrupted: Path) -> None:
    folder = same_again(make_run)
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "step" and e.step == 4)
    process.send(folder, "pause")
    paused = wait_for(folder, lambda e: e.type == "paused")
    assert store.state_of(folder) == "paused"
    assert paused.step >= 4
    process.send(folder, "resume")
    wait_for(folder, lambda e: e.type == "resumed")
    child.wait(120)
    assert store.state_of(folder) == "finished"
    assert (folder / RESULT).read_bytes() == (uninterrupted / RESULT).read_bytes()


def test_that_save_evaluate_and_sample_are_obeyed(make_run: MakeRun) -> None:
    folder = make_run(evaluation__eval_steps=1000, checkpoint__save_steps=1000, training__num_train_epochs=20)
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "step" and e.step == 2)
    process.send(folder, "save")
    process.send(folder, "evaluate")
    process.send(folder, "sample", prompt="What does the cat say?")
    saved = wait_for(folder, lambda e: e.type == "checkpoint_saved")
    evaluated = wait_for(folder, lambda e: e.type == "evaluated")
    sampled = wait_for(  # the base answers first, as step 0
        folder, lambda e: e.type == "sample_generated" and e.prompt == "What does the cat say?" and e.step > 0
    )
    assert saved.step >= 2 and evaluated.step >= 2 and sampled.step >= 2
    process.send(folder, "stop")
    child.wait(300)
    assert not list((folder / "control").iterdir())


def test_that_accumulation_gives_the_loss_of_one_large_batch(make_run: MakeRun) -> None:
    options: dict[str, Any] = {"adapter__lora_dropout": 0.0, "training__max_steps": 4, "data__shuffle": False}
    large = make_run(training__per_device_train_batch_size=8, **options)
    small = make_run(
        training__per_device_train_batch_size=2, training__gradient_accumulation_steps=4, **options
    )
    assert run_warm(large) == run_warm(small) == "finished"
    for a, b in zip(losses(large).values(), losses(small).values(), strict=True):
        assert a == pytest.approx(b, rel=1e-5)


def test_f36_that_data_changed_before_a_resume_is_told_and_the_rows_of_the_run_are_kept(
    make_run: MakeRun, sound_rows: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_text(sound_rows.read_text())
    folder = make_run(data__train=[str(copy)], training__num_train_epochs=4)
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "checkpoint_saved")
    child.kill()
    child.wait(10)
    copy.write_text(sound_rows.read_text().replace("cat", "cod"))
    assert run_warm(folder) == "finished"
    told = [e for e in events_of(folder) if e.type == "warned" and e.code == "DATA-11"]
    assert len(told) == 1 and "copy.jsonl changed" in told[0].message and told[0].hint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model__dtype", "float16"),
        ("launcher__nodes", 2),
        ("launcher__kind", "ray"),
    ],
)
def test_that_an_option_of_a_later_version_is_refused_by_name(
    make_run: MakeRun, field: str, value: Any
) -> None:
    with pytest.raises(EngineError) as caught:
        make_run(**{field: value})
    assert (
        caught.value.code == "REC-01" and caught.value.field == field.replace("__", ".") and caught.value.hint
    )


def test_that_an_unknown_target_names_what_the_model_has(make_run: MakeRun) -> None:
    folder = make_run(adapter__target_modules=["nonsense_proj"])
    assert run_warm(folder) == "failed"
    closing = json.loads((folder / "exit.json").read_text())
    assert closing["code"] == "REC-01" and "q_proj" in closing["hint"]


def test_that_a_second_child_in_one_folder_is_refused(make_run: MakeRun) -> None:
    folder = make_run(training__num_train_epochs=50)
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "started")
    with pytest.raises(EngineError) as caught:
        process.start(folder)
    assert caught.value.code == "RUN-02"
    child.kill()
    child.wait(10)


def test_f40_i12_that_a_moved_run_with_a_damaged_save_and_planted_modules_goes_on_exactly(
    make_run: MakeRun, uninterrupted: Path, tmp_path: Path
) -> None:
    folder = same_again(make_run)
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "checkpoint_saved" and e.step >= 12)
    child.kill()
    child.wait(10)
    newest = check.checkpoint_folders(folder)[-1]
    weights = newest / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    folder = folder.rename(tmp_path / "Läufe von 李 (2)")
    planted = ("torch.py", "json.py", "sitecustomize.py", "checkpoints/step-00000012.pth")
    for name in planted:
        (folder / name).write_text(f"open({str(tmp_path / 'canary')!r}, 'w').close()\n")
    assert run_to_end(folder) == "finished"
    assert not (tmp_path / "canary").exists()
    told = [e for e in events_of(folder) if e.type == "warned" and e.code in ("RUN-04", "MODEL-01")]
    assert sorted(e.code for e in told) == ["MODEL-01"] * 4 + ["RUN-04"]
    kept = folder / "quarantine"
    assert all((kept / name).exists() and not (folder / name).exists() for name in planted)
    assert (kept / "checkpoints" / newest.name / weights.name).read_bytes() == data
    assert losses(folder) == losses(uninterrupted)
    assert (folder / RESULT).read_bytes() == (uninterrupted / RESULT).read_bytes()


def test_that_losses_are_finite_and_perplexity_follows_them(uninterrupted: Path) -> None:
    for event in events_of(uninterrupted):
        if event.type == "evaluated":
            assert event.perplexity == pytest.approx(math.exp(event.loss))


def test_that_a_stop_during_an_evaluation_is_made_up_for_after_a_resume(
    make_run: MakeRun, uninterrupted: Path
) -> None:
    folder = same_again(make_run)
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "step" and e.step == 8)
    process.send(folder, "stop")
    child.wait(300)
    assert run_to_end(folder) == "finished"
    seen = [(e.step, e.loss) for e in events_of(folder) if e.type == "evaluated"]
    assert seen == [(e.step, e.loss) for e in events_of(uninterrupted) if e.type == "evaluated"]
    assert (folder / RESULT).read_bytes() == (uninterrupted / RESULT).read_bytes()


def test_f37_that_a_base_changed_before_a_resume_is_refused(
    make_run: MakeRun, tiny_model: Path, tmp_path: Path
) -> None:
    import shutil

    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    folder = make_run(model__path=str(base), training__num_train_epochs=20)
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "checkpoint_saved")
    child.kill()
    child.wait(10)
    weights = bytearray((base / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (base / "model.safetensors").write_bytes(weights)
    assert run_warm(folder) == "failed"
    assert json.loads((folder / "exit.json").read_text())["code"] == "MODEL-08"
