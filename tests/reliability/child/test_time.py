"""Clocks that jump, a computer that sleeps, a process that is not let run, work that says nothing more."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import clocks, faults
from engine.events import Event, Started, Step, Unknown
from engine.jobs import process
from engine.runs import store
from engine.runs.event_log import EventReader, EventWriter
from engine.runs.history import RunHistory
from engine.runtime import vitals
from engine.runtime.vitals import Vitals


class Times:
    """Clocks of our own; each is moved by hand."""

    def __init__(self) -> None:
        self.wall = self.mono = self.slept = self.computed = 1000.0

    def pass_by(self, seconds: float, *, computed: float = 0.0) -> None:
        self.wall, self.mono = self.wall + seconds, self.mono + seconds
        self.computed += computed


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    made = Times()
    monkeypatch.setattr(clocks, "wall", lambda: made.wall)
    monkeypatch.setattr(clocks, "mono", lambda: made.mono)
    monkeypatch.setattr(clocks, "slept", lambda: made.slept)
    monkeypatch.setattr(clocks.time, "process_time", lambda: made.computed)
    return made


def step(number: int, seconds: float = 1.0, tokens: int = 100) -> Step:
    return Step(
        step=number,
        total_steps=100,
        epoch=0.0,
        loss=1.0,
        learning_rate=1e-4,
        tokens=tokens,
        supervised_tokens=tokens,
        seconds=seconds,
    )


def events_of(folder: Path) -> list[Event]:
    return EventReader(folder).read_new()


def begun(folder: Path, times: Times, steps: int = 30) -> EventWriter:
    """Return the writer of a run that has taken some steps of a second each."""
    writer = EventWriter(folder)
    writer.write(Started(job="train", pid=1, host="here"))
    for number in range(1, steps + 1):
        times.pass_by(1.0)
        writer.write(step(number))
    return writer


def history_of(folder: Path) -> RunHistory:
    history = RunHistory()
    history.fold(events_of(folder))
    return history


# -- F16 ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("jump", [3600.0, -3600.0, -1.7e9], ids=["forward", "back", "to 1970"])
def test_f16_that_a_clock_that_jumps_changes_no_duration_and_is_told(
    tmp_path: Path, times: Times, jump: float
) -> None:
    writer = begun(tmp_path, times)
    watch = clocks.Watch()
    times.pass_by(1.0)
    times.wall += jump
    gaps = watch.look(1.0)
    assert [(g.kind, round(g.seconds), g.in_mono) for g in gaps] == [("clock_jump", jump, False)]
    said = Unknown.model_validate({"type": gaps[0].kind, "seconds": gaps[0].seconds})
    writer.write(said)
    for number in range(31, 61):
        times.pass_by(1.0)
        writer.write(step(number))
    history = history_of(tmp_path)
    assert history.elapsed_seconds == pytest.approx(61.0)
    assert history.eta_seconds() == pytest.approx(40.0)
    assert history.tokens_per_second == pytest.approx(100.0)
    assert any("clock was set" in line.text for line in history.log)
    assert store.summary(tmp_path).seconds == pytest.approx(61.0)
    assert watch.look(30.0) == []


def test_f16_that_an_armed_fault_moves_the_wall_clock_of_every_event(tmp_path: Path) -> None:
    with faults.arm("clock:clock+3600@3+"):
        writer = EventWriter(tmp_path)
        for number in range(1, 5):
            writer.write(step(number))
    first, second, third, fourth = events_of(tmp_path)
    assert third.time - second.time > 3599 and abs(fourth.time - third.time) < 60
    assert first.mono <= second.mono <= third.mono < second.mono + 60


# -- F17 ---------------------------------------------------------------------------------------------------
def test_f17_that_hours_of_sleep_are_told_and_count_in_nothing(
    tmp_path: Path, times: Times, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = begun(tmp_path, times)
    watched = Vitals(writer)
    watched.enter("train")
    watched.see(step(30))
    watch = clocks.Watch()
    times.wall += 3 * 3600
    times.slept += 3 * 3600
    times.pass_by(1.0)
    gaps = watch.look(1.0)
    assert [(g.kind, round(g.seconds)) for g in gaps] == [("suspended", 3 * 3600)]
    watched._tell_gaps(gaps)
    watched._look_for_silence()
    times.pass_by(1.0)
    writer.write(step(31, seconds=2.0))
    history = history_of(tmp_path)
    assert any(line.text == "Paused by the computer for 3 h" for line in history.log)
    assert history.elapsed_seconds == pytest.approx(32.0)
    assert not history.warnings


@pytest.mark.parametrize("told", ["before the step", "after the step"])
def test_f17_that_a_process_that_was_not_let_run_is_told_and_its_step_has_no_speed(
    tmp_path: Path, times: Times, told: str
) -> None:
    writer = begun(tmp_path, times)
    watched = Vitals(writer)
    watched.enter("train")
    watched.see(step(30))
    watch = clocks.Watch()
    times.pass_by(501.0, computed=0.1)  # stopped by a signal, or a virtual machine put aside
    gaps = watch.look(1.0)
    assert [(g.kind, round(g.seconds), g.in_mono) for g in gaps] == [("held", 500, True)]
    if told == "before the step":
        watched._tell_gaps(gaps)
    writer.write(step(31, seconds=501.0))
    if told == "after the step":
        watched._tell_gaps(gaps)
    watched._look_for_silence()
    times.pass_by(1.0)
    writer.write(step(32))
    history = history_of(tmp_path)
    assert history.elapsed_seconds == pytest.approx(32.0)
    speeds = history.series["tokens_per_second"]
    assert speeds.at(30) == 100.0 and speeds.at(31) is None and speeds.at(32) == 100.0
    assert history.eta_seconds() == pytest.approx(68.0)
    assert any("not let run for 8 min" in line.text for line in history.log) and not history.warnings


def test_f17_that_a_thread_that_waits_for_busy_ones_is_no_gap(times: Times) -> None:
    watch = clocks.Watch()
    times.pass_by(30.0, computed=29.0)
    assert watch.look(1.0) == []


HASTY = """
import sys
from engine.cli import main
from engine.runtime import vitals
vitals.SILENT_SECONDS = 4.0
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_f17_that_a_real_suspension_is_told_counts_in_no_speed_and_raises_no_alarm(
    make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "hasty.py"
    script.write_text(HASTY)
    monkeypatch.setattr(process, "child_command", lambda asked: [sys.executable, "-I", str(script), *asked])
    folder = make_run(
        data__validation_split=0.0, training__num_train_epochs=500, checkpoint__save_steps=100_000
    )
    child = process.start(folder)
    try:
        before = step_after(folder, 5)
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(6.0)  # longer than the silence that this child is allowed
        os.kill(child.pid, signal.SIGCONT)
        held = wait_for(folder, lambda e: e.type == "held")
        step_after(folder, before + 10)
    finally:
        child.kill()
        child.wait(30)
    assert 4.5 < held.seconds and held.in_mono
    events = events_of(folder)
    assert not [e.message for e in events if e.type == "warned" and e.code == "RUN-11"]
    history = history_of(folder)
    assert any(line.text.startswith("The process was not let run for ") for line in history.log)
    gaps = sum(e.seconds for e in events if e.type == "held")
    assert history.elapsed_seconds == pytest.approx(events[-1].mono - events[0].mono - gaps, abs=0.5)
    speeds = history.series["tokens_per_second"]
    steps = [e for e in events if e.type == "step"]
    assert not [e.step for e in steps if e.seconds > 4.5 and speeds.at(e.step) is not None]
    assert speeds.at(before) is not None and speeds.at(steps[-1].step) is not None


def step_after(folder: Path, number: int) -> int:
    """Wait for a step from `number` on, and return which it is."""
    return int(wait_for(folder, lambda e: e.type == "step" and e.step >= number).step)


# -- F18 ---------------------------------------------------------------------------------------------------
@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(vitals, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(vitals, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(vitals, "SILENT_STEPS", 0)


def wait_for(folder: Path, wanted: Callable[[Event], bool]) -> Event:
    """Wait for an event of this process's own threads."""
    reader, pause = EventReader(folder), threading.Event()
    for _ in range(3000):
        for event in reader.read_new():
            if wanted(event):
                return event
        pause.wait(0.02)
    raise AssertionError("no such event")


def test_f18_that_a_hang_is_told_while_the_heart_still_beats(
    make_training: Any, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.runtime import train

    run = make_training()
    folder = run.job.folder
    released = threading.Event()
    monkeypatch.setattr(faults.time, "sleep", lambda seconds: released.wait(60))
    run.job.phase("train")
    run.job.vitals.start()

    def work() -> None:
        with faults.arm("step:hang@3"):
            for _ in range(3):
                train.take_step(run)

    worker = threading.Thread(target=work)
    worker.start()
    told = wait_for(folder, lambda e: e.type == "warned")
    assert told.code == "RUN-11" and "phase: train" in told.message and "nothing is saved yet" in told.hint
    beat = wait_for(folder, lambda e: e.type == "heartbeat" and e.seq > told.seq)
    assert beat.phase == "train" and 0 < beat.memory_bytes <= beat.limit_bytes
    released.set()
    worker.join(60)
    wait_for(folder, lambda e: e.type == "log" and "goes on" in e.message)
    run.job.vitals.end()
    seen = [e for e in events_of(folder) if e.type == "warned"]
    assert len(seen) == 1  # once for each silence
    assert [e.step for e in events_of(folder) if e.type == "step"] == [1, 2, 3]


def test_f18_that_patience_follows_the_steps_and_a_pause_is_no_silence(tmp_path: Path) -> None:
    watched = Vitals(EventWriter(tmp_path))
    watched.enter("load model")
    assert watched.patience() == vitals.SLOW_PHASE_SECONDS
    watched.enter("train")
    for number in range(1, 6):
        watched.see(step(number, seconds=0.5))
    assert watched.patience() == 60.0
    for number in range(6, 20):
        watched.see(step(number, seconds=30.0))
    assert watched.patience() == 300.0
    watched.enter("paused")
    assert watched.patience() == math.inf
