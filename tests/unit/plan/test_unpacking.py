"""A quantised base costs time for each pass of each micro-batch, however many tokens that has."""

from __future__ import annotations

from typing import Any

import pytest

from engine.hardware.devices import Gpu, Machine
from engine.plan.planner import DataFacts, plan
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe
from tests.bench.plan_rows import facts_of

A100 = Gpu("NVIDIA A100-SXM4-40GB", "", 40 * 10**9, 40 * 10**9, "", (8, 0))
ON_GPU = Machine("a processor", 16, 32, 10**11, 10**11, (A100,))
ON_CPU = Machine("a processor", 2, 2, 10**11, 10**11, ())
DATA = DataFacts(10_000, 0, 400, 400, 4_000_000, 4_000_000)
FOUR, EIGHT = {"model.load_in_4bit": True}, {"model.load_in_8bit": True}


def seconds(machine: Machine = ON_GPU, **options: Any) -> float:
    recipe = override(Recipe(), {"training.gradient_checkpointing": "none", **options})
    found = plan(recipe, facts_of("Llama-2-7B"), DATA, 1e12, machine)
    return found.time_terms["steps"]


@pytest.mark.parametrize("machine", [ON_GPU, ON_CPU])
@pytest.mark.parametrize("packed", [FOUR, EIGHT])
def test_that_a_quantised_base_takes_longer(machine: Machine, packed: dict[str, Any]) -> None:
    assert seconds(machine, **packed) > seconds(machine)


def test_that_larger_micro_batches_share_the_unpacking() -> None:
    def more(batch: int) -> float:
        size = {"training.per_device_train_batch_size": batch}
        return seconds(**FOUR, **size) - seconds(**size)

    assert more(4) == pytest.approx(more(1) / 4, rel=1e-6)


def test_that_computing_layers_twice_unpacks_once_more() -> None:
    twice = {"training.gradient_checkpointing": "all"}
    more, again = seconds(**FOUR) - seconds(), seconds(**FOUR, **twice) - seconds(**twice)
    assert again == pytest.approx(1.5 * more, rel=1e-6)


def test_that_unpacking_a_7b_base_takes_what_was_published() -> None:
    """LitGPT's tables: 79 ms more for one example of a 7B model on an A100; the article's hours: 68 ms."""
    each = {"training.per_device_train_batch_size": 1}
    more = (seconds(**FOUR, **each) - seconds(**each)) / DATA.train_examples
    assert 0.060 < more < 0.085
