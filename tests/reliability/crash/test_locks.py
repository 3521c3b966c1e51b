"""Who holds a run: the system's lock decides, never the text in it, and only its holder is ever signalled."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from engine.jobs import lock, process
from engine.runs import store
from tests.reliability.harness import small_run

# Holds a folder like a child, with a worker of its own that outlives it.
HOLDER = """
import subprocess, sys, time
from pathlib import Path
from engine.jobs.lock import FolderLock
with FolderLock(Path(sys.argv[1])):
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(worker.pid, flush=True)
    time.sleep(600)
"""
SLEEPER = "import time; time.sleep(600)"


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that looks like one of ours, and see that it ends."""
    child = subprocess.Popen([sys.executable, "-c", *arguments, "engine"], stdout=subprocess.PIPE)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run that has begun."""
    folder = small_run.make(tmp_path / "run")
    (folder / "events.jsonl").write_text('{"type":"started","job":"train","pid":1,"host":"here"}\n')
    return folder


def test_i01_i08_that_a_lock_ends_with_its_owner_though_a_worker_lives_on(run: Path) -> None:
    with started(HOLDER, str(run)) as child:
        assert child.stdout is not None
        worker = int(child.stdout.readline())
        assert lock.is_held(run) and lock.holder(run) == child.pid and store.state_of(run) == "running"
        with pytest.raises(EngineError) as caught, lock.FolderLock(run):
            pass
        assert caught.value.code == "RUN-02"
        copy = Path(shutil.copytree(run, run.with_name("copy")))
        assert store.state_of(copy) == "crashed" and process.kill(copy) is False and child.poll() is None
        assert process.kill(run) is True
        child.wait()
        os.kill(worker, 0)  # it lives
        assert not lock.is_held(run) and store.state_of(run) == "crashed"
        os.kill(worker, 9)


def test_i01_that_nothing_in_the_engine_lets_go_of_a_lock_by_the_way() -> None:
    """`lockf` ends with any second descriptor of the file; a fork keeps `flock` alive after its owner."""
    wrong = re.compile(r"\blockf\(|\bos\.fork\(|\bmultiprocessing\b|num_workers")
    places = (Path(lock.__file__).parents[1]).rglob("*.py")
    assert [str(p) for p in places if wrong.search(p.read_text(encoding="utf-8"))] == []


def _texts(pid: int) -> dict[str, Any]:
    here = {"pid": pid, "host": lock.socket.gethostname(), "boot": lock.boot(), "started": lock.started(pid)}
    return {
        "recycled": {**here, "started": 1.0},
        "another boot": {**here, "boot": "00000000-0000-0000-0000-000000000000"},
        "another host": {**here, "host": "elsewhere"},
        "no start": {k: v for k, v in here.items() if k != "started"},
        "a list": [pid],
        "no number": {**here, "pid": "many"},
        "minus": {**here, "pid": -1},
        "everybody": {**here, "pid": 0},
        "endless": {**here, "pid": float("inf")},
        "huge": {**here, "pid": 10**30},
    }


def test_f34_i08_that_no_text_in_a_lock_makes_a_run_live_or_gets_a_stranger_killed(run: Path) -> None:
    with started(SLEEPER) as stranger:
        for name, told in _texts(stranger.pid).items():
            (run / "lock").write_text(json.dumps(told))
            assert not lock.is_held(run) and store.state_of(run) == "crashed", name
            assert process.kill(run) is False and stranger.poll() is None, name
            with lock.FolderLock(run):  # held by this process; the text names another
                (run / "lock").write_text(json.dumps(told))
                assert store.state_of(run) == "running", name
                assert lock.holder(run) is None and process.kill(run) is False, name
                assert stranger.poll() is None, name
        for text in (b"", b"\0" * 100, b"\xff\xfe", b"[" * 5000, b"{" + b"9" * 5000):
            (run / "lock").write_bytes(text)
            assert store.state_of(run) == "crashed" and lock.holder(run) is None
            with lock.FolderLock(run):
                assert lock.holder(run) == os.getpid()
