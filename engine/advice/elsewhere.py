"""The rules that speak of something else than a recipe: a going run, a comparison of runs, a merge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from engine.advice.finding import Finding
from engine.models.merging import Part, why_not

RISES = 2  # evaluations in a row
LEAST_RISE = 0.005  # of the lowest loss; less is noise (a threshold of ours)
SEEDS = 3


@dataclass(frozen=True)
class Validation:
    """The validation losses of a run in order, each with its step, and whether the run still goes on."""

    steps: Sequence[float]
    losses: Sequence[float]
    going: bool = True


def validation_rises(measured: Validation) -> Finding | None:
    """R21: validation rose at two evaluations in a row, above the best one."""
    known = [pair for pair in zip(measured.steps, measured.losses, strict=True) if math.isfinite(pair[1])]
    if len(known) <= RISES:
        return None
    newest = [loss for _, loss in known[-RISES - 1 :]]
    best, lowest = min(known, key=lambda pair: pair[1])
    rising = all(later > earlier for earlier, later in pairwise(newest))
    if not rising or newest[-1] <= lowest * (1 + LEAST_RISE):
        return None
    advice = (
        "stop early? The best one is kept." if measured.going else "the adapter is that of the best step."
    )
    message = f"Validation rises since step {best:g}: {advice}"
    fix = {"training.early_stopping_patience": RISES}  # of the next run
    return Finding("R21", "warn", message, fix, ("A18",), "training.early_stopping_patience")


@dataclass(frozen=True)
class Comparison:
    """What is compared: the seeds with which each recipe was run."""

    seeds: Mapping[str, Sequence[int]]


def one_seed(comparison: Comparison) -> Finding | None:
    """R43: recipes that differ, run once each."""
    arms = comparison.seeds
    if len(arms) < 2 or all(len(set(seeds)) >= SEEDS for seeds in arms.values()):
        return None
    fewest = min(len(set(seeds)) for seeds in arms.values())
    runs = "One run each" if fewest <= 1 else f"{fewest} runs of one recipe"
    message = f"{runs} cannot separate effect from noise. Use three seeds."
    return Finding("R43", "warn", message, {}, ("A2", "E1"), "training.seed")


@dataclass(frozen=True)
class Merging:
    """What is to be merged: how the base is quantised (None: it is not), the adapters, the way of the sum."""

    quantization: str | None
    parts: Sequence[Part]
    method: str = "linear"


def into_quantised(merging: Merging) -> Finding | None:
    """R44: the base of a merge is quantised."""
    if merging.quantization is None:
        return None
    message = (
        f"Merging into {merging.quantization} weights rounds the update; "
        "merge into the 16-bit original of the base."
    )
    return Finding("R44", "warn", message, {}, ("S13", "S16"))


def not_summable(merging: Merging) -> Finding | None:
    """R45: adapters that cannot be summed as they are."""
    found = why_not(merging.method, merging.parts) if len(merging.parts) > 1 else None
    if found is None:
        return None
    summed = merging.method == "linear"
    what = "These adapters cannot be summed directly" if summed else f"{merging.method} does not go"
    message = f"{what}: {found[0]}. {found[1]}"
    return Finding("R45", "error", message, {}, ("A21", "S16"))
