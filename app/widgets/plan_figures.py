"""What is told of a plan: its figures, what another choice would make of them, remarks, and their words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app import i18n
from app.widgets.meter import Part

# The parts of memory in the order they are stacked; those of FAINT are drawn paler than their colour.
TERM_TOKENS = {
    "weights": "accent",
    "adapter": "series2",
    "gradients": "series2",
    "optimizer": "series5",
    "activations": "series3",
    "logits": "series4",
    "workspace": "edge",
    "runtime": "dim",
}
FAINT = frozenset({"gradients"})
TERM_HELP = {
    "weights": "The base model as it is held while training.",
    "adapter": "What is trained beside the base, in float32.",
    "gradients": "One number for each trained value.",
    "optimizer": "The averages that the optimizer keeps of each trained value.",
    "activations": "What each layer keeps until its gradients are made; grows with tokens at once.",
    "logits": "Scores over the vocabulary and their loss; grows with the vocabulary.",
    "workspace": "Room for the largest product, and for a matrix unpacked from 4 or 8 bits.",
    "runtime": "What the libraries take before anything is loaded.",
}
VERDICTS = {"fits": ("fits", "ok"), "tight": ("tight", "warn"), "too_large": ("does not fit", "bad")}
NOTHING = 1e6  # bytes; a smaller difference is none
MINUS = "\u2212"


@dataclass(frozen=True)
class PlanFigures:
    """The figures of one plan, ready to be shown; bytes and seconds, bands as (low, high)."""

    verdict: str | None
    memory_bytes: float
    device_bytes: float | None
    device: str
    terms: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    steps: int | None = None
    trainable: int = 0
    total: int = 0
    longest: int | None = None
    tokens: int | None = None
    memory_band: tuple[float, float] = (0.0, 0.0)
    seconds_band: tuple[float, float] | None = None
    basis: str = "formula"
    gpu: bool = False
    exact_bytes: float | None = None


@dataclass(frozen=True)
class Ghost:
    """What another choice would need, or why it cannot be had (`fault`)."""

    title: str
    memory_bytes: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    verdict: str | None = None
    fault: str = ""


@dataclass(frozen=True)
class Source:
    """Where a claim comes from; `tag` is ARTICLE, PUBLISHED, MEASURED or EARLIER."""

    id: str
    title: str
    source: str = ""
    figure: str = ""
    tag: str = ""
    link: str = ""
    correction: str = ""


@dataclass(frozen=True)
class Advice:
    """One remark: a kind of notice, its words, what its button does.

    `fix` is what the press changes in the recipe, which pointing at it shows on the memory bar; `figure` is
    what it saves; `sources` are what the remark rests on.
    """

    kind: str
    title: str
    text: str = ""
    action: tuple[str, Callable[[], object]] | None = None
    fix: Mapping[str, Any] | None = None
    figure: str = ""
    sources: tuple[Source, ...] = ()


def memory_parts(terms: Mapping[str, float]) -> list[Part]:
    """Return the parts of the stacked bar, each with its size."""
    order = list(TERM_TOKENS)
    return [
        Part(name, value, TERM_TOKENS.get(name, "dim"), i18n.size(value))
        for name, value in sorted(
            terms.items(), key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order)
        )
        if value > 0
    ]


def size_range(low: float, high: float) -> str:
    """Return two sizes in one unit: 13.6 to 14.8 GB."""
    first, last = i18n.size(low), i18n.size(high)
    unit = last.rpartition("\u00a0")[2]
    first = first.removesuffix(f"\u00a0{unit}") if first.endswith(unit) else first
    return f"{first} to {last}"


def basis_words(plan: PlanFigures) -> str:
    """Return what the figure rests on and how far it may be off."""
    words = "By formula" if plan.basis == "formula" else f"From {plan.basis}"
    low, high = plan.memory_band
    return f"{words}: {size_range(low, high)}." if high > low > 0 else f"{words}."


def difference(value: float, before: float, say: Callable[[float], str]) -> str:
    """Return how much more or less a figure is, with its sign."""
    return f"{'+' if value >= before else MINUS}{say(abs(value - before))}"


def changes_anything(ghost: Ghost, now: PlanFigures) -> bool:
    """Say whether a choice changes memory or time at all."""
    if ghost.fault or abs(ghost.memory_bytes - now.memory_bytes) >= NOTHING:
        return True
    return ghost.seconds is not None and now.seconds is not None and abs(ghost.seconds - now.seconds) >= 1


def ghost_words(ghost: Ghost, now: PlanFigures) -> str:
    """Return what another choice would change, in memory and time."""
    if ghost.fault:
        return f"{ghost.title}: {ghost.fault}"
    size = i18n.size(ghost.memory_bytes)
    if abs(ghost.memory_bytes - now.memory_bytes) >= NOTHING:
        size += f" ({difference(ghost.memory_bytes, now.memory_bytes, i18n.size)})"
    parts = [size]
    if ghost.seconds and now.seconds:
        time = i18n.duration(ghost.seconds)
        if abs(ghost.seconds - now.seconds) >= 1:
            time += f" ({difference(ghost.seconds, now.seconds, i18n.duration)})"
        parts.append(time)
    if ghost.verdict != now.verdict and ghost.verdict in VERDICTS:
        parts.append(VERDICTS[ghost.verdict][0])
    return f"{ghost.title}: {', '.join(parts)}"
