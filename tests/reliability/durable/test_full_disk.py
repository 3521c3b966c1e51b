"""A disk that fills up under a run (F8, F9, F10): training waits with all it knows in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from engine import durable, faults
from engine.errors import EngineError
from engine.jobs import process, room
from engine.runs import check
from engine.runtime import full_disk
from engine.runtime.control import Control
from engine.runtime.job import Job, Requests
from tests.integration.attempts import attempt, same_bytes
from tests.integration.conftest import MakeRun, events_of, losses

STEPS = 4
OPTIONS: dict[str, Any] = {
    "data__validation_split": 0.0,
    "training__max_steps": STEPS,
    "checkpoint__save_steps": 2,
    "checkpoint__save_total_limit": 10,
    "evaluation__sample_prompts": [],  # nothing is written before step 1
}


def answer_pauses(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Let somebody answer each pause with a command."""
    write = Job.write

    def answering(job: Job, event: Any) -> None:
        write(job, event)
        if event.type == "paused":
            process.send(job.folder, command)

    monkeypatch.setattr(Job, "write", answering)


def test_f08_that_a_full_disk_pauses_and_continue_writes_new_files_until_the_run_is_as_if_never_full(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = make_run(**OPTIONS), make_run(**OPTIONS)
    attempt(whole)
    answer_pauses(monkeypatch, "resume")
    # Step 2 fails twice: at its second file, then at the state; the result fails at its card.
    with faults.arm("ckpt.file:ENOSPC@2;ckpt.file:ENOSPC@6;publish.file:ENOSPC@3"):
        attempt(folder)
        assert [name for name, _, _ in faults.fired] == ["ckpt.file", "ckpt.file", "publish.file"]
    assert losses(folder) == losses(whole) and same_bytes(folder, whole, STEPS)
    events = events_of(folder)
    told = [e for e in events if e.type == "warned" and e.code == "DISK-01"]
    assert len(told) == 3 and all(str(folder) in e.message and "needed" in e.message for e in told)
    assert "Continue" in told[0].hint
    kinds = [e.type for e in events if e.type in ("paused", "resumed", "checkpoint_saved", "finished")]
    pause = ["paused", "resumed"]
    assert kinds == [*pause, *pause, "checkpoint_saved", "checkpoint_saved", *pause, "finished"]
    assert not check.problem_of(folder / "adapter")
    assert (folder / room.RESERVE).stat().st_size == room.RESERVE_BYTES


def test_f08_that_a_stop_while_the_disk_is_full_ends_with_disk_01_and_the_former_save_stands(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(**OPTIONS)
    answer_pauses(monkeypatch, "stop")
    with faults.arm("ckpt.file:ENOSPC@6+"), pytest.raises(EngineError) as caught:
        attempt(folder)
    assert caught.value.code == "DISK-01" and "could not be saved" in caught.value.message
    found, damaged = check.last_checkpoint(folder)
    assert found is not None and check.step_of(found) == 2
    assert not damaged  # what was written of the other took room that somebody needed


def test_f08_that_rank_0_waits_alone_and_what_is_asked_of_all_is_heard_by_all_later(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    control = Control(tmp_path)
    requests = Requests(control)
    heard: list[str] = []

    class OfAll:
        """The ear of all ranks: to listen there alone would keep a rank waiting for ever."""

        def take(self) -> list[dict[str, Any]]:
            found = control.take()
            heard.extend(str(each["command"]) for each in found)
            return found

    requests.share(lambda own: OfAll())
    for command in ("evaluate", "resume", "save"):
        process.send(tmp_path, command)
    requests.poll_alone()
    assert heard == [] and requests.take("resume") and not requests.take("save")
    requests.poll()
    assert heard == ["save", "evaluate"] and requests.take("save") and requests.take("evaluate")


def test_f09_that_training_waits_while_the_log_cannot_be_written_and_no_line_is_lost(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(**OPTIONS)

    class Full(durable.Disk):
        """A disk without room for the log, from its first step on until the reserve is gone."""

        def write(self, fd: int, data: bytes | memoryview) -> int:
            full = (folder / room.RESERVE).exists() and (folder / "events.jsonl").stat().st_size > 0
            if full and os.path.samestat(os.fstat(fd), os.stat(folder / "events.jsonl")):
                return super().write(fd, bytes(data)[: len(data) // 2])
            return super().write(fd, data)

    answer_pauses(monkeypatch, "resume")
    with durable.using(Full()), monkeypatch.context() as patched:
        patched.setattr(full_disk, "_reserve_again", lambda folder: None)
        attempt(folder)
    events = events_of(folder)
    assert [e.seq for e in events] == list(range(len(events)))
    assert [e.step for e in events if e.type == "paused"] == [1]  # no other step is taken meanwhile
    assert events[-1].type == "finished" and list(losses(folder)) == list(range(1, STEPS + 1))
    assert [e.code for e in events if e.type == "warned" and e.code.startswith("DISK")] == ["DISK-01"]
    for line in (folder / "events.jsonl").read_bytes().split(b"\n")[:-1]:
        assert line.count(b'{"type"') == 1  # half a line is ended before another begins
