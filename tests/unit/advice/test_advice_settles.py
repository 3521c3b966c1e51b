"""Advice that is followed comes to an end, and no rule takes back what another one advised."""

from __future__ import annotations

from typing import Any

import pytest

from engine.advice.advise import advise, apply, apply_all
from engine.advice.situation import Situation
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe
from tests.unit.advice.random_situations import random_situation
from tests.unit.advice.situations import situation

RECIPES, ROUNDS, EACH = 500, 5, 50
# What is decided together: an alpha means something beside its rank, a rate beside its optimizer.
TOGETHER = (
    {"adapter.r", "adapter.lora_alpha", "adapter.use_rslora"},
    {"training.per_device_train_batch_size", "training.gradient_accumulation_steps"},
    {"training.optim", "training.learning_rate"},
)


def value(recipe: Recipe, path: str) -> str:
    """Return what a recipe holds at a dotted path, ready to be compared."""
    section, name = path.split(".")
    return repr(getattr(getattr(recipe, section), name))


def decided(recipe: Recipe, fix: Any) -> dict[str, str]:
    """Return the values of all that a fix decides on."""
    paths = set(fix).union(*(group for group in TOGETHER if group & set(fix)))
    return {path: value(recipe, path) for path in paths}


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, RECIPES, EACH))
def test_that_following_all_advice_ends_within_five_rounds_and_undoes_nothing(first: int) -> None:
    for number in range(first, first + EACH):
        now, before = random_situation(number), []
        for _ in range(ROUNDS):
            findings = advise(now)
            after, taken = apply_all(now)
            if not taken:
                break
            followed = [f for f in findings if f.fix and all(taken.get(p, p) == v for p, v in f.fix.items())]
            for rule, old in before:
                new = {path: value(after.recipe, path) for path in old}
                assert new != old, f"recipe {number}: {[f.rule for f in followed]} undo {rule}: {old}"
            before += [
                (finding.rule, old)
                for finding in followed
                if (old := decided(now.recipe, finding.fix)) != decided(after.recipe, finding.fix)
            ]
            now = after
        left = [finding for finding in advise(now) if finding.fix]
        assert not left, f"recipe {number} is not settled: {left}"


def test_that_a_random_fix_can_always_be_had() -> None:
    for number in range(1000, 1060):
        now = random_situation(number)
        for finding in advise(now):
            assert override(now.recipe, dict(finding.fix)) == apply(now.recipe, finding)


def test_that_the_same_situation_is_advised_alike() -> None:
    assert advise(random_situation(7)) == advise(random_situation(7))


def test_that_what_fits_alone_is_not_advised_beside_what_it_does_not_fit_with() -> None:
    asked = {
        "adapter.target_modules": ["q_proj"],
        "model.load_in_4bit": True,
        "training.gradient_checkpointing": "all",
        "training.per_device_train_batch_size": 1,
    }
    for gigabytes in range(14, 40):
        now: Situation = situation(asked, gigabytes=gigabytes)
        after, _ = apply_all(now)
        assert after.plan is not None and after.plan.fits, gigabytes
