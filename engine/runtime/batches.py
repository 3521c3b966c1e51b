"""Micro-batches as tensors: one flat row without padding, or right-padded rows where a model needs them.

A lean batch leaves out what changes no loss: tokens behind an example's last supervised one, and, in a
flat row, the repetition of what all its examples begin with (a system prompt stands once).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from engine.runtime.attention import Rows
from engine.runtime.computing import is_imagined

if TYPE_CHECKING:
    from engine.data.dataset import Example


LEAST_SHARED = 8  # tokens
LEAST_SAVED = 0.03  # of a batch's tokens


@dataclass(frozen=True)
class Batch:
    """`where` indexes the flattened positions whose next token is supervised; `labels` are those tokens."""

    input_ids: Tensor  # [1, tokens] flat, [rows, longest] padded
    position_ids: Tensor | None  # [1, tokens] flat
    attention_mask: Tensor | None  # [rows, longest] padded
    lengths: list[int]  # of each example's own tokens, without the shared ones
    where: Tensor  # [supervised]
    labels: Tensor  # [supervised]
    tokens: int  # of the examples as they are
    shared: int = 0

    @property
    def supervised(self) -> int:
        """Return how many tokens are trained."""
        return len(self.labels)

    @property
    def rows(self) -> Rows | None:
        """Return what stands in a flat row; None for a padded batch."""
        return None if self.position_ids is None else Rows(self.lengths, self.shared)


def collate(
    examples: Sequence[Example],
    device: torch.device,
    *,
    flat: bool,
    pad_id: int = 0,
    lean: bool = False,
    share: bool = True,
) -> Batch:
    """Make one micro-batch. The first token of a sequence is never supervised: nothing predicts it."""
    trained = [np.flatnonzero(np.asarray(e.trained)[1:]) for e in examples]
    rows = [np.asarray(e.ids) for e in examples]
    labels = [row[at + 1] for row, at in zip(rows, trained, strict=True)]
    tokens = sum(len(row) for row in rows)
    shared = 0
    if lean:
        rows = [
            row[: max(1, int(at[-1]) + 1 if len(at) else 1)] for row, at in zip(rows, trained, strict=True)
        ]
        shared = shared_start(rows) if flat and share else 0
    positions = mask = None
    if flat:
        own = [row[shared:] for row in rows]
        lengths = [len(row) for row in own]
        ids = np.concatenate([rows[0][:shared], *own])[None]
        places = [np.arange(shared), *(np.arange(shared, len(row)) for row in rows)]
        positions = torch.from_numpy(np.concatenate(places)[None]).to(device)
        starts = shared + np.concatenate([[0], np.cumsum(lengths)[:-1]])
        where = [
            np.where(at < shared, at, at - shared + start) for at, start in zip(trained, starts, strict=True)
        ]
    else:
        lengths = [len(row) for row in rows]
        ids, real = _padded(rows, max(lengths), pad_id)
        if len(rows) > 1 or not is_imagined():  # a real mask that hides nothing is looked at and left out
            mask = torch.from_numpy(real).to(device)
        where = [at + number * max(lengths) for number, at in enumerate(trained)]
    return Batch(
        input_ids=torch.from_numpy(ids.astype(np.int64)).to(device),
        position_ids=positions,
        attention_mask=mask,
        lengths=lengths,
        where=torch.from_numpy(np.concatenate(where).astype(np.int64)).to(device),
        labels=torch.from_numpy(np.concatenate(labels).astype(np.int64)).to(device),
        tokens=tokens,
        shared=shared,
    )


def _padded(rows: Sequence[np.ndarray], width: int, pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows' ids and which of them are real, [rows, width] both."""
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    real = np.zeros((len(rows), width), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)], real[number, : len(row)] = row, 1
    return ids, real


def shared_start(rows: Sequence[np.ndarray]) -> int:
    """Return how many tokens all rows begin with, 0 where sharing them saves next to nothing.

    Each row keeps at least one token of its own.
    """
    if len(rows) < 2:
        return 0
    least = min(len(row) for row in rows) - 1
    front = np.stack([row[:least] for row in rows])
    same = (front == front[0]).all(0)
    count = least if same.all() else int(same.argmin())
    saved = count * (len(rows) - 1)
    return count if count >= LEAST_SHARED and saved >= LEAST_SAVED * sum(map(len, rows)) else 0
