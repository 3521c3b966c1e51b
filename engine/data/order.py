"""The order of rows: which examples make up each micro-batch, from (seed, epoch) alone."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

# Rows of like length are put together within this many micro-batches: little padding where a model
# needs padding, while the order stays random from window to window.
WINDOW_BATCHES = 16


def epoch_order(
    lengths: Sequence[int], seed: int, epoch: int, batch_size: int, shuffle: bool = True
) -> list[list[int]]:
    """Return the micro-batches of an epoch: every index once, `ceil(n / batch_size)` batches.

    Without `shuffle` the rows come in file order. No random state of the process is read or changed, so a
    resumed run finds the same order.
    """
    return _order(tuple(lengths), seed, epoch, batch_size, shuffle)


def packs_of(lengths: Sequence[int], data: Any) -> int | None:
    """Return into how many packs examples go under a recipe's data section, None where it does not pack."""
    return len(pack(tuple(lengths), data.max_length, data.shuffle)) if data.packing else None


def packed_order(
    lengths: Sequence[int], capacity: int, seed: int, epoch: int, batch_size: int, shuffle: bool = True
) -> list[list[int]]:
    """Return the micro-batches of an epoch, each of `batch_size` packs of at most `capacity` tokens.

    What is packed together stays so from epoch to epoch: the number of batches is known from the start.
    """
    packs = pack(tuple(lengths), capacity, shuffle)
    filled = tuple(sum(lengths[i] for i in each) for each in packs)
    batches = _order(filled, seed, epoch, batch_size, shuffle)
    return [[row for number in batch for row in packs[number]] for batch in batches]


@lru_cache(maxsize=4)
def pack(lengths: tuple[int, ...], capacity: int, best_fit: bool = True) -> tuple[tuple[int, ...], ...]:
    """Put examples together to packs of at most `capacity` tokens; one longer than that is a pack alone.

    Best fit, the longest first: each goes where it leaves the least room. Without `best_fit` a pack takes
    what comes next in file order.
    """
    if not best_fit:
        return _next_fit(lengths, capacity)
    packs: list[list[int]] = []
    open_packs: list[tuple[int, int]] = []  # (room left, number of the pack), sorted
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        size = lengths[row]
        at = bisect_left(open_packs, (size, -1))
        if at < len(open_packs):
            room, number = open_packs.pop(at)
            packs[number].append(row)
        else:
            room, number = max(size, capacity), len(packs)
            packs.append([row])
        if room - size > 0:
            insort(open_packs, (room - size, number))
    return tuple(tuple(sorted(each)) for each in packs)


def _next_fit(lengths: tuple[int, ...], capacity: int) -> tuple[tuple[int, ...], ...]:
    packs: list[list[int]] = []
    room = -1
    for row, size in enumerate(lengths):
        if size > room:
            packs.append([])
            room = max(size, capacity)
        packs[-1].append(row)
        room -= size
    return tuple(tuple(each) for each in packs)


@lru_cache(maxsize=4)
def _order(
    lengths: tuple[int, ...], seed: int, epoch: int, batch_size: int, shuffle: bool
) -> list[list[int]]:
    indices = list(range(len(lengths)))
    if not shuffle:
        return [indices[i : i + batch_size] for i in range(0, len(indices), batch_size)]
    source = random.Random(f"{seed}-{epoch}")
    source.shuffle(indices)
    window = batch_size * WINDOW_BATCHES
    batches: list[list[int]] = []
    for start in range(0, len(indices), window):
        near = sorted(indices[start : start + window], key=lambda i: lengths[i])
        batches += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
    source.shuffle(batches)
    return batches
