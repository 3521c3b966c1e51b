"""Two windows, two command lines, one run: exactly one child, and the other is told who was quicker."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.jobs import process
from engine.jobs.lock import FolderLock
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import store
from engine.runs.event_log import EventReader
from engine.verbs import follow, runs
from tests.reliability.resume import racing


def make(place: Path) -> Path:
    return store.create_run(codec.override(Recipe(), {"data.train": ["rows.jsonl"]}), place)


def test_r15_that_of_those_who_want_a_folder_at_once_exactly_one_gets_it(tmp_path: Path) -> None:
    assert sum(racing.race_for_locks(tmp_path, count=100)) == 100


def test_f33_that_of_two_real_starts_exactly_one_child_begins(tmp_path: Path) -> None:
    racing.race_for_a_run(make(tmp_path / "run"))


def test_f33_that_a_start_or_resume_of_a_going_run_says_run_02(tmp_path: Path) -> None:
    folder = make(tmp_path / "run")
    asked = Namespace(
        run=str(folder), set=[], check=False, anyway=True, processes=None, detach=False, json=False
    )
    with FolderLock(folder):
        with pytest.raises(EngineError, match=r"already going \(.*RUN-02"):
            process.start(folder)
        with pytest.raises(EngineError, match="RUN-02"):
            runs.resume(asked)
        child = process.JobProcess(_ended_with(2), folder)  # it lost between our look and its lock
        with pytest.raises(EngineError, match="RUN-02"):
            follow.follow_child(child, as_json=True)


def test_f33_that_two_readers_see_the_same_events(tmp_path: Path) -> None:
    from engine.events import Log
    from engine.runs.event_log import EventWriter

    folder = make(tmp_path / "run")
    writer, readers = EventWriter(folder), [EventReader(folder), EventReader(folder)]
    seen: list[list[str]] = [[], []]
    for number in range(30):
        writer.write(Log(message=str(number)))
        which = number % 2
        seen[which] += [event.message for event in readers[which].read_new()]
    writer.close()
    for reader, lines in zip(readers, seen, strict=True):
        lines += [event.message for event in reader.read_new()]
    assert seen[0] == seen[1] == [str(number) for number in range(30)]


def _ended_with(status: int) -> subprocess.Popen[bytes]:

    ended = subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({status})"])
    ended.wait()
    return ended
