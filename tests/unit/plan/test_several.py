"""What several processes change in a plan."""

from __future__ import annotations

from typing import Any

import pytest

from engine.hardware.devices import Machine
from engine.plan.planner import Plan, plan
from tests.unit.plan.test_planner import CPU_ONLY, DATA, GPU, llama_7b, recipe

FOUR_GPUS = Machine("cpu", 32, 64, 256 * 10**9, 250 * 10**9, (GPU,) * 4)
FSDP = {"launcher__strategy": "fsdp", "training__on_out_of_memory": "fail"}


def planned(machine: Machine = FOUR_GPUS, **changes: Any) -> Plan:
    return plan(recipe(**changes), llama_7b(), DATA, machine=machine)


def test_that_processes_over_all_gpus_take_their_share_of_the_time_and_of_the_steps() -> None:
    one, four = planned(), planned(launcher__processes=4)
    assert one.seconds is not None and four.seconds is not None
    assert 0.25 < four.seconds / one.seconds < 0.35
    assert one.steps is not None and four.steps == -(-one.steps // 4)
    assert four.memory_bytes == one.memory_bytes


def test_that_weights_shared_out_let_a_model_fit_that_fits_no_gpu() -> None:
    full = {"adapter__method": "full", "training__learning_rate": 1e-5}
    alone = planned(launcher__processes=4, **full)
    shared = planned(launcher__processes=4, **FSDP, **full)
    assert alone.verdict == "too_large"
    for name in ("weights", "gradients", "optimizer"):
        assert shared.terms[name] == pytest.approx(alone.terms[name] / 4)
    gathered = shared.terms["workspace"] - alone.terms["workspace"]
    assert 0.02 < gathered / alone.terms["weights"] < 0.15  # two of 32 layers, embedding and head
    assert shared.memory_bytes < 0.5 * alone.memory_bytes


def test_that_processes_without_gpus_share_processor_and_memory() -> None:
    one, two = planned(CPU_ONLY), planned(CPU_ONLY, launcher__processes=2)
    assert two.seconds == pytest.approx(one.seconds, rel=0.05)
    assert two.device_memory_bytes == CPU_ONLY.ram_total_bytes / 2
