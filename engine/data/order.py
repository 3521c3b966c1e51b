"""The order of rows: which examples make up each micro-batch, from (seed, epoch) alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

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
