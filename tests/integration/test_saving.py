"""Saves are written while training goes on: their order, their failures, and what is waited for."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from engine import durable
from engine.errors import EngineError
from engine.jobs import process
from engine.runs import check
from engine.runtime import checkpoint, keep, train
from engine.runtime.job import Job
from tests.integration.attempts import Killed, attempt, same_bytes
from tests.integration.conftest import MakeRun, events_of, losses

STEPS = 8


def make(make_run: MakeRun, **options: Any) -> Path:
    values = {
        "data__validation_split": 0.0,
        "training__max_steps": STEPS,
        "checkpoint__save_steps": 2,
        "checkpoint__save_total_limit": 10,
    }
    return make_run(**{**values, **options})


def test_that_a_write_that_fails_ends_the_attempt_and_the_former_save_stands(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = make(make_run), make(make_run)
    attempt(whole)
    write = checkpoint._write

    def full(tensors: Any, path: Path) -> None:
        if path.parent.name.endswith("4"):
            raise EngineError("The disk is full.", "Free some space.", "DISK-01")
        write(tensors, path)

    with monkeypatch.context() as patched, pytest.raises(EngineError) as caught:
        patched.setattr(checkpoint, "_write", full)
        attempt(folder)
    assert caught.value.code == "DISK-01"
    assert max(losses(folder)) <= 6  # noticed between two steps, at the latest by the next save
    found, damaged = check.last_checkpoint(folder)
    assert found is not None and check.step_of(found) == 2 and len(damaged) == 1
    assert [e.step for e in events_of(folder) if e.type == "checkpoint_saved"] == [2]
    attempt(folder)
    assert losses(folder) == losses(whole) and same_bytes(folder, whole, STEPS)


POINTS = {
    "after the weights": (checkpoint, "_write", 0),
    "after the optimizer": (checkpoint, "_write", 1),
    "after the state": (durable, "write_json", 0),
    "before the manifest": (check, "write_manifest", None),
    "after the manifest": (check, "write_manifest", 0),
    "while older saves go": (checkpoint, "prune", None),
}


@pytest.mark.parametrize("point", POINTS)
def test_that_a_save_cut_off_at_any_point_is_there_whole_or_not_at_all(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The second save, of step 4, is cut off: at `point` for the first time after another was begun."""
    room, name, after = POINTS[point]
    whole, folder = make(make_run), make(make_run)
    attempt(whole)
    real, write, calls, second = getattr(room, name), checkpoint.write, 0, threading.Event()

    def begun(run: Path, taken: checkpoint.Snapshot, *rest: Any) -> Any:
        if taken.step == 4:
            second.set()
        return write(run, taken, *rest)

    def dies(*given: Any, **named: Any) -> Any:
        nonlocal calls
        if not second.is_set():
            return real(*given, **named)
        if after is not None:
            real(*given, **named)
            calls += 1
        if after is None or calls == after + 1:
            raise Killed
        return None

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(checkpoint, "write", begun)
        patched.setattr(room, name, dies)
        attempt(folder)
    found, _ = check.last_checkpoint(folder)
    written = point in ("after the manifest", "while older saves go")
    assert found is not None and check.step_of(found) == (4 if written else 2)
    told = [e.step for e in events_of(folder) if e.type == "checkpoint_saved"]
    assert told == ([2, 4] if point == "while older saves go" else [2])
    attempt(folder)
    assert losses(folder) == losses(whole) and same_bytes(folder, whole, STEPS)


def test_that_the_events_are_durable_before_the_manifest_and_the_save_is_told_after_it(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    sync, manifest, write = Job.sync, check.write_manifest, Job.write

    def noted_write(job: Job, event: Any) -> None:
        if event.type == "checkpoint_saved":
            assert not check.problem_of(job.folder / event.path)
            seen.append("told")
        write(job, event)

    monkeypatch.setattr(Job, "sync", lambda job: (seen.append("events"), sync(job))[1])
    monkeypatch.setattr(check, "write_manifest", lambda place: (seen.append("manifest"), manifest(place))[1])
    monkeypatch.setattr(Job, "write", noted_write)
    attempt(make(make_run))
    saves = seen[: 3 * 4]
    assert saves == ["events", "manifest", "told"] * 4


def test_that_one_save_is_written_at_a_time_and_none_is_left_out(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, going, order = checkpoint.write, threading.Lock(), []

    def alone(run: Path, taken: checkpoint.Snapshot, *rest: Any) -> Any:
        assert going.acquire(blocking=False), "two saves at once"
        try:
            order.append(taken.step)
            return write(run, taken, *rest)
        finally:
            going.release()

    monkeypatch.setattr(checkpoint, "write", alone)
    folder = make(make_run, checkpoint__save_steps=1)
    attempt(folder)
    assert order == list(range(1, STEPS + 1))
    assert [e.step for e in events_of(folder) if e.type == "checkpoint_saved"] == order


@pytest.mark.parametrize("command", ["stop", "pause"])
def test_that_stop_and_pause_wait_for_the_disk(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    folder = make(make_run)
    (folder / "control").mkdir(exist_ok=True)
    take_step = train.take_step

    def asked(run: Any) -> None:
        take_step(run)
        if run.step == 3:
            process.send(folder, command)

    monkeypatch.setattr(train, "take_step", asked)
    if command == "pause":
        from engine.events import Paused

        write = Job.write

        def resumes(job: Job, event: Any) -> None:
            if isinstance(event, Paused):
                assert check.step_of(check.last_checkpoint(folder)[0] or folder) == 3
                process.send(folder, "resume")
            write(job, event)

        monkeypatch.setattr(Job, "write", resumes)
    assert attempt(folder).type == ("stopped" if command == "stop" else "finished")
    assert any(e.type == "checkpoint_saved" and e.step == 3 for e in events_of(folder))


def test_r13_that_training_waits_for_a_copy_only(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing is made slow: the steps in between are taken meanwhile."""
    write, taken = checkpoint.write, threading.Event()

    def slow(run: Path, snapshot: checkpoint.Snapshot, *rest: Any) -> Any:
        assert snapshot.step != 4 or taken.wait(60)
        return write(run, snapshot, *rest)

    take_step = train.take_step

    def noted(run: Any) -> None:
        take_step(run)
        if run.step == 6:
            taken.set()

    monkeypatch.setattr(checkpoint, "write", slow)
    monkeypatch.setattr(train, "take_step", noted)
    folder = make(make_run, checkpoint__save_steps=4)
    attempt(folder)
    saved = [e for e in events_of(folder) if e.type == "checkpoint_saved"]
    assert [e.step for e in saved] == [4, 8]
    assert saved[0].waited_seconds < saved[0].seconds
    kinds = [(e.type, e.step) for e in events_of(folder) if e.type in ("step", "checkpoint_saved")]
    assert kinds.index(("checkpoint_saved", 4)) > kinds.index(("step", 6))


def test_that_a_copy_larger_than_a_share_of_the_free_memory_is_not_made(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "COPY_SHARE", 0.0)
    folder = make(make_run)
    attempt(folder)
    saved = [e for e in events_of(folder) if e.type == "checkpoint_saved"]
    assert len(saved) == 4 and all(e.waited_seconds == e.seconds for e in saved)


def test_that_the_oldest_whole_saves_go_and_the_best_and_two_stay(tmp_path: Path) -> None:
    for step in range(1, 7):
        folder = tmp_path / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text("{}")
        if step != 5:
            check.write_manifest(folder)
    checkpoint.prune(tmp_path, 2, best_step=1)
    # 5 was cut off: it is no save, and 4 and 6 are the newest two that are whole.
    assert [check.step_of(p) for p in check.checkpoint_folders(tmp_path)] == [1, 4, 5, 6]
