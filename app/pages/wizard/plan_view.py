"""The engine's plan turned into what the Plan column shows."""

from __future__ import annotations

import math
from typing import Any

from app import i18n
from app.pages.wizard.state import WizardState
from app.widgets.field_text import write_value
from app.widgets.memory_bar import TIGHT_FROM
from app.widgets.plan_figures import Advice, PlanFigures
from engine.recipe.fields import field_spec

MOST_SUGGESTIONS = 3


def figures_of(state: WizardState, exact_bytes: float | None = None) -> PlanFigures | None:
    """Return the figures of the present plan, or None while there is none; `exact_bytes` were counted."""
    plans = state.plans
    if plans is None:
        return None
    plan = plans.now
    return PlanFigures(
        verdict=plan.verdict,
        memory_bytes=plan.memory_bytes,
        device_bytes=plan.device_memory_bytes,
        device=plans.device,
        terms=plan.terms,
        seconds=plan.seconds,
        steps=plan.steps,
        trainable=plan.trainable_parameters,
        total=plan.total_parameters,
        longest=(state.data.longest or None) if state.data is not None else None,
        tokens=plan.tokens,
        memory_band=plan.memory_band,
        seconds_band=plan.seconds_band,
        basis=plan.basis,
        gpu=plans.gpu,
        exact_bytes=exact_bytes,
    )


def waiting_words(state: WizardState) -> str:
    """Return what the plan waits for."""
    if state.plan_error is not None:
        return state.plan_error.message
    if state.model_busy:
        return "Looking at the model…"
    if state.model_error is not None:
        return "Known once the model can be read."
    return "Known once a model is chosen."


def suggestions_of(state: WizardState) -> list[Advice]:
    """Return the cheapest changes that make an unfitting plan fit, one press each."""
    plans = state.plans
    if plans is None or plans.now.verdict not in ("tight", "too_large"):
        return []
    found, device = [], plans.now.device_memory_bytes
    for suggestion in plans.now.suggestions[:MOST_SUGGESTIONS]:
        change, needed = suggestion["set"], i18n.size(suggestion["memory_bytes"])
        how = "which fits" if suggestion["fits"] else "not enough by itself"
        if suggestion["fits"] and suggestion["memory_bytes"] >= TIGHT_FROM * (device or math.inf):
            how = "which fits tightly"
        words = f"{i18n.size(suggestion['saves_bytes'])} less: {needed}, {how}."
        found.append(fixing(state, "warn", change_words(change), "", "Apply", change, words))
    return found


def fixing(
    state: WizardState,
    kind: str,
    title: str,
    text: str,
    press: str,
    fix: dict[str, Any],
    figure: str = "",
) -> Advice:
    """Return a remark whose press changes fields as one change of its own, which Ctrl+Z takes back."""
    return Advice(kind, title, text, (press, lambda: state.set_values(fix, apart=True)), fix, figure)


def change_words(change: dict[str, Any]) -> str:
    """Return what a change of fields does, as a title."""
    parts = []
    for path, value in change.items():
        spec = field_spec(path)
        whole = isinstance(value, int) and not isinstance(value, bool)
        words = i18n.number(value) if whole else write_value(spec, value) or "none"
        parts.append(f"{spec.label}: {words} {spec.unit}".strip() if whole else f"{spec.label}: {words}")
    return ", ".join(parts)
