"""The queue with real windows that are killed, and real runs: nothing is lost and nothing starts twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine.jobs import lock, process
from engine.recipe import codec
from engine.runs import queue, store
from engine.runs.event_log import EventReader
from tests.gui.monitor_runs import tiny_recipe

pytestmark = pytest.mark.slow
PATIENCE = 900.0
# The window a person has, with three presses of Start training.
WINDOW = """
import sys
from pathlib import Path
from app.application import make_application, make_window, parse, run
from engine.recipe import codec
options = parse(["--page", "runs"])
app = make_application()
window = make_window(app, options)
for file in sys.argv[1:]:
    window.services.run_queue.submit(codec.load(Path(file)))
window.show()
sys.exit(run(app, window))
"""


@pytest.fixture(autouse=True)
def home(home: Path) -> Iterator[Path]:
    yield home
    for pid in runners(home):
        os.kill(pid, signal.SIGKILL)
    for folder in (home / "runs").glob("*"):
        process.kill(folder)


@pytest.fixture
def open_window() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that opens a window; with recipes it starts a run of each."""
    opened = []

    def begin(*recipes: Path) -> subprocess.Popen[bytes]:
        words = ["-c", WINDOW, *map(str, recipes)] if recipes else ["-m", "app"]
        environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
        root = Path(__file__).parents[2]
        opened.append(subprocess.Popen([sys.executable, *words], env=environment, cwd=root))
        return opened[-1]

    yield begin
    for window in opened:
        window.kill()
        window.wait()


@pytest.fixture
def three(tiny_model: Path, tmp_path: Path) -> list[Path]:
    """Return three recipes, the second of a model whose weights are cut off."""
    broken = tmp_path / "broken-model"
    shutil.copytree(tiny_model, broken)
    weights = next(broken.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    made = []
    for name, model, steps in (("first", tiny_model, 40), ("second", broken, 4), ("third", tiny_model, 4)):
        recipe = tiny_recipe(model, tmp_path, name=name, training__max_steps=steps)
        made.append(tmp_path / f"{name}.yaml")
        made[-1].write_text(codec.dumps(recipe))
    return made


def runners(home: Path) -> list[int]:
    """Return the processes that advance the queue of this home."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "queue-runner" in each.cmdline() and each.environ().get("TUNESMITH_HOME") == str(home):
                found.append(each.pid)
    return found


def folders() -> dict[str, Path]:
    return {run.name: run.folder for run in store.list_runs()}


def states() -> dict[str, str]:
    return {run.name: run.state for run in store.list_runs()}


def steps(name: str) -> int:
    return store.summary(folders()[name]).step if name in folders() else 0


def until(wanted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not wanted():
        assert time.monotonic() < deadline, states()
        time.sleep(0.2)


def events(name: str) -> list[object]:
    return EventReader(folders()[name]).read_new()


def check_that_all_is_well() -> None:
    assert states() == {"first": "finished", "second": "failed", "third": "finished"}
    told = {name: events(name) for name in ("first", "second", "third")}
    assert all(sum(e.type == "started" for e in each) == 1 for each in told.values())
    assert [e.step for e in told["first"] if e.type == "step"] == list(range(1, 41))
    assert told["first"][-1].time <= told["second"][0].time
    assert told["second"][-1].time <= told["third"][0].time
    assert not queue.read().queued


def test_f05_that_a_queue_outlives_a_killed_window_and_goes_on_in_the_next_one(
    home: Path, open_window: Callable[..., subprocess.Popen[bytes]], three: list[Path]
) -> None:
    window = open_window(*three)
    until(lambda: steps("first") >= 3)
    until(lambda: bool(runners(home)))
    window.send_signal(signal.SIGKILL)
    for pid in runners(home):  # also what would advance the queue without a window
        os.kill(pid, signal.SIGKILL)
    window.wait()
    assert lock.is_held(folders()["first"])
    assert [folder.name[:5] for folder in queue.read().queued] == ["secon", "third"]
    open_window()
    open_window()  # two at once: nothing is started twice
    until(lambda: states().get("third") == "finished")
    check_that_all_is_well()


def test_that_a_queue_comes_to_its_end_when_the_window_is_never_opened_again(
    home: Path, open_window: Callable[..., subprocess.Popen[bytes]], three: list[Path]
) -> None:
    window = open_window(*three)
    until(lambda: steps("first") >= 3)
    until(lambda: bool(runners(home)))
    window.send_signal(signal.SIGKILL)
    window.wait()
    until(lambda: states().get("third") == "finished")
    check_that_all_is_well()
    until(lambda: not runners(home))  # with nothing to do it does not stay
