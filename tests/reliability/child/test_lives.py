"""Children beside the processes that started them: they outlive them, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from engine.jobs import lock, process
from engine.runs import store
from engine.runs.event_log import EventReader
from engine.runs.history import RunHistory
from tests.integration.conftest import MakeRun, events_of, wait_for
from tests.integration.warm import run_to_end
from tests.reliability.harness.processes import Counts, cycle, end_early

STARTER = """
import sys, time
from pathlib import Path
from engine.jobs import process
print(process.start(Path(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""


def test_f05_i04_that_a_run_outlives_its_window_and_shows_the_same_curve_when_found_again(
    make_run: MakeRun,
) -> None:
    folder = make_run(training__max_steps=60, data__validation_split=0.0, checkpoint__save_steps=20)
    window = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
    )
    assert window.stdout is not None
    child = psutil.Process(int(window.stdout.readline()))
    always = EventReader(folder)
    watched, found = RunHistory(), RunHistory()
    wait_for(folder, lambda e: e.type == "step" and e.step >= 5)
    os.kill(window.pid, signal.SIGKILL)
    assert window.wait(30) == -signal.SIGKILL
    left = max(e.step for e in events_of(folder) if e.type == "step")
    wait_for(folder, lambda e: e.type == "step" and e.step >= left + 5)
    assert child.is_running() and process.is_alive(folder) and store.state_of(folder) == "running"
    again = EventReader(folder)  # the next window
    while process.is_alive(folder):
        watched.fold(always.read_new(50))
        found.fold(again.read_new())
        time.sleep(0.05)
    watched.fold(always.read_new())
    found.fold(again.read_new())
    assert store.state_of(folder) == "finished" and found.step == 60
    replayed = RunHistory()
    replayed.fold(events_of(folder))
    assert watched.view() == found.view() == replayed.view()
    assert not lock.is_held(folder) and not psutil.wait_procs([child], timeout=60)[1]


def test_i08_that_a_child_started_in_a_finished_run_changes_nothing(make_run: MakeRun) -> None:
    folder = make_run()
    assert run_to_end(folder) == "finished"
    kept = {name: (folder / name).read_bytes() for name in ("events.jsonl", "exit.json")}
    assert process.start(folder).wait(60) != 0
    assert "RUN-10" in process.last_words(folder) and store.state_of(folder) == "finished"
    assert kept == {name: (folder / name).read_bytes() for name in kept}
    assert not list(folder.glob("exit-*.json"))


def test_r17_that_starts_and_ends_leave_no_process_thread_or_descriptor(make_run: MakeRun) -> None:
    folder = end_early(make_run())
    cycle(folder)
    before = Counts.now()
    for _ in range(2):
        assert cycle(folder) == "failed"
    assert Counts.now() == before
