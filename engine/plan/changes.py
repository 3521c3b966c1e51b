"""The changes that make a run fit, the least harmful first; several together where one alone does not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from engine.errors import EngineError
from engine.plan.optimizers import IN_8_BITS, PAGED, runs_here
from engine.recipe.codec import override
from engine.recipe.combinations import clashes
from engine.recipe.recipe import Recipe

Change = dict[str, Any]
Needs = Callable[[Recipe], float]  # bytes that a recipe needs here
LEAST_LENGTH, LEAST_RANK = 256, 8
MOST_STEPS = 3  # halvings tried of one option
IN_PAGES = {small: paged for paged, small in PAGED.items()}


def suggestions(
    recipe: Recipe, needed: float, room: float, needs: Needs, *, checkpointing: bool, device: str
) -> list[dict[str, Any]]:
    """Return {"set", "memory_bytes", "saves_bytes", "fits"}: what fits first, then by how little it harms.

    Of each option the smallest change that fits is named, else the first. Where no single one fits, what
    takes several comes first.
    """
    search = _Search(recipe, needed, room, needs)
    steps = list(ladders(recipe, checkpointing=checkpointing, device=device))
    found = [best for ladder in steps if (best := search.smallest(ladder)) is not None]
    if found and not any(each["fits"] for each in found):
        found = search.together(steps) + found
    return sorted(found, key=lambda each: not each["fits"])


def ladders(recipe: Recipe, *, checkpointing: bool, device: str) -> Iterator[list[Change]]:
    """Yield each option's changes, mild ones first; options in the order of the harm that they do.

    Computing layers twice and smaller batches give the same result later; a base in 4 bits, averages in 8
    bits, shorter examples and a lower rank give another one.
    """
    training = recipe.training
    if not checkpointing:
        yield [{"training.gradient_checkpointing": "all"}]
    yield list(_batches(training.per_device_train_batch_size, training.gradient_accumulation_steps))
    if not (recipe.model.load_in_4bit or recipe.model.load_in_8bit or recipe.adapter.method == "full"):
        yield [{"model.load_in_4bit": True}]
    small = IN_8_BITS.get(training.optim)
    names = [small, IN_PAGES.get(small or training.optim) if device == "cuda" else None]
    yield [{"training.optim": n} for n in names if n and n != training.optim and runs_here(n)]
    yield [{"data.max_length": n} for n in _halves(recipe.data.max_length, LEAST_LENGTH)]
    if recipe.adapter.method == "lora" and recipe.adapter.path is None:
        alpha = int(recipe.adapter.lora_alpha)
        ranks = enumerate(_halves(recipe.adapter.r, LEAST_RANK), 1)
        yield [{"adapter.r": n, "adapter.lora_alpha": max(1, alpha >> times)} for times, n in ranks]


def _batches(batch: int, accumulation: int) -> Iterator[Change]:
    while batch > 1:
        batch, accumulation = batch // 2, accumulation * 2
        yield {
            "training.per_device_train_batch_size": batch,
            "training.gradient_accumulation_steps": accumulation,
        }


def _halves(value: int, least: int) -> list[int]:
    found: list[int] = []
    while value // 2 >= least and len(found) < MOST_STEPS:
        value //= 2
        found.append(value)
    return found


def _joined(changes: list[Change]) -> Change:
    return {name: value for change in changes for name, value in change.items()}


class _Search:
    """Tries changes of one recipe that needs too much."""

    def __init__(self, recipe: Recipe, needed: float, room: float, needs: Needs) -> None:
        self._recipe, self._needed, self._room, self._needs = recipe, needed, room, needs
        self._known = clashes(recipe)
        self._found: dict[str, float | None] = {}

    def smallest(self, ladder: list[Change]) -> dict[str, Any] | None:
        """Return the first change of a ladder that fits, else the first that saves anything."""
        first = None
        for change in ladder:
            memory = self._memory([change])
            if memory is None or memory >= self._needed:
                continue
            first = first or self._told(change, memory)
            if memory <= self._room:
                return self._told(change, memory)
        return first

    def together(self, steps: list[list[Change]]) -> list[dict[str, Any]]:
        """Return the least harmful changes that fit together, without those not needed; or nothing."""
        taken: list[Change] = []
        least = self._needed
        for ladder in steps:
            kept = None
            for change in ladder:
                memory = self._memory([*taken, change])
                if memory is not None and memory < least:
                    kept, least = change, memory
                if least <= self._room:
                    break
            taken += [] if kept is None else [kept]
            if least <= self._room:
                return [self._without_idle(taken, least)]
        return []

    def _without_idle(self, taken: list[Change], memory: float) -> dict[str, Any]:
        """Leave out what the rest does without, the more harmful first."""
        for change in list(reversed(taken[:-1])):
            fewer = [each for each in taken if each is not change]
            less = self._memory(fewer)
            if less is not None and less <= self._room:
                taken, memory = fewer, less
        return self._told(_joined(taken), memory)

    def _memory(self, changes: list[Change]) -> float | None:
        """Return what the recipe needs with changes, None where they cannot be had with the rest."""
        change = _joined(changes)
        key = repr(sorted(change.items()))
        if key not in self._found:
            self._found[key] = self._measured(change)
        return self._found[key]

    def _measured(self, change: Change) -> float | None:
        try:
            changed = override(self._recipe, change)
        except EngineError:
            return None
        if any(clash not in self._known for clash in clashes(changed)):
            return None
        return self._needs(changed)

    def _told(self, change: Change, memory: float) -> dict[str, Any]:
        saves, fits = self._needed - memory, memory <= self._room
        return {"set": change, "memory_bytes": memory, "saves_bytes": saves, "fits": fits}
