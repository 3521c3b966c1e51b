"""What the training step says of schedules and optimizers, and its remarks for the right column."""

from __future__ import annotations

from functools import partial

from app import i18n
from app.pages.wizard.fields import step_of
from app.pages.wizard.plan_view import fixing
from app.pages.wizard.state import WizardState
from app.widgets.field_text import choice_words, write_value
from app.widgets.plan_column import Advice
from engine.errors import EngineError
from engine.plan.optimizers import PAGED, refuse, state_bytes
from engine.recipe.combinations import WITH_B, clashes
from engine.recipe.fields import field_spec
from engine.recipe.recipe import Recipe
from engine.recipe.schedules import corners, learning_rate_at
from engine.recipe.training_options import TrainingOptions

SCHEDULE_WORDS = {
    "cosine": "Rises, then falls along a half cosine to zero.",
    "linear": "Rises, then falls in a straight line to zero.",
    "constant": "The same rate from the first step to the last; there is no warm-up.",
    "constant_with_warmup": "Rises, then stays.",
    "warmup_stable_decay": "Rises, stays, and falls at the end.",
    "cosine_with_min_lr": "Rises, then falls along a half cosine to the lowest rate.",
    "cosine_with_restarts": "Rises, falls to zero along a half cosine, and starts again at the top.",
    "one_cycle": "Rises along a half cosine to the top, then falls along one to nearly nothing.",
    "polynomial": "Rises, then falls along a bent line to the lowest rate.",
    "inverse_sqrt": "Rises, then falls ever more slowly and never reaches zero.",
}
OPTIMIZER_WORDS = {
    "adamw": "Keeps two averages of each trained value. The usual choice.",
    "adamw_8bit": "AdamW with its averages in 8 bits: a quarter of their memory, nearly the same steps.",
    "paged_adamw": "AdamW whose averages leave the GPU's memory while it is short.",
    "paged_adamw_8bit": "AdamW in 8 bits whose averages leave the GPU's memory while it is short.",
    "adafactor": "Keeps a row and a column of averages for each matrix: almost no memory.",
    "lion": "Steps by the sign of one average. Wants about a fifth of AdamW's learning rate.",
    "lion_8bit": "Lion with its average in 8 bits: the least memory of all that keep one.",
    "muon": "Evens out each step of a matrix in all its directions. Keeps one average.",
    "sgd": "Steps along the gradient, with momentum. Wants a far higher learning rate than AdamW.",
}


def rate_line(options: TrainingOptions, total: int, count: int) -> list[tuple[int, float]]:
    """Return about `count` (step, rate) points of a run, with every corner of its line among them."""
    evenly = (1 + round(i * (total - 1) / count) for i in range(count + 1))
    chosen = sorted({*evenly, *corners(options, total)})
    return [(step, learning_rate_at(step, total, options)) for step in chosen]


def schedule_words(options: TrainingOptions, method: str) -> str:
    """Return what the chosen schedule does, and what LoRA+ adds to it."""
    words = SCHEDULE_WORDS[options.lr_scheduler_type]
    ratio = options.loraplus_lr_ratio
    if ratio is not None and method in WITH_B:
        words += f" LoRA+ gives B {i18n.number(ratio, 0 if ratio == int(ratio) else 1)} times this rate."
    return words


def optimizer_words(recipe: Recipe, trained: int | None) -> str:
    """Return what the chosen optimizer does, and what it keeps of this run's trained values."""
    words = OPTIMIZER_WORDS[recipe.training.optim]
    if not trained:
        return words
    kept = state_bytes(recipe, trained)
    return f"{words} Here it keeps {i18n.size(kept)}." if kept else f"{words} Here it keeps nothing."


def advice_of(state: WizardState) -> list[Advice]:
    """Return what keeps the training fields from working; what speaks against them says `engine.advice`."""
    return _on_clashes(state) + _on_optimizer(state)


def _on_clashes(state: WizardState) -> list[Advice]:
    """Name the training fields that do not go with the rest, each with the press that sets it back."""
    found = []
    for clash in clashes(state.recipe):
        if step_of(clash.field) != "training":
            continue
        spec, value = field_spec(clash.field), state.value(clash.field)
        words = f"Set it to {write_value(spec, spec.default) or 'empty'}"
        press = (words, partial(state.set_value, clash.field, spec.default))
        found.append(
            Advice(
                "bad",
                f"{spec.label} does not go with the rest",
                f"{clash.message} {clash.hint}",
                None if value == spec.default else press,
            )
        )
    return found


def _on_optimizer(state: WizardState) -> list[Advice]:
    machine, training = state.services.hardware.machine, state.recipe.training
    if machine is None:
        return []
    try:
        refuse(training, "cuda" if machine.devices else "cpu")
    except EngineError as error:
        other = PAGED.get(training.optim, "adamw") if "GPU" in error.message else "adamw"
        words = choice_words(field_spec("training.optim"), other)
        chosen, why = (
            choice_words(field_spec("training.optim"), training.optim),
            error.message.partition(": ")[2],
        )
        fix = {"training.optim": other}
        return [fixing(state, "bad", f"{chosen} cannot run here", why, f"Use {words}", fix)]
    return []
