"""Seals as the window draws them: a short name, a place on a scale and a number for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from app.i18n import number
from app.widgets.seal_view import SealLine

if TYPE_CHECKING:
    from engine.events import Seal

SHORT = {
    "trained_tokens": "Trained tokens",
    "effect": "Effect",
    "finite": "Numbers",
    "loss": "Loss",
    "validation": "Validation",
    "answers": "Answers",
}
LEAST, MOST = -6.0, 1.0  # powers of ten that the scale of the effect spans

# (place on the scale, place of the limit, number); every figure is there where the seal was measured.
Drawn = tuple[float, float | None, str]
Figures = dict[str, float]


def lines(seals: Sequence[Seal]) -> list[SealLine]:
    """Return the seals as they are drawn."""
    return [_line(seal) for seal in seals]


def mark_words(seals: Sequence[Seal]) -> str:
    """Return the seals in the fewest words: 5 of 6, or 2 red."""
    if not seals:
        return "–"
    red = sum(seal.state == "red" for seal in seals)
    green = sum(seal.state == "green" for seal in seals)
    return f"{number(red)} red" if red else f"{number(green)} of {number(len(seals))}"


def mark_state(seals: Sequence[Seal]) -> str:
    """Return red where one is red, green where all are, unmeasured else."""
    states = {seal.state for seal in seals}
    return "red" if "red" in states else "green" if states == {"green"} else "unmeasured"


def _line(seal: Seal) -> SealLine:
    figures = {key: value for key, value in seal.figures.items() if value is not None}
    draw = _DRAWINGS.get(seal.name)
    try:
        place, limit, words = draw(figures) if draw is not None and figures else (None, None, "")
    except (KeyError, ZeroDivisionError):
        place, limit, words = None, None, ""  # a seal of another version: its words are enough
    return SealLine(
        name=seal.name,
        state=seal.state,
        short=SHORT.get(seal.name, seal.label),
        label=seal.label,
        evidence=seal.evidence,
        hint=seal.hint,
        number=words,
        bar=None if place is None else max(0.0, min(1.0, place)),
        limit=limit,
    )


def _share(figures: Figures) -> Drawn:
    return figures["share"], None, f"{figures['share']:.0%}"


def _effect(figures: Figures) -> Drawn:
    def at(value: float) -> float:
        return (math.log10(max(10**LEAST, min(10**MOST, value))) - LEAST) / (MOST - LEAST)

    return at(figures["mean_kl"]), at(figures["limit"]), f"{figures['mean_kl']:.2g}"


def _finite(figures: Figures) -> Drawn:
    bad, steps = figures["bad_steps"] + figures["bad_evaluations"], figures["steps"]
    return 1.0 - bad / steps, 1.0, f"{number(int(bad))} bad" if bad else "all good"


def _loss(figures: Figures) -> Drawn:
    """Draw what is left of the loss it began with."""
    left = figures["last"] / figures["first"]
    return left, 1.0, f"{left - 1:+.0%}"


def _validation(figures: Figures) -> Drawn:
    """Draw the lowest loss as a share of the newest: full where the newest is the lowest."""
    best, newest = figures["best"], figures["newest"]
    return best / newest, best / figures["limit"], f"{newest / best - 1:+.1%}"


def _answers(figures: Figures) -> Drawn:
    """Draw the answers that hold their end or, where that is what fails, the samples that ended."""
    samples, ended = figures["samples"], figures["ended"]
    if samples and ended / samples < figures["least_ended"] and figures["share"] >= figures["least_share"]:
        return ended / samples, figures["least_ended"], f"{number(int(ended))} of {number(int(samples))}"
    return figures["share"], figures["least_share"], f"{figures['share']:.0%}"


_DRAWINGS: dict[str, Callable[[Figures], Drawn]] = {
    "trained_tokens": _share,
    "effect": _effect,
    "finite": _finite,
    "loss": _loss,
    "validation": _validation,
    "answers": _answers,
}
