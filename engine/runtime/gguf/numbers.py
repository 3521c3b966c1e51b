"""The types of numbers in a GGUF: how rows are packed, unpacked, and how far a value may move by it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType
from gguf.quants import dequantize, quantize

from engine.errors import EngineError

Array = np.ndarray[Any, Any]
KINDS = {
    "f32": GGMLQuantizationType.F32,
    "f16": GGMLQuantizationType.F16,
    "bf16": GGMLQuantizationType.BF16,
    "q8_0": GGMLQuantizationType.Q8_0,
    "q5_1": GGMLQuantizationType.Q5_1,
    "q5_0": GGMLQuantizationType.Q5_0,
    "q4_1": GGMLQuantizationType.Q4_1,
    "q4_0": GGMLQuantizationType.Q4_0,
}
FILE_TYPES = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "bf16": LlamaFileType.MOSTLY_BF16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q5_1": LlamaFileType.MOSTLY_Q5_1,
    "q5_0": LlamaFileType.MOSTLY_Q5_0,
    "q4_1": LlamaFileType.MOSTLY_Q4_1,
    "q4_0": LlamaFileType.MOSTLY_Q4_0,
}
_SMALL = ("q4_0", "q4_1", "q5_0", "q5_1")
_TABLES = ("token_embd.weight", "output.weight")
_HALF = 2.0**-11  # rounding to float16, relative
_F16_MAX = 65504.0
# Of what llama.cpp's program makes: the error's root mean square over that of the weights.
_FOREIGN = {
    GGMLQuantizationType.F32: 1e-3,
    GGMLQuantizationType.F16: 1e-3,
    GGMLQuantizationType.Q8_0: 0.012,
    GGMLQuantizationType.Q5_1: 0.09,
    GGMLQuantizationType.Q5_0: 0.09,
    GGMLQuantizationType.Q4_1: 0.16,
    GGMLQuantizationType.Q4_0: 0.16,
    GGMLQuantizationType.IQ4_NL: 0.16,
    GGMLQuantizationType.Q2_K: 0.5,
    GGMLQuantizationType.Q3_K: 0.3,
    GGMLQuantizationType.Q4_K: 0.16,
    GGMLQuantizationType.Q5_K: 0.09,
    GGMLQuantizationType.Q6_K: 0.045,
}


def kind_for(chosen: str, name: str, shape: tuple[int, ...]) -> GGMLQuantizationType:
    """Return the type of one tensor: vectors stay whole, as llama.cpp computes with them.

    The embedding and the head keep 8 bits where the layers have 4 or 5: rounding them costs most. Rows that
    are no multiple of a block keep 16 bits.
    """
    if len(shape) < 2 or name.startswith("rope_"):
        return KINDS["f32"]
    wanted = KINDS["q8_0"] if chosen in _SMALL and name in _TABLES else KINDS[chosen]
    block = GGML_QUANT_SIZES[wanted][0]
    return wanted if shape[-1] % block == 0 else KINDS["f16"]


def packed_bytes(kind: GGMLQuantizationType, shape: tuple[int, ...]) -> int:
    """Return how many bytes a tensor takes."""
    block, size = GGML_QUANT_SIZES[kind]
    return int(math.prod(shape) // block * size)


def pack(values: Array, kind: GGMLQuantizationType, name: str) -> Array:
    """Return float32 rows [n, width] in a type; raises EngineError MODEL-05 for what it cannot hold."""
    if not np.isfinite(values).all():
        raise EngineError(
            f"{name} holds values that are no numbers.", "Export an earlier checkpoint.", "MODEL-05"
        )
    if kind not in (KINDS["f32"], KINDS["bf16"]) and values.size and np.abs(values).max() > _F16_MAX:
        raise EngineError(
            f"{name} holds values beyond what 16-bit numbers hold.",
            "Use --quantization bf16 or f32.",
            "MODEL-05",
            field="quantization",
        )
    if kind == KINDS["f32"]:
        return np.ascontiguousarray(values, dtype=np.float32)
    if kind == KINDS["f16"]:
        return np.ascontiguousarray(values.astype(np.float16))
    return np.ascontiguousarray(quantize(values, kind))


def unpack(raw: Array, kind: GGMLQuantizationType) -> Array:
    """Return rows as float32."""
    if kind in (KINDS["f32"], KINDS["f16"]):
        return raw.astype(np.float32)
    return np.asarray(dequantize(raw, kind), dtype=np.float32)


def excess(source: Array, found: Array, kind: GGMLQuantizationType, foreign: bool = False) -> float:
    """Return how far values moved over what their type may move them: at most 1 where all is right.

    The bounds are of the block's scale d: half a step, of which 4- and 5-bit types with a zero in the middle
    have one more at the end where values are clipped; see ggml-quants.c, quantize_row_*_ref. `foreign` values
    were packed by another program, which looks for better scales: there it is the mean error.
    """
    moved: Array = np.abs(source - found)
    bound: Array
    if not np.isfinite(found).all():
        return float("inf")
    if foreign:
        size = float(np.sqrt(np.mean(np.square(source))))
        allowed = _FOREIGN.get(kind, 0.0) * size
        return float(np.sqrt(np.mean(np.square(moved)))) / allowed if allowed else float(moved.any()) * 2
    if kind == KINDS["f32"]:
        bound = np.zeros_like(moved)
    elif kind in (KINDS["f16"], KINDS["bf16"]):
        share, least = (_HALF, 2.0**-25) if kind == KINDS["f16"] else (2.0**-8, 1e-38)
        bound = np.abs(source) * share + least
    else:
        bound = np.repeat(_block_bound(source, kind), 32, axis=-1).reshape(moved.shape)
    past = moved - bound
    if past.max(initial=0.0) <= 0:
        return 0.0 if not moved.any() else float((moved / np.maximum(bound, 1e-45)).max())
    return float((moved / np.maximum(bound, 1e-30)).max())


def _block_bound(source: Array, kind: GGMLQuantizationType) -> Array:
    """Return what each block of 32 may move its values, [..., width / 32]."""
    blocks = source.reshape(*source.shape[:-1], -1, 32)
    most = np.abs(blocks).max(-1)
    span = blocks.max(-1) - blocks.min(-1)
    steps = {
        KINDS["q8_0"]: most / 127 / 2,
        KINDS["q5_0"]: most / 16,
        KINDS["q4_0"]: most / 8,
        KINDS["q5_1"]: span / 31 / 2,
        KINDS["q4_1"]: span / 15 / 2,
    }[kind]
    # the scale, and of the types with a smallest value that too, are rounded to float16
    return np.asarray(steps * 1.0001 + 2 * most * _HALF * 2 + 2.0**-24)


def rows_in(width: int, values: int = 1 << 22) -> int:
    """Return how many rows of a width make a block of about so many values."""
    return max(1, values // max(1, width))
