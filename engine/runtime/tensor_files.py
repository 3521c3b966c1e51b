"""torch's tensors as safetensors files, written through `durable`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from engine.models import safetensors_write

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}


def save(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors whole or not at all, from wherever they are, one at a time through the CPU's memory.

    Raises OSError.
    """
    safetensors_write.write(path, [_described(n, t) for n, t in tensors.items()], {"format": "pt"})


def _described(name: str, tensor: Tensor) -> safetensors_write.Tensor:
    return safetensors_write.Tensor(name, NAMES[tensor.dtype], tuple(tensor.shape), lambda: bytes_of(tensor))


def bytes_of(tensor: Tensor) -> memoryview:
    """Return a tensor's bytes in the order of its values, without a copy where it lies so already."""
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())
