"""What the method step remarks on: each with its reason and, where one press does it, the change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.pages.wizard.plan_view import fixing
from app.pages.wizard.state import WizardState
from app.widgets.field_text import write_number
from app.widgets.plan_column import Advice
from engine.recipe.method_names import method_key
from engine.recipe.recipe import Recipe
from engine.recipe.targets import ALL_LINEAR

WIDE_RANK = 64
HIGHEST_FULL_RATE, USUAL_FULL_RATE = 1e-4, 2e-5
# Methods that train very few values learn with larger steps: the least of what their papers use.
LEAST_RATES = {"vera": 1e-3, "ia3": 1e-3}
USUAL_RATES = {"vera": 4e-3, "ia3": 3e-3}


def advice_of(state: WizardState, choose: Callable[[str], None]) -> list[Advice]:
    """Return the remarks on the recipe as it is; `choose` changes to another method."""
    recipe, method = state.recipe, method_key(state.recipe)
    machine, found = state.services.hardware.machine, []
    if recipe.model.load_in_4bit and machine is not None and not machine.devices:
        text = "Without a GPU the 4-bit base saves little and computes slowly."
        press = ("Use LoRA", lambda: choose("lora")) if method == "qlora" else None
        found.append(Advice("warn", "QLoRA is made for GPUs", text, press))
    found += _rates(state)
    if method in ("lora", "qlora", "dora"):
        found += _lora(state)
    return found


@dataclass(frozen=True)
class RateRemark:
    """What is to be said of the learning rate, and the usual one."""

    title: str
    text: str
    usual: float


def rate_remark(recipe: Recipe) -> RateRemark | None:
    """Return the remark on a learning rate that does not go with the method, None when it does."""
    method, rate = recipe.adapter.method, recipe.training.learning_rate
    if method == "full" and rate > HIGHEST_FULL_RATE:
        text = "When every weight is trained, steps that suit an adapter make the model forget."
        return RateRemark("A high learning rate for full finetuning", text, USUAL_FULL_RATE)
    if method in LEAST_RATES and rate < LEAST_RATES[method]:
        text = "So few values need larger steps than LoRA's; with small ones the loss hardly moves."
        return RateRemark("A low learning rate for this method", text, USUAL_RATES[method])
    return None


def _rates(state: WizardState) -> list[Advice]:
    remark = rate_remark(state.recipe)
    if remark is None:
        return []
    fix = {"training.learning_rate": remark.usual}
    return [fixing(state, "warn", remark.title, remark.text, f"Use {write_number(remark.usual)}", fix)]


def _lora(state: WizardState) -> list[Advice]:
    adapter, found = state.recipe.adapter, []
    widest = max([adapter.r, *adapter.rank_pattern.values()])
    if widest >= WIDE_RANK and not adapter.use_rslora:
        text = f"Alpha / r shrinks what a rank of {widest} learns; alpha / sqrt(r) keeps it."
        title, fix = "Rank-stabilised scaling suits large ranks", {"adapter.use_rslora": True}
        found.append(fixing(state, "info", title, text, "Turn it on", fix))
    if adapter.target_modules == ALL_LINEAR and adapter.layers_to_transform is None:
        text = "Adapting attention and MLP layers learns more than attention alone."
        found.append(Advice("ok", "All linear layers adapted", text))
    return found
