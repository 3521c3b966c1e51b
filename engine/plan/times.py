"""The seconds of each part of a run: start, steps, evaluations, samples, saves, as the formula has them.

The speeds of devices come from the table in `duration`; what this machine's own runs took corrects them later
(see `corrected`). What start, samples and saves take are round figures to begin with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.hardware.devices import Machine
from engine.models.facts import ModelFacts
from engine.plan import pace
from engine.plan.adapter_size import trainable_parameters
from engine.plan.duration import device_speed, operations_per_token, optimizer_steps, steps_per_epoch
from engine.plan.optimizers import state_bytes
from engine.plan.several import speed_of_all
from engine.plan.unpacking import tokens_together, unpacking_seconds
from engine.recipe.recipe import Recipe

if TYPE_CHECKING:
    from engine.plan.planner import DataFacts

IMPORTS_SECONDS = {"cpu": 4.0, "cuda": 15.0}
READ_BYTES_A_SECOND = 5e8  # weights from the disk into place
SAMPLE_PROMPTS = 3  # as many as a run asks of its validation rows
SAMPLE_TOKENS = 64  # of the 96 at most that an answer takes
BANDWIDTH = {"cpu": 1.2e10, "cuda": 8e11}  # bytes of weights a second that answering token by token reads
LAYER_SECONDS = {"cpu": 3e-4, "cuda": 6e-4}  # of one layer, however small: calls, not arithmetic
BACKWARD_CALLS = 2  # times those of the forward pass: gradients to inputs and to what is trained
SAVE_SECONDS = 0.2
COPY_BYTES_A_SECOND = 1e9


@dataclass(frozen=True)
class Times:
    """The formula's unit figures in seconds, and how often each of them is to be had."""

    start_seconds: float
    seconds_per_token: float
    evaluation_seconds: float  # a token of validation
    sample_seconds: float  # an answer
    save_seconds: float
    tokens: int = 0
    validation_tokens: float = 0.0
    evaluations: int = 0
    samples: int = 0
    saves: int = 0

    def terms(self, factors: dict[str, float] | None = None) -> dict[str, float]:
        """Return the seconds of each part, in the order they come; `factors` correct the unit figures."""
        by = factors or {}
        counts = {
            "start": ("start_seconds", 1.0),
            "steps": ("seconds_per_token", float(self.tokens)),
            "evaluations": ("evaluation_seconds", self.evaluations * self.validation_tokens),
            "samples": ("sample_seconds", float(self.samples)),
            "saves": ("save_seconds", float(self.saves)),
        }
        return {
            name: getattr(self, unit) * count * by.get(unit, 1.0) for name, (unit, count) in counts.items()
        }


def times_of(
    recipe: Recipe,
    facts: ModelFacts,
    data: DataFacts,
    tokens: int,
    machine: Machine,
    precision: str,
    checkpointing: bool,
) -> Times:
    """Return the times of a run over `tokens`."""
    gpu = machine.devices[0] if machine.devices else None
    device = "cpu" if gpu is None else "cuda"
    mean = data.total_tokens / max(1, data.train_examples)
    trained = trainable_parameters(facts, recipe.adapter)
    supervised = min(1.0, data.supervised_tokens / max(1, data.total_tokens))
    full = recipe.adapter.method == "full"
    # Of weights that are trained the plain count has the products with their inputs already.
    operations = operations_per_token(facts, trained // 3 if full else trained, mean, supervised)
    forward = operations / (3 if full else 2)
    one_speed = device_speed(gpu, machine, precision)
    speed = speed_of_all(one_speed, recipe, gpu=gpu is not None)
    number_bytes = 2 if precision == "bf16" else 4
    together = tokens_together(recipe, data, device) * speed / one_speed
    again = 1 if checkpointing else 0
    unpacking = unpacking_seconds(recipe, facts, gpu, machine, number_bytes) / together
    calls = facts.layers * LAYER_SECONDS[device] / together  # made while the device computes
    step = (operations + again * forward) / speed + (2 + again) * unpacking
    total = optimizer_steps(recipe, data.rows)
    per_epoch = steps_per_epoch(recipe, data.rows)
    evaluations = pace.evaluations(recipe, per_epoch, total)
    prompts = len(recipe.evaluation.sample_prompts) or min(SAMPLE_PROMPTS, data.validation_examples)
    held = facts.parameters * number_bytes
    answered = max(held / BANDWIDTH[device], facts.layers * LAYER_SECONDS[device])
    return Times(
        start_seconds=IMPORTS_SECONDS[device] + facts.weights_bytes / READ_BYTES_A_SECOND,
        seconds_per_token=max(step, (1 + BACKWARD_CALLS + again) * calls),
        evaluation_seconds=max(forward / speed + unpacking, calls),
        sample_seconds=SAMPLE_TOKENS * answered,
        save_seconds=SAVE_SECONDS + (4 * trained + state_bytes(recipe, trained)) / COPY_BYTES_A_SECOND,
        tokens=tokens,
        validation_tokens=data.validation_examples * mean,
        evaluations=evaluations if data.validation_examples else 0,
        samples=prompts * (evaluations + 1),
        saves=math.ceil(total / pace.save_every(recipe, per_epoch, total)),
    )
