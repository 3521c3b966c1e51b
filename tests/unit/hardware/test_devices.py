"""What is said of this machine."""

from __future__ import annotations

import pytest

from engine.hardware.devices import probe, visible_indices
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
