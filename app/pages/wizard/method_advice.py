"""What the method step adds to the engine's advice: that nothing is missing."""

from __future__ import annotations

from app.pages.wizard.state import WizardState
from app.widgets.plan_column import Advice
from engine.recipe.method_names import method_key
from engine.recipe.targets import ALL_LINEAR


def advice_of(state: WizardState) -> list[Advice]:
    """Return what is well about the recipe as it is; what is not is said by `engine.advice`."""
    adapter, facts = state.recipe.adapter, state.facts
    whole = adapter.target_modules == ALL_LINEAR and adapter.layers_to_transform is None
    if method_key(state.recipe) not in ("lora", "qlora", "dora") or not whole:
        return []
    if facts is not None and facts.experts:  # what of those no adapter reaches is said by the engine
        return []
    text = "Adapting attention and MLP layers learns more than attention alone."
    return [Advice("ok", "All linear layers adapted", text)]
