"""Two starters of one run at the same moment; the one that is let in is ended before it comes to torch."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from engine.jobs import process
from engine.runs.event_log import EventReader

SECONDS = 60.0
_HOLD = """
import sys, time
from pathlib import Path
from engine.errors import EngineError
from engine.jobs.lock import FolderLock
root, count, begin = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
won = []
for number in range(count):
    while time.time() < begin + number * 0.004:  # all come to each folder at the same moment
        pass
    folder = root / str(number)
    folder.mkdir(exist_ok=True)
    lock = FolderLock(folder)
    lock._seconds = 0.0  # who holds it keeps it: no use in waiting
    try:
        lock.__enter__()
        won.append(str(number))  # and it is kept
    except EngineError as error:
        assert error.code == "RUN-02", error
print(" ".join(won))
sys.stdin.read()  # until all have tried
"""


def race_for_locks(root: Path, count: int, racers: int = 2) -> list[int]:
    """Let processes take the locks of `count` folders at once; return how many each of them got."""
    begin = str(time.time() + 1.5)
    code = [sys.executable, "-c", _HOLD, str(root), str(count), begin]
    pipe = subprocess.PIPE
    runners = [subprocess.Popen(code, stdin=pipe, stdout=pipe, text=True) for _ in range(racers)]
    got = [runner.stdout.readline().split() if runner.stdout else [] for runner in runners]
    for runner in runners:
        runner.communicate("")
        assert runner.returncode == 0
    assert sorted(int(each) for mine in got for each in mine) == list(range(count))
    return [len(mine) for mine in got]


def race_for_a_run(folder: Path) -> None:
    """Start a run twice at once: one child writes that it began, the other ends with RUN-02."""
    children: list[process.JobProcess] = []
    gate = threading.Barrier(2)

    def begin() -> None:
        gate.wait()
        children.append(process.start(folder))

    both = [threading.Thread(target=begin) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    deadline = time.monotonic() + SECONDS
    reader, pids = EventReader(folder), set[int]()
    try:
        while not pids or all(child.poll() is None for child in children):
            pids |= {event.pid for event in reader.read_new() if event.type == "started"}
            assert time.monotonic() < deadline, process.last_words(folder)
            time.sleep(0.01)
    finally:
        for child in children:
            child.kill()
        ended = {child.pid: child.wait(SECONDS) for child in children}
    pids |= {event.pid for event in reader.read_new() if event.type == "started"}
    assert len(pids) == 1 and pids <= ended.keys(), (pids, ended)
    assert [status for pid, status in ended.items() if pid not in pids] == [2], ended
    assert "RUN-02" in process.last_words(folder)
