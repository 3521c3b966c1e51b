"""What is asked of a child: in any order, twice, left over from before, or no request at all."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.events import Paused
from engine.jobs import process
from engine.runtime import orders, train
from engine.runtime.control import Control
from engine.runtime.job import Job, Requests
from engine.runtime.training import Training
from tests.integration.conftest import MakeTraining, events_of

ALL_ORDERS = list(itertools.permutations(("stop", "pause", "save")))


@pytest.fixture(scope="module")
def kept() -> dict[str, Training]:
    return {}


@pytest.fixture
def run(make_training: MakeTraining, kept: dict[str, Training]) -> Training:
    """Return a run that has taken a step more than before; loaded once."""
    if "run" not in kept:
        kept["run"] = make_training()
    run = kept["run"]
    (run.job.folder / "control").mkdir(exist_ok=True)
    run.job.requests = Requests(Control(run.job.folder))
    train.take_step(run)
    return run


def kinds(run: Training, since: int) -> list[str]:
    wanted = ("paused", "resumed", "checkpoint_saved")
    return [e.type for e in events_of(run.job.folder) if e.seq >= since and e.type in wanted]


def said_so_far(run: Training) -> int:
    return len(events_of(run.job.folder))


@pytest.mark.parametrize("asked", ALL_ORDERS, ids="-".join)
def test_f19_that_a_stop_goes_before_all_else_in_whatever_order_they_are_asked(
    run: Training, asked: tuple[str, ...]
) -> None:
    for command in asked:
        process.send(run.job.folder, command)
    process.send(run.job.folder, asked[0])  # twice
    before = said_so_far(run)
    assert orders.obey(run) == "stop"  # the loop saves then, and ends
    assert kinds(run, before) == [] and not list((run.job.folder / "control").iterdir())
    assert orders.obey(run) == "stop"  # never taken back


@pytest.mark.parametrize("asked", list(itertools.permutations(("pause", "save", "pause"))), ids="-".join)
def test_f19_that_a_pause_saves_once_and_waits_for_its_resume(
    run: Training, asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in asked:
        process.send(run.job.folder, command)
    write = Job.write

    def resumes(job: Job, event: Any) -> None:
        if isinstance(event, Paused):
            process.send(job.folder, "resume")
            process.send(job.folder, "resume")
        write(job, event)

    monkeypatch.setattr(Job, "write", resumes)
    before, step = said_so_far(run), run.step
    assert orders.obey(run) == ""
    assert kinds(run, before) == ["checkpoint_saved", "paused", "resumed"] and run.step == step
    assert orders.obey(run) == ""  # nothing is left to be done
    assert kinds(run, before).count("paused") == 1


def test_f19_that_a_stop_ends_a_pause(run: Training) -> None:
    process.send(run.job.folder, "pause")

    def stop() -> None:
        while "paused" not in kinds(run, before):
            threading.Event().wait(0.02)
        process.send(run.job.folder, "stop")
        process.send(run.job.folder, "resume")

    before = said_so_far(run)
    asking = threading.Thread(target=stop)
    asking.start()
    assert orders.obey(run) == "stop"
    asking.join(30)
    assert kinds(run, before) == ["checkpoint_saved", "paused"]
    assert orders._go_on(run, run.job.folder / "checkpoints" / f"step-{run.step:08d}")  # for the next test


def test_f19_that_the_most_final_request_is_heard_first(tmp_path: Path) -> None:
    for command in ("sample", "save", "resume", "pause", "stop"):
        process.send(tmp_path, command)
    heard = [c["command"] for c in Control(tmp_path).take()]
    assert heard == ["stop", "resume", "pause", "save", "sample"]  # a pause and its end stay in their order


# -- F20 ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("other", ["evaluate", "save"])
def test_f19_that_going_on_is_heard_beside_whatever_else_is_asked(tmp_path: Path, other: str) -> None:
    (tmp_path / "control").mkdir()
    requests = Requests(Control(tmp_path))
    for command in ("pause", "resume", other):
        process.send(tmp_path, command)
    requests.poll()
    assert not requests.take("pause") and requests.take("resume") and requests.take(other)
    for command in ("resume", other, "pause"):
        process.send(tmp_path, command)
    requests.poll()
    assert requests.take("pause") and not requests.take("resume") and requests.take(other)


def test_f20_that_requests_of_an_earlier_attempt_are_thrown_away(tmp_path: Path) -> None:
    process.send(tmp_path, "stop")
    control = Control(tmp_path)
    control.clear()
    assert control.take() == []
    process.send(tmp_path, "save")
    assert [c["command"] for c in control.take()] == ["save"]


def test_f20_that_what_is_asked_before_a_child_is_awake_is_kept_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, str] = {}

    def begun(_command: list[str], *, env: dict[str, str], **_: Any) -> Any:
        told.update(env)
        return SimpleNamespace(pid=1)

    monkeypatch.setattr(process.subprocess, "Popen", begun)
    process.send(tmp_path, "pause")  # nobody is there to hear it
    process.start(tmp_path)
    process.send(tmp_path, "stop")
    monkeypatch.setenv(process.BEGUN, told[process.BEGUN])
    control = Control(tmp_path)
    control.clear()
    assert [c["command"] for c in control.take()] == ["stop"]


def test_f20_that_a_link_in_the_place_of_the_folder_empties_nothing_of_others(tmp_path: Path) -> None:
    other, run = tmp_path / "other", tmp_path / "run"
    other.mkdir()
    run.mkdir()
    (other / "mine.json").write_text("{}")
    (run / "control").symlink_to(other)
    Control(run).clear()
    assert (other / "mine.json").exists() and not (run / "control").is_symlink()


def a_pipe(place: Path) -> None:
    os.mkfifo(place)


def a_folder(place: Path) -> None:
    place.mkdir()


def text(content: bytes) -> Callable[[Path], None]:
    return lambda place: place.write_bytes(content) and None


NO_REQUESTS: dict[str, Callable[[Path], None]] = {
    "a pipe": a_pipe,
    "a folder": a_folder,
    "a list for a name": text(b'{"command": ["stop"]}'),
    "another name": text(b'{"command": "kill"}'),
    "no object": text(b'"stop"'),
    "cut off": text(b'{"command": "st'),
    "nested": text(b"[" * 60_000),
    "nothing": text(b""),
}


@pytest.mark.parametrize("what", NO_REQUESTS)
def test_f20_that_what_is_no_request_is_left_out(tmp_path: Path, what: str) -> None:
    control = Control(tmp_path)
    control.clear()
    NO_REQUESTS[what](tmp_path / "control" / "1.json")
    process.send(tmp_path, "save")
    assert [c["command"] for c in control.take()] == ["save"]
    Control(tmp_path).clear()
