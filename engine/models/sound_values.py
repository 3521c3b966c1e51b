"""Whether every value of an adapter is a number: one NaN or infinity makes every answer none.

Read by numpy a few MiB at a time, so that a window may ask in a thread of its own, without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine import paths
from engine.errors import EngineError, from_os_error
from engine.models.safetensors_header import DTYPE_BITS, TensorEntry, read_header

PIECE_BYTES = 4 << 20
# A value is none where these bits are all set: the exponent of IEEE 754; the 8-bit forms of
# https://arxiv.org/abs/2209.05433 (E4M3 has one NaN a sign and no infinity) and of OCP MX (E8M0).
_NO_NUMBER = {
    "F64": 0x7FF0000000000000,
    "F32": 0x7F800000,
    "F16": 0x7C00,
    "BF16": 0x7F80,
    "F8_E5M2": 0x7C,
    "F8_E4M3": 0x7F,
    "F8_E8M0": 0xFF,
}


def refuse_no_numbers(weights: Path) -> None:
    """Read the safetensors file of an adapter whole.

    Raises EngineError MODEL-02 with file and tensor for a value that is NaN or infinite (or a header that is
    damaged), DISK-* where it cannot be read.
    """
    header = read_header(weights)
    try:
        with open(weights, "rb") as file:
            named = next((t.name for t in header.tensors if _holds_none(file, t)), None)
    except OSError as error:
        raise from_os_error(error, str(weights)) from error
    if named is not None:
        raise EngineError(
            f"{weights.name} is damaged: {paths.show_name(named)} holds values that are no numbers.",
            "Train or download the adapter again.",
            "MODEL-02",
            file=str(weights),
        )


def _holds_none(file: BinaryIO, tensor: TensorEntry) -> bool:
    if tensor.dtype not in _NO_NUMBER:
        return False
    kind = np.dtype(f"<u{DTYPE_BITS[tensor.dtype] // 8}")
    mask = kind.type(_NO_NUMBER[tensor.dtype])
    file.seek(tensor.begin)
    left = tensor.end - tensor.begin
    while left:
        piece = file.read(min(PIECE_BYTES, left))
        left = left - len(piece) if piece else 0  # shortened since its header was read: told by who opens it
        if bool((np.frombuffer(piece, kind, len(piece) // kind.itemsize) & mask == mask).any()):
            return True
    return False
