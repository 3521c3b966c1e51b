"""Weights whose numbers are packed by another quantiser: known by the names it gives to its tensors.

config.json does not always tell of it: older exports keep their settings in a file of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from engine.errors import EngineError
from engine.models.safetensors_header import TensorEntry

# Names as GPTQ and AWQ, compressed-tensors, block-wise fp8 and ModelOpt, mxfp4 and HQQ write them.
_KINDS = (
    (re.compile(r"\.(qweight|qzeros)$"), "GPTQ or AWQ"),
    (re.compile(r"\.weight_packed$"), "compressed-tensors"),
    (re.compile(r"\.weight_scale(_inv|_2)?$"), "fp8 or another format with scales"),
    (re.compile(r"_proj_blocks$"), "mxfp4"),
    (re.compile(r"\.W_q$"), "HQQ"),
)


def refuse_packed(folder: Path, tensors: Iterable[TensorEntry]) -> None:
    """Raise EngineError MODEL-05 for weights that are not plain numbers, nor those of bitsandbytes."""
    for tensor in tensors:
        found = next((kind for name, kind in _KINDS if name.search(tensor.name)), "")
        found = found or ("fp8" if tensor.dtype.startswith("F8_") else "")
        if found:
            raise EngineError(
                f"The weights are packed as {found} ({tensor.name}), which is not supported.",
                "Choose the model in full numbers; load_in_4bit makes it small while it is loaded.",
                "MODEL-05",
                file=str(folder),
            )
