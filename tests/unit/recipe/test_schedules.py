"""Learning rates as closed forms: those of transformers' and torch's schedulers at every step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import get_scheduler

from engine.recipe.fields import field_spec
from engine.recipe.schedules import (
    SHAPE_FIELDS,
    corners,
    decay_of,
    learning_rate_at,
    steps_of,
    warmup_of,
)
from engine.recipe.training_options import TrainingOptions

RATE = 3e-4
TOTALS = (1, 2, 7, 40, 333)
WARMUPS = (0, 0.03, 0.1, 1, 7, 1000)
KINDS = field_spec("training.lr_scheduler_type").choices


def rates(options: TrainingOptions, total: int) -> list[float]:
    return [learning_rate_at(step, total, options) for step in range(1, total + 1)]


def theirs(scheduler: Any, total: int) -> list[float]:
    found = []
    for _ in range(total):
        found.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        if len(found) < total:
            scheduler.step()
    return found


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)


def arguments(options: TrainingOptions, total: int) -> dict[str, Any]:
    """Return what transformers' scheduler of the same name is to be told."""
    least = options.min_lr_ratio
    by_kind: dict[str, dict[str, Any]] = {
        "cosine_with_min_lr": {"min_lr_rate": least},
        "cosine_with_restarts": {"num_cycles": options.num_cycles},
        "polynomial": {"power": options.power, "lr_end": least * RATE},
        "inverse_sqrt": {"timescale": options.timescale} if options.timescale else {},
        "warmup_stable_decay": {
            "num_decay_steps": decay_of(options, total),
            "decay_type": options.decay_type,
            "min_lr_ratio": least,
        },
    }
    return by_kind.get(options.lr_scheduler_type, {})


SHAPES: list[tuple[str, dict[str, Any]]] = [
    *[(kind, {}) for kind in KINDS if kind != "one_cycle"],
    ("cosine_with_min_lr", {"min_lr_ratio": 0.0}),
    ("cosine_with_min_lr", {"min_lr_ratio": 0.5}),
    ("cosine_with_restarts", {"num_cycles": 1}),
    ("cosine_with_restarts", {"num_cycles": 5}),
    ("polynomial", {"power": 1.0, "min_lr_ratio": 0.0}),
    ("polynomial", {"power": 0.5}),
    ("inverse_sqrt", {"timescale": 3}),
    ("warmup_stable_decay", {"decay_type": "cosine", "num_decay_steps": 0.5}),
    ("warmup_stable_decay", {"decay_type": "1-sqrt", "num_decay_steps": 9, "min_lr_ratio": 0.0}),
    ("warmup_stable_decay", {"num_decay_steps": 10_000}),
]


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("warmup", WARMUPS)
@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_that_schedules_are_those_of_transformers(
    kind: str, shape: dict[str, Any], warmup: float, total: int
) -> None:
    options = TrainingOptions(learning_rate=RATE, lr_scheduler_type=kind, warmup_steps=warmup, **shape)
    scheduler = get_scheduler(
        kind,
        optimizer(),
        num_warmup_steps=steps_of(warmup, total),
        num_training_steps=total,
        scheduler_specific_kwargs=arguments(options, total),
    )
    assert rates(options, total) == pytest.approx(theirs(scheduler, total), rel=1e-12, abs=1e-18)


@pytest.mark.parametrize("total", [7, 40, 333])
@pytest.mark.parametrize("warmup", [0, 0.3, 2, 7, 1000])
def test_that_one_cycle_is_that_of_torch(warmup: float, total: int) -> None:
    options = TrainingOptions(learning_rate=RATE, lr_scheduler_type="one_cycle", warmup_steps=warmup)
    warm = warmup_of(options, total)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer(), RATE, total_steps=total, pct_start=warm / total, cycle_momentum=False
    )
    assert rates(options, total) == pytest.approx(theirs(scheduler, total), rel=1e-9, abs=1e-18)


def test_that_one_cycle_with_a_rise_of_one_step_begins_at_its_highest() -> None:
    """torch divides by zero there."""
    options = TrainingOptions(learning_rate=RATE, lr_scheduler_type="one_cycle", warmup_steps=1)
    found = rates(options, 10)
    assert found[0] == RATE and found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(RATE / 25 / 1e4)


@pytest.mark.parametrize("kind", KINDS)
def test_that_every_rate_lies_between_nothing_and_the_learning_rate(kind: str) -> None:
    for total in (1, 2, 3, 50):
        for warmup in (0, 0.5, 1, 2, 3, 60):
            options = TrainingOptions(learning_rate=RATE, lr_scheduler_type=kind, warmup_steps=warmup)
            assert all(0.0 <= rate <= RATE * (1 + 1e-12) for rate in rates(options, total))


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, fields in SHAPE_FIELDS.items() for field in fields]
)
def test_that_each_field_of_a_shape_bends_its_schedule_and_no_other(kind: str, field: str) -> None:
    other = {
        "num_decay_steps": 0.6,
        "decay_type": "cosine",
        "min_lr_ratio": 0.3,
        "num_cycles": 5,
        "power": 3.0,
        "timescale": 5,
    }
    for schedule in KINDS:
        plain = TrainingOptions(lr_scheduler_type=schedule)
        bent = TrainingOptions(lr_scheduler_type=schedule, **{field: other[field]})
        bends = field in SHAPE_FIELDS.get(schedule, ())
        assert (rates(plain, 60) != rates(bent, 60)) is bends


@pytest.mark.parametrize("kind", KINDS)
def test_that_between_its_corners_a_line_has_no_jump(kind: str) -> None:
    options = TrainingOptions(learning_rate=1.0, lr_scheduler_type=kind, warmup_steps=0.1, num_cycles=3)
    total = 2000
    found, known = rates(options, total), set(corners(options, total))
    for step in range(2, total + 1):
        if not {step - 1, step} & known:
            assert abs(found[step - 1] - found[step - 2]) < 0.02


def test_that_the_warm_up_goes_before_the_fall() -> None:
    options = TrainingOptions(lr_scheduler_type="warmup_stable_decay", warmup_steps=0.7, num_decay_steps=0.6)
    assert (warmup_of(options, 10), decay_of(options, 10)) == (7, 3)
