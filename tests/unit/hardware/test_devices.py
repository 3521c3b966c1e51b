"""What is said of this machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from engine import doctor
from engine.hardware.devices import Gpu, Machine, probe, visible_indices
from engine.hardware.monitor import sample


def test_that_the_machine_has_cores_and_memory() -> None:
    machine = probe()
    assert machine.cores >= 1
    assert 0 < machine.ram_free_bytes <= machine.ram_total_bytes
    assert machine.summary


def test_that_a_sample_has_the_fields_of_the_hardware_event() -> None:
    found = sample().as_dict()
    assert set(found) == {"devices", "cpu_percent", "ram_used_bytes", "process_bytes"}
    assert found["process_bytes"] > 10_000_000


@pytest.mark.parametrize(
    ("value", "indices"), [("", []), ("1", [1]), ("2,0", [2, 0]), ("7", []), ("0,-1,1", [0])]
)
def test_that_only_the_visible_gpus_count(
    monkeypatch: pytest.MonkeyPatch, value: str, indices: list[int]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_indices(3) == indices


def test_that_the_memory_of_other_ranks_is_told_with_that_of_the_first() -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", "held = bytearray(60_000_000); print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    other.stdout.readline()
    both = sample(os.getpid(), (other.pid,)).process_bytes
    assert both - sample(os.getpid()).process_bytes > 50_000_000
    other.kill()
    other.wait()
    assert sample(os.getpid(), (other.pid,)).process_bytes > 0  # one that is gone counts nothing


@pytest.mark.parametrize("gpus", [0, 1, 2])
def test_that_the_doctor_offers_all_gpus_where_there_are_several(
    monkeypatch: pytest.MonkeyPatch, gpus: int
) -> None:
    gpu = Gpu("RTX 4090", "GPU-1", 24 * 10**9, 24 * 10**9, "560", (8, 9))
    machine = Machine("cpu", 8, 16, 64 * 10**9, 60 * 10**9, (gpu,) * gpus)
    monkeypatch.setattr(doctor, "probe", lambda: machine)
    offers = [c["detail"] for c in doctor.examine()["checks"] if c["name"] == "several GPUs"]
    assert len(offers) == (gpus > 1)
    assert all("launcher.processes=2" in offer for offer in offers)
