"""The rows of a dry run: as long as the longest of recipe and data, and no more of them than it takes."""

from __future__ import annotations

import numpy as np

from engine.data.dataset import Example
from engine.plan.data_facts import DataFacts
from engine.plan.setting import tokens_at_once
from engine.recipe.recipe import Recipe

ENOUGH = 2  # pieces of a step: the second one stands beside the first one's gradient
LEAST = 2  # tokens of a row: the first one is never learned


def micro_batches(recipe: Recipe, data: DataFacts | None, device: str) -> list[list[Example]]:
    """Return one or two micro-batches that need what a step's largest ones need, gradients included.

    The last tokens of each row are learned, the share of the data's tokens that are. No two rows begin alike,
    so that nothing is shared. Pieces and micro-batches beyond the second would only repeat it.
    """
    longest = recipe.data.max_length
    if data is not None and data.longest_tokens:
        longest = min(longest, data.longest_tokens)
    longest = max(LEAST, longest)
    lengths = _packed(recipe.data.max_length, longest) if recipe.data.packing else [longest]
    batch, pieces = recipe.training.per_device_train_batch_size, 1
    limit = tokens_at_once(recipe.training.max_batch_tokens, device)
    if limit is not None and batch * sum(lengths) > limit:
        at_once = max(1, limit // sum(lengths))
        batch, pieces = min(batch, ENOUGH * at_once), ENOUGH if batch > at_once else 1
    many = 1 if pieces > 1 else min(ENOUGH, recipe.training.gradient_accumulation_steps)
    share = _supervised(data)
    return [
        [
            _row(length, share, (micro * batch + row) * len(lengths) + part)
            for row in range(batch)
            for part, length in enumerate(lengths)
        ]
        for micro in range(many)
    ]


def _packed(room: int, longest: int) -> list[int]:
    """Return the lengths of rows that fill a pack."""
    lengths = [longest] * (room // longest)
    return lengths + [room % longest] if room % longest >= LEAST else lengths


def _supervised(data: DataFacts | None) -> float:
    if data is None or not data.total_tokens or not data.supervised_tokens:
        return 1.0
    return min(1.0, data.supervised_tokens / data.total_tokens)


def _row(length: int, share: float, number: int) -> Example:
    trained = np.zeros(length, dtype=bool)
    trained[-max(1, round(share * length)) :] = True
    return Example(np.full(length, number, dtype=np.int32), trained, number, 0)
