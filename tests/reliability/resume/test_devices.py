"""Before a start: whether torch and driver fit the GPU, who uses it; no two trainings share it unasked."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine.errors import EngineError
from engine.hardware import torch_build
from engine.hardware.devices import Gpu, Machine
from engine.hardware.gpu_users import User
from engine.hardware.torch_build import TorchBuild
from engine.jobs import gpu_lock, lock, process
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import advance, queue, start_gate, store
from engine.runs.event_log import EventReader
from engine.verbs import starts

STAND_IN = Path(__file__).parents[2] / "data" / "stand_in_child.py"
ROOT = Path(__file__).parents[3]
GB = 1_000_000_000


def gpu(driver: str = "570.124", capability: tuple[int, int] = (9, 0), free: int = 79 * GB) -> Gpu:
    return Gpu("H100", "GPU-fake-1", 80 * GB, free, driver, capability)


def machine(*gpus: Gpu) -> Machine:
    return Machine("cpu", 2, 4, 8 * GB, 6 * GB, gpus)


# -- F25 ----------------------------------------------------------------------------------------------
CASES = {
    "all fits": (machine(gpu()), TorchBuild("2.13.0+cu128", "12.8"), "", ""),
    "no GPU": (machine(), TorchBuild("2.13.0+cpu"), None, ""),
    "torch without CUDA": (
        machine(gpu()),
        TorchBuild("2.13.0+cpu"),
        "torch 2.13.0+cpu has no GPU support; a build with CUDA is needed.",
        "Run `python3 launch.py --setup`",
    ),
    "driver too old": (
        machine(gpu("470.42")),
        TorchBuild("2.13.0+cu128", "12.8"),
        "Driver 470.42 is too old; 525.60 or newer for CUDA 12.8 is needed.",
        "Update the driver",
    ),
    "driver too old for CUDA 13": (
        machine(gpu("570.124")),
        TorchBuild("2.13.0", "13.0"),
        "Driver 570.124 is too old; 580 or newer for CUDA 13.0 is needed.",
        "Update the driver",
    ),
    "card too old": (
        machine(gpu("580.1", (6, 1))),
        TorchBuild("2.13.0", "13.0"),
        "H100 has compute capability 6.1; 7.5 to 12.9 for torch 2.13.0 with CUDA 13.0 is needed.",
        "built with an older CUDA",
    ),
    "card too new": (
        machine(gpu("580.1", (12, 0))),
        TorchBuild("2.10.0", "12.6"),
        "H100 has compute capability 12.0; 5.0 to 9.9 for torch 2.10.0 with CUDA 12.6 is needed.",
        "Install a newer torch",
    ),
    "a second card will do": (
        machine(gpu("580.1", (6, 1)), gpu("580.1", (8, 6))),
        TorchBuild("2.13.0", "13.0"),
        "",
        "",
    ),
    "driver is silent": (
        machine(),
        TorchBuild("2.13.0+cu128", "12.8"),
        "The driver of the GPU does not answer; driver 525.60 or newer for CUDA 12.8 is needed.",
        "restart the driver",
    ),
    "a ROCm build": (machine(), TorchBuild("2.13.0+rocm6.4", "", "6.4"), "", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_f25_gpu_03_says_what_was_found_and_what_is_needed(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, build, message, hint = CASES[case]
    monkeypatch.setattr(torch_build, "driver_found", lambda: "")
    error = torch_build.problem_of(here, build, present=message is not None, cpu_time=lambda: "about 3 hours")
    if not message:
        assert error is None
        return
    assert error is not None and error.code == "GPU-03"
    assert error.message == message
    assert hint in error.hint and error.hint.endswith(", or train on the CPU (about 3 hours).")


def test_f25_that_the_way_on_is_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_build, "installed", lambda: TorchBuild("2.13.0+cu128", "12.8"))
    start = start_gate.examine(machine=machine(gpu("470.42")))
    with pytest.raises(EngineError, match=r"--anyway: train on the CPU.*GPU-03"):
        start_gate.let_through(start)
    assert start_gate.let_through(start, anyway=True) == {"CUDA_VISIBLE_DEVICES": ""}


def test_f25_that_the_build_is_read_without_importing_torch() -> None:
    code = (
        "import sys; from engine.hardware import torch_build; build = torch_build.installed();"
        "from importlib.metadata import version; assert build.version == version('torch'), build;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_f25_that_the_time_on_the_processor_is_that_of_the_plan(tiny_model: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "What does the cat say?", "completion": "Meow."}\n' * 20)
    options = {"model.path": str(tiny_model), "data.train": [str(rows)]}
    recipe = codec.override(Recipe(), options)
    assert starts.time_on_cpu(recipe).startswith("about ")
    assert starts.time_on_cpu(codec.override(recipe, {"model.path": str(tmp_path / "none")})) == ""
    said = [starts.in_words(s) for s in (5, 100, 5000, 9000, 1e6)]
    assert said == ["a minute", "2 minutes", "83 minutes", "2 hours", "12 days"]


# -- F26 ----------------------------------------------------------------------------------------------
GAME = User(77, "game", 30 * GB)


@pytest.mark.parametrize(
    ("free", "need", "users", "told"),
    [
        (70, 60, [GAME], None),
        (50, 60, [GAME], "game uses 30.0 GB of the GPU memory; 50.0 GB are free, 60.0 GB needed."),
        (50, 60, [], "Another program uses 30.0 GB of the GPU memory; 50.0 GB are free, 60.0 GB needed."),
        (50, None, [GAME], "game uses 30.0 GB of the GPU memory; 50.0 GB are free."),
        (79, None, [GAME], None),  # a desktop's own memory is no matter
        (50, 90, [GAME], None),  # it is too large for the card itself
    ],
)
def test_f26_gpu_04_names_the_program_that_holds_the_memory(
    free: int, need: int | None, users: list[User], told: str | None
) -> None:
    wanted = None if need is None else float(need * GB)
    found = start_gate.of_memory([gpu(free=free * GB)], wanted, lambda uuid: users)
    assert [each.message for each in found] == ([] if told is None else [told])
    assert all(each.code == "GPU-04" and each.severity == "warning" for each in found)
    assert all("Close it, wait in the queue, or start anyway." in each.hint for each in found)


# -- F27 ----------------------------------------------------------------------------------------------
@pytest.fixture
def one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Children without torch on a machine that seems to have one GPU."""
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(process, "_PASSED", process._PASSED | {"PYTHONPATH"})
    monkeypatch.setattr(process, "child_command", lambda words: [sys.executable, str(STAND_IN), *words])
    monkeypatch.setattr(advance, "device_names", lambda: ("0",))
    monkeypatch.setattr(advance, "device_uuids", lambda: {"0": "GPU-fake-1"})
    yield
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if str(STAND_IN) in " ".join(child.cmdline()):
                child.kill()


def make(name: str, home: Path | None = None) -> Path:
    options = {"name": name, "data.train": ["rows.jsonl"]}
    place = None if home is None else home / name
    return store.create_run(codec.override(Recipe(), options), place).resolve()


def until(wanted: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def started(folder: Path) -> bool:
    return bool(EventReader(folder).read_new())


def test_f27_that_a_second_training_waits_for_the_gpu_whatever_home_the_first_is_of(
    one_gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make("first", tmp_path / "elsewhere"), make("second")
    process.start(first, environment=advance.environment_of(("0",)))  # of no queue and no home here
    until(lambda: started(first))
    assert gpu_lock.holder("GPU-fake-1") == first
    queue.add(second)
    assert advance.advance() == [] and queue.read().queued == (second,)

    monkeypatch.setattr(torch_build, "problem_of", lambda *_, **__: None)
    start = start_gate.examine(machine=machine(gpu()))
    (one,) = start.findings
    assert (one.code, one.severity, one.way_on) == ("GPU-04", "error", "Start beside it")
    assert one.message == "first uses the GPU." and "queue" in one.hint
    with pytest.raises(EngineError, match="GPU-04"):
        start_gate.let_through(start)
    assert start_gate.let_through(start, anyway=True)[gpu_lock.BESIDE] == "1"

    assert [s.folder for s in advance.advance(only=second)] == [second]  # a person chose to
    until(lambda: started(second))
    (first / "end").write_text("finished")
    (second / "end").write_text("finished")
    until(lambda: not lock.is_held(first) and not lock.is_held(second))
    assert not gpu_lock.is_held("GPU-fake-1")
    until(lambda: start_gate.examine(machine=machine(gpu())).findings == ())


def test_f27_that_of_two_started_at_once_one_gets_the_gpu(one_gpu: None) -> None:
    runs = [make(name) for name in ("a", "b")]
    children = [process.start(run, environment=advance.environment_of(("0",))) for run in runs]
    until(lambda: any(child.poll() is not None for child in children))
    assert sorted(started(run) for run in runs) == [False, True]
    refused = next(run for run in runs if not started(run))
    assert "GPU-04" in process.last_words(refused) and "uses this GPU" in process.last_words(refused)


def test_f27_that_a_gpu_is_free_again_once_its_training_was_killed(
    one_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make("a")
    child = process.start(run, environment=advance.environment_of(("0",)))
    until(lambda: started(run))
    assert gpu_lock.is_held("GPU-fake-1")
    child.kill()
    child.wait(10)
    assert not gpu_lock.is_held("GPU-fake-1")
    monkeypatch.setenv(gpu_lock.GIVEN, "GPU-fake-1,GPU-fake-2")
    with gpu_lock.held(run, 2) as mine:
        assert list(mine) == ["GPU-fake-1", "GPU-fake-2"]
        assert os.stat(gpu_lock.folder()).st_mode & 0o077 == 0


# -- in the window ------------------------------------------------------------------------------------------
def test_f25_f26_f27_that_review_and_home_say_the_same_as_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app import readiness
    from app.pages.wizard import review_device
    from app.pages.wizard.review_check import INFO, WARN

    def said(here: Machine, build: TorchBuild) -> list[tuple[str, str]]:
        monkeypatch.setattr(review_device, "probe", lambda: here)
        for module in (torch_build, readiness):
            monkeypatch.setattr(module, "installed", lambda: build)
        checks = review_device.device_checks(Recipe(), None, None, None, here)
        return [(check.state, check.title) for check in checks]

    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    fits = TorchBuild("2.13.0+cu128", "12.8")
    old = "Driver 470.42 is too old; 525.60 or newer for CUDA 12.8 is needed."
    assert said(machine(gpu("470.42")), fits) == [(WARN, old)]
    line = readiness._device(machine(gpu("470.42")))
    assert line.title == "GPU not usable" and line.detail.startswith(old) and line.repair == "driver"

    monkeypatch.setattr(advance, "device_names", lambda: ("0",))
    monkeypatch.setattr(advance, "device_uuids", lambda: {"0": "GPU-fake-1"})
    assert said(machine(gpu()), fits) == []
    assert readiness._device(machine(gpu())).title == "H100, driver 570.124"
    ((state, title),) = said(machine(gpu(free=50 * GB)), fits)
    assert state == WARN and title.endswith("uses 30.0 GB of the GPU memory; 50.0 GB are free.")
    monkeypatch.setenv(gpu_lock.GIVEN, "GPU-fake-1")
    with gpu_lock.held(tmp_path / "night-run", 1):
        assert said(machine(gpu()), fits) == [(INFO, "night-run uses the GPU.")]
