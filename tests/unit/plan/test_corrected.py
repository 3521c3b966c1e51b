"""The plan put right: by the runs of this machine, in the places where it matters, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.hardware.devices import Gpu, Machine
from engine.plan.corrected import OWN_RUNS, device_label, run_bytes
from engine.plan.ledger import Entry, Ledger
from engine.plan.planner import DataFacts, Plan, plan
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe
from tests.unit.plan.test_planner import llama_7b

GPU = Gpu("RTX 4090", "GPU-1", 24 * 10**9, 24 * 10**9, "560", (8, 9))
MACHINE = Machine("cpu", 8, 16, 64 * 10**9, 60 * 10**9, (GPU,))
DATA = DataFacts(1000, 100, 512, 1024, 512_000, 200_000)
BASE = {"training.per_device_train_batch_size": 1, "training.gradient_checkpointing": "none"}


def planned(ledger: Ledger | None = None, machine: Machine = MACHINE, **changes: Any) -> Plan:
    values = {**BASE, **{name.replace("__", "."): value for name, value in changes.items()}}
    return plan(override(Recipe(), values), llama_7b(), DATA, None, machine, ledger=ledger)


def runs(count: int, memory: float, speed: float, like: Plan, **changes: Any) -> Ledger:
    """Return a ledger of runs that measured so many times what the formula says of a plan."""
    bytes_of_run = run_bytes(like.terms, like.memory_bytes)
    one = like.time_terms["steps"] / (like.tokens or 1)
    made = Entry(
        time=1.0,
        run="r",
        device=device_label(MACHINE),
        method="lora",
        precision=like.precision,
        predicted_memory_bytes=bytes_of_run,
        measured_memory_bytes=bytes_of_run * memory,
        predicted_seconds_per_token=one,
        measured_seconds_per_token=one * speed,
    )
    return Ledger(tuple(replace(made, run=f"r{i}", **changes) for i in range(count)))


def test_that_without_runs_the_formula_stands() -> None:
    for ledger in (None, Ledger()):
        found = planned(ledger)
        assert (found.basis, found.memory_runs, found.time_runs) == ("formula", 0, 0)
        assert found.memory_factor == 1.0


def test_that_memory_terms_bands_and_time_are_corrected_together() -> None:
    raw = planned()
    found = planned(runs(3, 1.1, 2.0, raw))
    libraries = raw.terms["runtime"]
    assert found.basis == OWN_RUNS and (found.memory_runs, found.time_runs) == (3, 3)
    assert found.memory_bytes == pytest.approx(libraries + 1.1 * (raw.memory_bytes - libraries))
    assert found.terms["runtime"] == libraries
    assert found.terms["weights"] == pytest.approx(1.1 * raw.terms["weights"])
    low, high = found.memory_band
    assert low < found.memory_bytes < high
    assert high / low < raw.memory_band[1] / raw.memory_band[0]
    assert found.time_terms["steps"] == pytest.approx(2 * raw.time_terms["steps"])
    assert found.time_terms["start"] == pytest.approx(raw.time_terms["start"])
    assert found.seconds == pytest.approx(sum(found.time_terms.values()))
    assert found.seconds_band is not None and raw.seconds_band is not None
    width = [band[1] / band[0] for band in (found.seconds_band, raw.seconds_band)]
    assert width[0] < width[1]


def test_that_a_verdict_and_its_ways_out_follow_the_correction() -> None:
    raw = planned(data__max_length=512)
    assert raw.verdict == "fits"
    over = GPU.total_bytes * 1.02 / raw.memory_bytes
    found = planned(runs(3, over, 1.0, raw), data__max_length=512)
    assert found.verdict == "too_large" and found.fits is False
    assert found.suggestions
    for each in found.suggestions:
        assert each["fits"] == (each["memory_bytes"] <= GPU.total_bytes)
        assert each["saves_bytes"] == pytest.approx(found.memory_bytes - each["memory_bytes"])


def test_that_checkpointing_comes_by_itself_where_only_the_correction_shows_the_need() -> None:
    auto = {"training__gradient_checkpointing": "auto", "data__max_length": 512}
    raw = planned(**auto)
    assert not raw.gradient_checkpointing
    found = planned(runs(3, GPU.total_bytes * 1.05 / raw.memory_bytes, 1.0, raw), **auto)
    assert found.gradient_checkpointing


def test_that_runs_of_another_machine_or_profile_change_nothing() -> None:
    raw = planned()
    book = runs(3, 1.3, 3.0, raw)
    other = Machine("cpu", 8, 16, 64 * 10**9, 60 * 10**9, (replace(GPU, name="RTX 3060"),))
    assert planned(book, other).basis == "formula"
    values = override(Recipe(), BASE)
    peft = plan(values, llama_7b(), DATA, None, MACHINE, profile="peft", ledger=book)
    assert peft.basis == "formula"


def test_that_time_has_its_parts_and_more_of_anything_takes_longer() -> None:
    found = planned()
    assert list(found.time_terms) == ["start", "steps", "evaluations", "samples", "saves"]
    assert all(seconds > 0 for seconds in found.time_terms.values())
    often = planned(evaluation__eval_steps=1)
    assert often.time_terms["evaluations"] > found.time_terms["evaluations"]
    assert often.time_terms["samples"] > found.time_terms["samples"]
    twice = planned(training__gradient_checkpointing="all")
    assert twice.time_terms["steps"] == pytest.approx(1.5 * found.time_terms["steps"], rel=0.05)
    longer = planned(training__num_train_epochs=2)
    assert longer.time_terms["steps"] == pytest.approx(2 * found.time_terms["steps"], rel=0.01)
