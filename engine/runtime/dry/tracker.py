"""How much tensors hold at each moment, by what they are, counted as a GPU's allocator counts."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

BLOCK = 512  # bytes: the allocator gives whole blocks
LOOK_EVERY = 256  # operations between two looks at what was asked


@dataclass
class _Held:
    """A living storage: its bytes, its kind, and what notices its end."""

    size: int
    kind: str
    end: weakref.ref[Any]


class Tracker(TorchDispatchMode):  # type: ignore[misc]
    """Counts the bytes of living storages by kind, and what there was of each at the peak.

    A storage is of the kind that is being made when it comes to be (`making`), or of the one it is given
    later (`call`). What comes to be in a backward pass is workspace, a layer that is computed again included.
    Scores over the vocabulary are told by their last axis.
    """

    def __init__(self, look: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.live: Counter[str] = Counter()
        self.at_peak: Counter[str] = Counter()
        self.total = self.peak = 0
        self.vocabulary = 0
        self._kind = "weights"
        self._known: dict[int, _Held] = {}
        self._look = look
        self._operations = 0

    @contextmanager
    def making(self, kind: str) -> Iterator[None]:
        """Say what comes to be within this block."""
        previous, self._kind = self._kind, kind
        try:
            yield
        finally:
            self._kind = previous

    def call(self, tensor: Tensor, kind: str) -> None:
        """Say what a tensor's storage is from now on."""
        storage = tensor.untyped_storage()
        self._add(storage, kind)
        held = self._known[storage._cdata]
        self.live[held.kind] -= held.size
        self.live[kind] += held.size
        held.kind = kind

    def forget_peak(self) -> None:
        """Look for the peak from here on."""
        self.peak, self.at_peak = self.total, Counter(self.live)

    def _add(self, storage: Any, kind: str) -> None:
        key = storage._cdata
        if key in self._known:
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self._known[key] = _Held(size, kind, weakref.ref(storage, lambda _dead: self._drop(key)))
        self.live[kind] += size
        self.total += size
        if self.total > self.peak:
            self.peak, self.at_peak = self.total, self.live.copy()

    def _drop(self, key: int) -> None:
        held = self._known.pop(key)
        self.live[held.kind] -= held.size
        self.total -= held.size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self._operations += 1
        if self._operations % LOOK_EVERY == 0:
            self._look()
        out = func(*args, **(kwargs or {}))
        backward = self._kind == "activations" and torch._C._current_graph_task_id() >= 0
        kind = "workspace" if backward else self._kind
        for tensor in (out,) if isinstance(out, Tensor) else tree_leaves(out):
            if isinstance(tensor, Tensor):
                wide = self.vocabulary and tensor.ndim > 1 and tensor.shape[-1] == self.vocabulary
                scores = wide and kind in ("activations", "workspace")
                self._add(tensor.untyped_storage(), "logits" if scores else kind)
        return out
