"""Tensors as a safetensors file, written through `durable`: a header, then the bytes one after another.

The layout is the library's own: eight bytes with the header's length, the header as JSON filled up with
spaces to a multiple of eight, the tensors without gaps, those of the widest type first, then by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import durable
from engine.models.safetensors_header import DTYPE_BITS


@dataclass(frozen=True)
class Tensor:
    """One tensor: its name, type (`F32`) and shape, and a call that gives its bytes when they are due."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: Callable[[], memoryview]

    @property
    def bytes(self) -> int:
        """Return how many bytes it takes."""
        count = DTYPE_BITS[self.dtype]
        for size in self.shape:
            count *= size
        return count // 8


def write(path: Path, tensors: Sequence[Tensor], metadata: dict[str, str]) -> None:
    """Write tensors as one file, whole or not at all; one is fetched at a time. Raises OSError."""
    ordered = sorted(tensors, key=lambda t: (-DTYPE_BITS[t.dtype], t.name))
    described: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for tensor in ordered:
        described[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.bytes],
        }
        at += tensor.bytes
    raw = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)

    def blocks() -> Iterator[bytes | memoryview]:
        yield len(raw).to_bytes(8, "little")
        yield raw
        for tensor in ordered:
            view = tensor.data().cast("B")
            if len(view) != tensor.bytes:
                raise ValueError(f"{tensor.name} has {len(view)} bytes instead of {tensor.bytes}")
            yield view

    durable.stream(path, blocks())
