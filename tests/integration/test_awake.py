"""The computer is kept awake while a job works: with a stand-in for the system's own helper program."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine.events import Event
from engine.jobs import process
from engine.runs.history import RunHistory
from tests.integration.conftest import MakeRun, events_of, run_to_end, wait_for

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's own way")


@pytest.fixture
def inhibit(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Return a function that puts a `systemd-inhibit` of these lines in front of the search path."""

    def make(lines: str) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "systemd-inhibit"
        program.write_text(f"#!/bin/sh\n{lines}\n")
        program.chmod(0o755)
        return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}

    return make


@pytest.fixture
def holder(tmp_path: Path) -> Callable[[], list[psutil.Process]]:
    """Return a function that names the living stand-ins: each wrote its process id."""

    def living() -> list[psutil.Process]:
        noted = tmp_path / "held"
        pids = [int(line.split()[0]) for line in noted.read_text().splitlines()] if noted.exists() else []
        found = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
        return [p for p in found if p.status() != psutil.STATUS_ZOMBIE]

    return living


@pytest.fixture
def start(make_run: MakeRun) -> Iterator[Callable[..., tuple[Path, process.JobProcess]]]:
    """Return a function that starts a long run and returns its folder and child."""
    children = []

    def begin(environment: dict[str, str]) -> tuple[Path, process.JobProcess]:
        folder = make_run(training__num_train_epochs=400, evaluation__eval_steps=100_000)
        children.append(process.start(folder, environment=environment))
        return folder, children[-1]

    yield begin
    for child in children:
        child.kill()
        child.wait(120)


def is_awake(event: Event) -> bool:
    return event.type == "awake"


def gone(holder: Callable[[], list[psutil.Process]]) -> bool:
    deadline = time.monotonic() + 5
    while holder() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not holder()


def test_that_the_computer_is_kept_awake_until_the_child_is_killed(
    inhibit: Callable[[str], dict[str, str]],
    holder: Callable[[], list[psutil.Process]],
    start: Callable[..., tuple[Path, process.JobProcess]],
    tmp_path: Path,
) -> None:
    folder, child = start(inhibit(f'echo "$$ $*" >> "{tmp_path}/held"\nexec cat'))
    said = wait_for(folder, is_awake)
    assert said.kept and said.by == "systemd-inhibit"
    assert len(holder()) == 1
    asked = (tmp_path / "held").read_text()
    assert "--what=idle:sleep" in asked and "--mode=block" in asked and "--who=Tunesmith" in asked
    child.kill()
    assert gone(holder)


def test_that_the_computer_may_sleep_during_a_pause_and_after_the_end(
    inhibit: Callable[[str], dict[str, str]],
    holder: Callable[[], list[psutil.Process]],
    start: Callable[..., tuple[Path, process.JobProcess]],
    tmp_path: Path,
) -> None:
    folder, child = start(inhibit(f'echo "$$ $*" >> "{tmp_path}/held"\nexec cat'))
    wait_for(folder, lambda e: e.type == "step" and e.step >= 3)
    process.send(folder, "pause")
    wait_for(folder, lambda e: e.type == "paused")
    assert gone(holder)
    process.send(folder, "resume")
    wait_for(folder, lambda e: e.type == "resumed")
    assert len(holder()) == 1
    process.send(folder, "stop")
    assert child.wait(300) == 0
    assert gone(holder)
    history = RunHistory()
    history.fold(events_of(folder))
    assert any("kept awake" in line.text for line in history.log)


def test_that_a_refused_lock_is_told_and_the_run_goes_on(
    inhibit: Callable[[str], dict[str, str]], make_run: MakeRun
) -> None:
    folder = make_run()
    refusing = inhibit('echo "Failed to inhibit: Access denied" >&2\nexit 1')
    assert process.start(folder, environment=refusing).wait(120) == 0
    said = next(e for e in events_of(folder) if is_awake(e))
    assert not said.kept and "Access denied" in said.detail


def test_that_a_system_without_a_way_is_told(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    folder = make_run()
    assert run_to_end(folder) == "finished"
    said = next(e for e in events_of(folder) if is_awake(e))
    assert not said.kept and said.detail
