"""Rank 0 and the processes it starts: what they are told, how they end, and what is said of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.events import Failed
from engine.hardware.devices import Gpu, Machine
from engine.jobs.process import PROCESSES
from engine.runtime import crew
from engine.runtime.crew import Crew, Place

GPU = Gpu("RTX 4090", "GPU-1", 24 * 10**9, 24 * 10**9, "560", (8, 9))
HELD = "import os; from engine.runtime import crew; crew.hold_on(crew.place_of_this_process())\n"
SLEEP = HELD + "import time; time.sleep(60)\n"

MakeCrew = Callable[..., Crew]


@pytest.fixture
def make_crew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeCrew]:
    """Return a function that starts ranks 1 and up, each with a small program of its own."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    made: list[Crew] = []

    def make(*programs: str) -> Crew:
        code = f"import os, sys; sys.path.insert(0, {str(Path(crew.__file__).parents[2])!r})\n"
        code += f"exec({list(programs)!r}[int(os.environ['RANK']) - 1])"
        monkeypatch.setattr(crew, "child_command", lambda _: [sys.executable, "-c", code])
        one = Crew(tmp_path, len(programs) + 1)
        assert one.start() == Place(0, len(programs) + 1, 0, one.meeting)
        made.append(one)
        return one

    yield make
    for one in made:
        one.end()


def test_that_each_rank_is_told_what_torchrun_would_tell_it(tmp_path: Path, make_crew: MakeCrew) -> None:
    names = "RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE OMP_NUM_THREADS GLOO_SOCKET_IFNAME".split()
    told = tmp_path / "told"
    one = make_crew(f"import os; open({str(told)!r}, 'w').write(' '.join(os.environ[n] for n in {names}))")
    while not told.exists() or not told.read_text():
        time.sleep(0.02)
    assert one.loss(0.5) is None  # one whose work is done may end
    rank, local, world, here, threads, inside = told.read_text().split()
    assert (rank, local, world, here) == ("1", "1", "2", "2")
    assert int(threads) >= 1 and inside in ("lo", "lo0")
    assert crew.place_of_this_process() == Place(0, 2, 0, one.meeting)


def test_that_a_process_alone_has_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    assert crew.place_of_this_process() is None
    os.environ.update(RANK="3", WORLD_SIZE="8", LOCAL_RANK="1")
    assert crew.place_of_this_process() is None  # nowhere to meet: left over from something else
    os.environ.update(MASTER_ADDR="127.0.0.1")
    assert crew.place_of_this_process() == Place(3, 8, 1, None)


def test_that_a_killed_rank_is_told_as_such_and_not_the_one_that_fell_with_it(make_crew: MakeCrew) -> None:
    fell = "from engine.runtime import crew; from engine.events import Failed\n"
    fell += "crew.leave_word(crew.place_of_this_process(), Failed(code='APP-01', message='Something'))\n"
    fell += "raise SystemExit(1)\n"
    one = make_crew(fell, SLEEP)
    assert one.loss() is not None
    os.kill(one.pids[1], signal.SIGKILL)
    time.sleep(0.2)
    lost = one.loss()
    assert lost is not None and lost.code == "RUN-01"
    assert lost.message == "Process 3 of 3 ended: it was killed (SIGKILL)."
    assert "Resume" in lost.hint


def test_that_a_rank_says_why_it_ends_and_rank_0_says_it_on(make_crew: MakeCrew) -> None:
    fails = "from engine.runtime import crew; from engine.events import Failed\n"
    fails += (
        "words = Failed(code='GPU-01', message='Memory ran out.', hint='Shorten.', field='data.max_length')\n"
    )
    fails += "crew.leave_word(crew.place_of_this_process(), words)\nraise SystemExit(1)\n"
    lost = make_crew(fails).loss()
    assert lost is not None
    assert (lost.code, lost.hint, lost.field) == ("GPU-01", "Shorten.", "data.max_length")
    assert lost.message == "Process 2 of 2: Memory ran out."


def test_that_no_loss_is_told_while_all_are_there(make_crew: MakeCrew) -> None:
    assert make_crew(SLEEP).loss(0.3) is None


def test_that_ranks_end_with_rank_0_and_leave_no_signal_to_others(make_crew: MakeCrew) -> None:
    ready = HELD + "import time, pathlib; pathlib.Path(os.environ['TUNESMITH_MEETING'], 'up').touch()\n"
    one = make_crew(ready + "time.sleep(60)\n")
    while not (one.meeting / "up").exists():
        time.sleep(0.02)
    pid = one.pids[0]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert one.loss(0.5) is None
    before = time.monotonic()
    one.end()
    assert time.monotonic() - before < crew.LEAVE_SECONDS
    assert not one.meeting.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_that_ranks_end_when_rank_0_is_killed(tmp_path: Path) -> None:
    here = f"import sys; sys.path.insert(0, {str(Path(crew.__file__).parents[2])!r})\n"
    code = f"""{here}
import pathlib, time
from engine.runtime import crew
crew.child_command = lambda _: [sys.executable, "-c", {here + SLEEP!r}]
one = crew.Crew(pathlib.Path("."), 2)
one.start()
print(one.pids[0], one.meeting, flush=True)
time.sleep(60)
"""
    first = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    pid, meeting = first.stdout.readline().split()
    time.sleep(0.5)
    first.kill()
    first.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _lives(int(pid)):
        time.sleep(0.05)
    assert not _lives(int(pid))
    assert not Path(meeting).exists()


def _lives(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_that_a_rank_0_that_does_not_notice_a_loss_is_told(
    make_crew: MakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "STUCK_SECONDS", 0.3)
    told: list[EngineError | None] = []
    heard = threading.Event()
    one = make_crew("raise SystemExit(3)")
    one.watch(lambda error: (told.append(error), heard.set()))
    assert heard.wait(10)
    assert told[0] is not None and "exit status 3" in told[0].message


@pytest.mark.parametrize(
    ("gpus", "launcher", "asked", "resumed", "wanted"),
    [
        (0, {}, None, False, 1),
        (0, {"processes": 3}, None, False, 3),  # a machine without GPUs shares its processor
        (2, {"processes": 2}, None, False, 2),
        (2, {"processes": 1}, None, False, 1),
        (1, {"processes": 2}, None, True, 1),  # the folder was moved to another machine
        (4, {"processes": 2}, 4, True, 4),
        (0, {"processes": 2}, 1, True, 1),
    ],
)
def test_that_as_many_processes_start_as_asked_for_and_can_run(
    monkeypatch: pytest.MonkeyPatch,
    gpus: int,
    launcher: dict[str, int],
    asked: int | None,
    resumed: bool,
    wanted: int,
) -> None:
    monkeypatch.setattr(crew, "probe", lambda: Machine("cpu", 8, 16, 1, 1, (GPU,) * gpus))
    if asked is not None:
        monkeypatch.setenv(PROCESSES, str(asked))
    count, remark = crew.wanted_processes(launcher, resumed=resumed)
    assert count == wanted
    assert bool(remark) == (wanted != launcher.get("processes", 1))


def test_that_more_processes_than_gpus_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "probe", lambda: Machine("cpu", 8, 16, 1, 1, (GPU, GPU)))
    with pytest.raises(EngineError) as caught:
        crew.wanted_processes({"processes": 3}, resumed=False)
    assert caught.value.field == "launcher.processes" and "Use 2" in caught.value.hint
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(EngineError) as caught:
        crew.wanted_processes({"processes": 2}, resumed=False)
    assert "Windows" in caught.value.message


def test_that_the_words_of_a_rank_are_those_of_an_error() -> None:
    assert set(crew.WORDS) <= set(Failed.model_fields)
