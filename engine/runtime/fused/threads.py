"""Small work of a processor stays in one thread.

Worker threads sleep while they wait (see `jobs.process.PATIENCE`); waking one takes some 50 microseconds, a
pass over a few hundred thousand values with one thread no longer than that.
"""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor

SMALL = 400_000  # values


class InOneThread:
    """Within it, work on a tensor like this one is not shared out over threads where it is small."""

    def __init__(self, like: Tensor, values: int | None = None) -> None:
        small = (like.numel() if values is None else values) <= SMALL
        self._threads = torch.get_num_threads() if small and like.device.type == "cpu" else 1

    def __enter__(self) -> None:
        if self._threads > 1:
            torch.set_num_threads(1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._threads > 1:
            torch.set_num_threads(self._threads)
