"""Which kind of device is computed for: that of the tensors, or the one that a dry run stands in for.

A dry run on tensors without values has only a processor's tensors, and goes the ways that a GPU would take.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# A plain global: with gradient checkpointing the layers run again in autograd's own thread.
_imagined: str | None = None


def kind_of(place: Tensor | torch.device) -> str:
    """Return cpu or cuda, the kind of device that a tensor's or a device's work is done for."""
    if _imagined is not None:
        return _imagined
    kind: str = place.type if isinstance(place, torch.device) else place.device.type
    return kind


def is_imagined() -> bool:
    """Return whether nothing has values: what only computing could find out is then taken as good."""
    return _imagined is not None


@contextmanager
def imagined(kind: str) -> Iterator[None]:
    """Say that until the end of this block all work is that of a device of this kind, without values."""
    global _imagined
    previous, _imagined = _imagined, kind
    try:
        yield
    finally:
        _imagined = previous
