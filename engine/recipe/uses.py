"""Which training options the chosen schedule and optimizer use; the others stand there and change nothing."""

from __future__ import annotations

from engine.recipe.schedules import SHAPE_FIELDS
from engine.recipe.training_options import TrainingOptions

_ADAM = ("adam_beta1", "adam_beta2", "adam_epsilon")
OPTIMIZER_FIELDS: dict[str, tuple[str, ...]] = {
    "adamw": _ADAM,
    "adamw_8bit": _ADAM,
    "paged_adamw": _ADAM,
    "paged_adamw_8bit": _ADAM,
    "lion": ("adam_beta1", "adam_beta2"),
    "lion_8bit": ("adam_beta1", "adam_beta2"),
    "muon": ("momentum", *_ADAM),  # AdamW steps what Muon cannot
    "sgd": ("momentum",),
    "adafactor": (),
}
USUAL_BETA2 = {"lion": 0.99, "lion_8bit": 0.99}
USUAL_MOMENTUM = {"sgd": 0.9, "muon": 0.95}
_BY_SCHEDULE = sorted({"warmup_steps"}.union(*SHAPE_FIELDS.values()))
_BY_OPTIMIZER = sorted(set().union(*OPTIMIZER_FIELDS.values()))


def uses(options: TrainingOptions, name: str) -> bool:
    """Say whether the chosen schedule and optimizer use the option `training.<name>`."""
    schedule = options.lr_scheduler_type
    if name == "warmup_steps":
        return schedule != "constant"
    if name in _BY_SCHEDULE:
        return name in SHAPE_FIELDS.get(schedule, ())
    return name not in _BY_OPTIMIZER or name in OPTIMIZER_FIELDS[options.optim]


def usual_values(options: TrainingOptions) -> dict[str, float]:
    """Return what the chosen optimizer takes for the options that may be left empty, by their field."""
    return {
        "training.adam_beta2": USUAL_BETA2.get(options.optim, 0.999),
        "training.momentum": USUAL_MOMENTUM.get(options.optim, 0.0),
    }


def idle(options: TrainingOptions) -> list[tuple[str, str]]:
    """Return (option, what does not use it) of each that was set and changes nothing."""
    found: list[tuple[str, str]] = []
    for name in (*_BY_SCHEDULE, *_BY_OPTIMIZER):
        default = TrainingOptions.model_fields[name].get_default()
        if getattr(options, name) != default and not uses(options, name):
            by = options.lr_scheduler_type if name in _BY_SCHEDULE else options.optim
            found.append((f"training.{name}", by))
    return found
