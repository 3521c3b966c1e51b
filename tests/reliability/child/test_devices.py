"""Devices that are too small, gone, or compute something else: what is said, and what is still there."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import faults
from engine.errors import EngineError
from engine.jobs import process
from engine.models.library import resolve_model
from engine.recipe.recipe import ModelOptions
from engine.runs import check
from engine.runtime import child, evaluate, load, lost, no_memory, quantised, train
from engine.runtime.load import Compute
from tests.integration.conftest import MakeRun, MakeTraining, events_of, losses

CPU = Compute(torch.device("cpu"), torch.float32)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Return a function that does in this process what a child does with a folder."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(os, "nice", lambda by: by)
    monkeypatch.setattr(evaluate, "SAMPLE_TOKENS", 8)
    yield child.run_job
    for number, handler in before.items():
        signal.signal(number, handler)


def exit_of(folder: Path) -> dict[str, Any]:
    note: dict[str, Any] = json.loads((folder / "exit.json").read_bytes())
    return note


# -- F24, and F20 on the way -------------------------------------------------------------------------------
def test_f24_f20_that_a_lost_gpu_ends_the_attempt_in_words_and_a_resume_goes_on(
    make_run: MakeRun, work: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"training__max_steps": 6, "checkpoint__save_steps": 2, "data__validation_split": 0.0}
    folder, whole = make_run(**options), make_run(**options)
    process.send(folder, "stop")  # left for a child that is gone: none of ours
    with faults.arm("device:device-lost@4"):
        assert work(folder) == 1
    note = exit_of(folder)
    assert (note["code"], note["message"]) == ("GPU-02", "The GPU stopped answering at step 3.")
    assert note["hint"] == "Restart the computer if it happens again; resume from step 2."
    assert check.step_of(check.last_checkpoint(folder)[0] or folder) == 2
    armed = events_of(folder)[0]
    assert armed.type == "faults_armed" and armed.faults == "device:device-lost@4..4"
    assert work(folder) == 0 and work(whole) == 0
    assert losses(folder) == losses(whole)
    result = "adapter/adapter_model.safetensors"
    assert (folder / result).read_bytes() == (whole / result).read_bytes()


def test_f24_that_the_process_itself_ends_with_its_device(
    make_run: MakeRun, work: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    def gone(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(child.os, "_exit", gone)
    folder = make_run(training__max_steps=2, data__validation_split=0.0)
    collector = child.imports.hold_collector
    monkeypatch.setattr(child.imports, "hold_collector", lambda alone: collector(False))
    with faults.arm("device:device-lost"), pytest.raises(Ended):
        work(folder, alone=True)
    note = exit_of(folder)
    assert note["code"] == "GPU-02" and "nothing was saved yet" in note["hint"]


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (torch.AcceleratorError("CUDA error: unknown error"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (RuntimeError("CUDA error: out of memory"), False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_f24_that_a_lost_device_is_told_from_other_errors(error: Exception, gone: bool) -> None:
    assert lost.is_lost(error) == gone


# -- F21, F22 ----------------------------------------------------------------------------------------------
def test_f21_f22_that_armed_memory_faults_take_the_ways_of_real_ones(make_training: MakeTraining) -> None:
    run = make_training()
    with faults.arm("step:oom@2;evaluate:oom@1"):
        for _ in range(3):
            train.take_step(run)
        assert evaluate.validation_loss(run) is not None
    assert (run.parts, run.evaluation_parts) == (2, 2)
    told = [e.message for e in events_of(run.job.folder) if e.type == "warned" and e.code == "GPU-01"]
    assert told == [
        "Memory ran out at step 2.",
        "Memory ran out at step 3, while measuring on validation.",
    ]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"),
        MemoryError(),
    ],
    ids=["gpu", "processor", "python"],
)
def test_f22_that_a_base_without_room_names_what_it_needs_and_what_is_free(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(load, "load_causal", full)
    with pytest.raises(EngineError) as told:
        load.load_base(resolve_model(str(tiny_model)), ModelOptions(path=str(tiny_model)), CPU)
    assert told.value.code == "GPU-01" and "4 bits" in told.value.hint
    assert "about 0." in told.value.message or "MB needed" in told.value.message
    assert "GB free" in told.value.message


# -- F30 ---------------------------------------------------------------------------------------------------
def packed(tiny_model: Path) -> Any:
    options = ModelOptions(path=str(tiny_model), load_in_4bit=True)
    return load.load_base(resolve_model(str(tiny_model)), options, CPU)


def test_f30_that_a_4_bit_base_is_proven_at_the_start_and_a_wrong_one_is_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitsandbytes.nn import Linear4bit
    from bitsandbytes.nn import modules as theirs

    model = packed(tiny_model)
    layer = next(m for m in model.modules() if isinstance(m, Linear4bit))
    assert quantised.gradient_error(layer) < 1e-3
    monkeypatch.setattr(quantised, "keep_gradients_right", lambda model: None)
    if theirs.has_avx512bf16():
        with pytest.raises(EngineError) as told:
            packed(tiny_model)
    else:  # a processor that never repacks: a layer that answers as another one would
        real = Linear4bit.forward
        monkeypatch.setattr(Linear4bit, "forward", lambda self, x: real(self, x) * 0.9)
        with pytest.raises(EngineError) as told:
            packed(tiny_model)
    assert told.value.code == "MODEL-05" and told.value.field == "model.load_in_4bit"


# -- F23 ---------------------------------------------------------------------------------------------------
def test_f23_that_a_limit_too_small_for_the_libraries_is_told_with_both_numbers(make_run: MakeRun) -> None:
    folder = make_run()
    limited = (
        "import resource, sys\nfrom engine.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-I", "-c", limited, "job", str(folder)]
    assert subprocess.run(command, env=process.child_environment(), capture_output=True).returncode == 1
    failed = events_of(folder)[-1]
    assert (failed.type, failed.code) == ("failed", "GPU-01")
    assert "1,024 MiB needed" in failed.message and "900 MiB" in failed.message and "ulimit" in failed.hint


@pytest.mark.parametrize(
    ("error", "lack"),
    [
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (MemoryError(), True),
        (OSError(errno.EIO, "not enough memory"), False),
        (ImportError("no module named torch"), False),
    ],
)
def test_f23_that_memory_that_runs_out_before_any_tensor_is_told_as_such(
    error: Exception, lack: bool
) -> None:
    assert no_memory.is_lack(error) == lack
    assert no_memory.failed(error).code == "GPU-01"


def test_f23_that_a_thread_without_room_is_a_lack_where_memory_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = RuntimeError("can't start new thread")
    for limit, lack in ((None, False), (1 << 30, True)):
        monkeypatch.setattr(no_memory, "_limit_bytes", lambda limit=limit: limit)
        assert no_memory.is_lack(error) == lack
