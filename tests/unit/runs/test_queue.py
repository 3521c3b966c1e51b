"""The queue: order, one run a device, continue or hold on errors, one advance at a time, restarts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine.errors import EngineError
from engine.jobs import lock, process
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import advance, queue, queue_runner, store
from engine.runs.event_log import EventReader

STAND_IN = Path(__file__).parents[2] / "data" / "stand_in_child.py"
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(process, "_PASSED", process._PASSED | {"PYTHONPATH"})
    monkeypatch.setattr(process, "child_command", lambda words: [sys.executable, str(STAND_IN), *words])
    advance.device_names.cache_clear()
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def no_child_stays() -> Iterator[None]:
    yield
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if str(STAND_IN) in " ".join(child.cmdline()):
                child.kill()


def make(name: str, **options: object) -> Path:
    recipe = codec.override(Recipe(), {"name": name, "data.train": ["rows.jsonl"], **options})
    return store.create_run(recipe).resolve()


def waiting() -> list[str]:
    return [advance.name_of(folder) for folder in queue.read().queued]


def step(count: int = 0) -> list[str]:
    """Advance once, and wait until what was started holds its folder."""
    begun = advance.advance()
    for each in begun:
        until(lambda each=each: bool(EventReader(each.folder).read_new()))
    return [advance.name_of(each.folder) for each in begun]


def until(wanted: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def end(folder: Path, how: str = "finished") -> None:
    (folder / "end").write_text(how)
    begun = [each for each in queue.read().begun if each.run == str(folder)]
    until(lambda: not lock.is_held(folder) and not any(advance.is_going(each) for each in begun))


def starts(folder: Path) -> int:
    return sum(event.type == "started" for event in EventReader(folder).read_new())


def test_that_runs_are_started_in_their_order_one_at_a_time() -> None:
    first, second, third = (make(name) for name in ("first", "second", "third"))
    for folder in (first, second, third):
        queue.add(folder)
    queue.move(third, 1)
    assert waiting() == ["first", "third", "second"]
    assert step() == ["first"]
    assert step() == [] and waiting() == ["third", "second"]
    end(first)
    assert step() == ["third"]
    queue.remove(second)
    end(third)
    assert step() == [] and waiting() == []
    assert store.state_of(second) == "queued" and starts(first) == starts(third) == 1


def test_that_the_order_can_be_changed_and_survives() -> None:
    names = [make(str(i)) for i in range(4)]
    for folder in names:
        queue.add(folder)
    queue.add(names[0])  # it waits already and keeps its place
    queue.move(names[0], 99)
    queue.add(names[3], first=True)
    assert waiting() == ["3", "1", "2", "0"]
    with pytest.raises(EngineError, match="does not wait"):
        queue.move(make("other"), 0)
    with pytest.raises(EngineError, match="does not wait"):
        queue.remove(make("another"))


def test_that_a_failed_run_does_not_keep_the_next_one_unless_it_shall() -> None:
    for mode in ("continue", "hold"):
        first, second = make(f"first {mode}"), make(f"second {mode}")
        queue.add(first)
        queue.add(second)
        queue.set_on_error(mode)
        assert step() == [f"first {mode}"]
        end(first, "failed")
        if mode == "hold":
            assert step() == []
            assert queue.read().held == "first hold: It failed."
            queue.release()
        assert step() == [f"second {mode}"]
        end(second)


def test_that_a_crash_counts_as_an_error_and_a_stop_does_not() -> None:
    first, second, third = (make(name) for name in ("first", "second", "third"))
    queue.set_on_error("hold")
    for folder in (first, second, third):
        queue.add(folder)
    step()
    end(first, "stopped")
    assert step() == ["second"]
    end(second, "crashed")
    assert step() == [] and queue.read().held.startswith("second: ")


def test_that_a_queue_on_hold_starts_nothing_until_it_is_let_go() -> None:
    queue.add(make("only"))
    queue.hold()
    assert step() == [] and waiting() == ["only"]
    queue.release()
    assert step() == ["only"]


def test_that_a_run_that_goes_on_elsewhere_keeps_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    other, next_one = make("other"), make("next")
    child = process.start(other)
    until(lambda: lock.is_held(other))
    queue.add(next_one)
    assert step() == []
    end(other)
    assert child.wait(10) == 0
    assert step() == ["next"]


def test_that_each_gpu_gets_its_own_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advance, "device_names", lambda: ("0", "1", "2"))
    wide = {"launcher.kind": "torchrun", "launcher.processes": 2}
    try:
        runs = [make("a"), make("b", **wide), make("c"), make("d")]
    except EngineError:
        pytest.fail("launcher.processes is an option of this version")
    for folder in runs:
        queue.add(folder)
    assert step() == ["a", "b"]
    seen = {advance.name_of(f): next(iter(EventReader(f).read_new())).host for f in runs[:2]}
    assert seen == {"a": "0", "b": "1,2"}
    end(runs[0])
    assert step() == ["c"]
    end(runs[1])
    assert step() == ["d"]
    assert advance.occupied(queue.read(), ("0", "1", "2")).keys() == {"0", "1"}


def test_that_the_devices_of_a_run_started_elsewhere_are_what_it_sees(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(advance, "device_names", lambda: ("0", "1"))
    other = make("other")
    process.start(other, environment={"CUDA_VISIBLE_DEVICES": "1"})
    until(lambda: lock.is_held(other))
    queue.add(make("next"))
    assert step() == ["next"]
    assert queue.read().begun[0].devices == ("0",)


def test_that_a_person_may_start_a_run_beside_another() -> None:
    first, second = make("first"), make("second")
    for folder in (first, second):
        queue.add(folder)
    step()
    assert [advance.name_of(s.folder) for s in advance.advance(only=second)] == ["second"]
    assert waiting() == []


def test_that_many_advance_at_once_and_every_run_starts_once() -> None:
    runs = [make(str(i)) for i in range(6)]
    for folder in runs:
        queue.add(folder)
        (folder / "end").write_text("finished")
    errors: list[BaseException] = []

    def push() -> None:
        try:
            while queue.read().queued:
                advance.advance()
        except EngineError as error:
            errors.append(error)

    threads = [threading.Thread(target=push) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    until(lambda: all(store.state_of(folder) == "finished" for folder in runs))
    assert not errors
    assert [starts(folder) for folder in runs] == [1] * 6
    times = [[e.time for e in EventReader(f).read_new()] for f in runs]
    assert all(times[i][-1] <= times[i + 1][0] for i in range(5)), "two ran at once"


def test_that_a_run_cut_off_by_the_computer_goes_on_first(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make("first"), make("second")
    for folder in (first, second):
        queue.add(folder)
    step()
    end(first, "crashed")
    monkeypatch.setattr(psutil, "boot_time", lambda: time.time() + 5)
    (first / "end").unlink()
    assert step() == ["first"] and waiting() == ["second"]


def test_that_a_run_that_cannot_be_started_is_told_and_the_next_one_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = make("first"), make("second")
    (first / "child.log").mkdir()
    for folder in (first, second):
        queue.add(folder)
    assert step() == ["second"]
    assert store.state_of(first) == "failed"


def test_that_finished_and_vanished_runs_leave_the_queue() -> None:
    import shutil

    done, gone, last = make("done"), make("gone"), make("last")
    for folder in (done, gone, last):
        queue.add(folder)
    (done / "exit.json").write_text('{"status": "finished"}')
    shutil.rmtree(gone)
    assert step() == ["last"]


def test_that_a_damaged_file_is_an_empty_queue(home: Path) -> None:
    home.mkdir()
    for text in ("", "[]", '{"queued": 3}', "{", '{"queued": [], "begun": [{}]}'):
        (home / "queue.json").write_text(text)
        assert queue.read() == queue.Queue()
    queue.add(make("new"))
    assert waiting() == ["new"]


def test_that_the_runner_empties_the_queue_and_is_alone() -> None:
    first, second = make("first"), make("second")
    for folder in (first, second):
        queue.add(folder)
        (folder / "end").write_text("finished")
    told: list[str] = []
    with lock.FileLock(
        queue.queue_file().with_name(queue_runner.RUNNER_LOCK), EngineError("taken", "", "RUN-02")
    ):
        assert not queue_runner.ensure_running()
        with pytest.raises(EngineError, match="run already"):
            queue_runner.run_queue()
    queue_runner.run_queue(lambda started: told.append(advance.name_of(started.folder)))
    assert told == ["first", "second"]
    assert [store.state_of(f) for f in (first, second)] == ["finished", "finished"]


def test_that_a_killed_advance_leaves_a_lock_that_is_free(home: Path) -> None:
    home.mkdir(exist_ok=True)
    script = "import time\nfrom engine.runs import queue\n"
    script += "with queue.locked():\n    print('held', flush=True)\n    time.sleep(60)"
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ}, cwd=ROOT
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.wait()
    queue.add(make("next"))
    assert step() == ["next"]
