"""Micro-batches as tensors: one flat row without padding, or right-padded rows where a model needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from engine.data.dataset import Example


@dataclass(frozen=True)
class Batch:
    """`where` indexes the flattened positions whose next token is supervised; `labels` are those tokens."""

    input_ids: Tensor  # [1, tokens] flat, [rows, longest] padded
    position_ids: Tensor | None  # [1, tokens] flat
    attention_mask: Tensor | None  # [rows, longest] padded
    lengths: list[int]
    where: Tensor  # [supervised]
    labels: Tensor  # [supervised]
    tokens: int

    @property
    def supervised(self) -> int:
        """Return how many tokens are trained."""
        return len(self.labels)


def collate(examples: Sequence[Example], device: torch.device, *, flat: bool, pad_id: int = 0) -> Batch:
    """Make one micro-batch. The first token of a sequence is never supervised: nothing predicts it."""
    lengths = [len(e.ids) for e in examples]
    width = max(lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if flat else np.arange(len(lengths)) * width
    where, labels = [], []
    for example, start in zip(examples, starts, strict=True):
        trained = np.flatnonzero(np.asarray(example.trained)[1:])
        where.append(trained + start)
        labels.append(np.asarray(example.ids)[trained + 1])
    positions = mask = None
    if flat:
        ids = np.concatenate([np.asarray(e.ids) for e in examples])[None]
        positions = torch.from_numpy(np.concatenate([np.arange(n) for n in lengths])[None]).to(device)
    else:
        ids = np.full((len(examples), width), pad_id, dtype=np.int64)
        real = np.zeros((len(examples), width), dtype=np.int64)
        for row, example in enumerate(examples):
            ids[row, : lengths[row]], real[row, : lengths[row]] = example.ids, 1
        mask = torch.from_numpy(real).to(device)
    return Batch(
        input_ids=torch.from_numpy(ids.astype(np.int64)).to(device),
        position_ids=positions,
        attention_mask=mask,
        lengths=lengths,
        where=torch.from_numpy(np.concatenate(where).astype(np.int64)).to(device),
        labels=torch.from_numpy(np.concatenate(labels).astype(np.int64)).to(device),
        tokens=sum(lengths),
    )
