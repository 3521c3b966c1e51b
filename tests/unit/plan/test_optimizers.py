"""What the plan says of an optimizer's state is what the optimizer holds and a checkpoint writes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from engine.plan import changes, planner
from engine.plan.optimizers import PAGED, state_bytes
from engine.recipe.codec import override
from engine.recipe.combinations import clashes
from engine.recipe.fields import field_spec
from engine.recipe.recipe import Recipe
from engine.runtime import optim
from engine.runtime.optimizer_state import optimizer_tensors
from tests.unit.plan.test_planner import DATA, WITH_GPU, llama_7b

NAMES = [name for name in field_spec("training.optim").choices if name not in PAGED]


def pair() -> nn.Module:
    """A and B of rank 16 on a layer of 4096 to 4096."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("lora_A", nn.Linear(4096, 16, bias=False))
    model.add_module("lora_B", nn.Linear(16, 4096, bias=False))
    return model


@pytest.mark.parametrize(
    ("name", "more"), [*[(name, {}) for name in NAMES], ("sgd", {"training.momentum": 0.0})]
)
def test_that_state_takes_the_bytes_the_plan_says(name: str, more: dict[str, Any]) -> None:
    recipe = override(Recipe(), {"training.optim": name, "adapter.r": 16, **more})
    model = pair()
    optimizer = optim.make_optimizer(model, recipe.training)
    model(torch.randn(2, 4096)).sum().backward()
    optimizer.step()
    kept = optimizer_tensors(optimizer, optim.names_of(optimizer, model))
    held = sum(t.numel() * t.element_size() for t in kept.values())
    trained = sum(p.numel() for p in model.parameters())
    assert state_bytes(recipe, trained) == pytest.approx(held, rel=0.01, abs=64)


@pytest.mark.parametrize(
    ("method", "field", "value", "refused"),
    [
        ("lora", "training.loraplus_lr_ratio", 16.0, False),
        ("adalora", "training.loraplus_lr_ratio", 16.0, False),
        ("full", "training.loraplus_lr_ratio", 16.0, True),
        ("ia3", "training.loraplus_lr_ratio", 16.0, True),
        ("full", "training.optim", "muon", False),
        ("lora", "training.optim", "muon", False),
        ("ia3", "training.optim", "muon", True),
        ("vera", "training.optim", "muon", True),
        ("oft", "training.optim", "muon", True),
    ],
)
def test_that_what_has_nothing_to_work_on_is_refused_by_name(
    method: str, field: str, value: Any, refused: bool
) -> None:
    section, name = field.split(".")
    plain = Recipe()
    tree = {
        "adapter": plain.adapter.model_copy(update={"method": method}),
        section: getattr(plain, section).model_copy(update={name: value}),
    }
    found = [clash for clash in clashes(plain.model_copy(update=tree)) if clash.field == field]
    assert bool(found) is refused
    assert all(clash.hint for clash in found)


@pytest.mark.parametrize("installed", [True, False])
def test_that_8_bit_averages_are_advised_where_memory_is_short(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "runs_here", lambda name: installed)
    asked = override(Recipe(), {"adapter.method": "full", "training.per_device_train_batch_size": 1})
    found = planner.plan(asked, llama_7b(), DATA, None, WITH_GPU)
    change = [each for each in found.suggestions if each["set"] == {"training.optim": "adamw_8bit"}]
    assert bool(change) is installed
    for each in change:
        assert found.memory_bytes - each["memory_bytes"] == pytest.approx(1.03 * 5.97 * 6.74e9, rel=0.01)
