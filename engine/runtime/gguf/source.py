"""The tensors of a model folder under their GGUF names, read in blocks of rows and changed on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch

from engine.errors import EngineError
from engine.models.facts import is_head
from engine.models.safetensors_header import TensorEntry
from engine.models.weight_files import read_headers
from engine.paths import show_name
from engine.runtime.gguf.families import Shape
from engine.runtime.gguf.numbers import Array, rows_in

_TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
_BUFFERS = ("inv_freq", "masked_bias", "attn.bias")
_PICTURES = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")


@dataclass(frozen=True)
class Source:
    """One tensor: its name in the GGUF, where it lies, and how its rows change on the way.

    `turn` is the number of heads whose rows are put in the order of rotary pairs, 0 for none.
    """

    name: str
    path: Path
    entry: TensorEntry
    turn: int = 0
    shift: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Return rows first, as in the folder."""
        return self.entry.shape

    def blocks(self) -> Iterator[Array]:
        """Yield float32 rows [n, width]; a vector is one row."""
        entry = self.entry
        rows = entry.shape[0] if len(entry.shape) > 1 or self.turn else 1
        width = entry.numel // max(1, rows)
        step = rows_in(width)
        if self.turn:
            head = rows // self.turn
            step = max(head, step // head * head)
        size = (entry.end - entry.begin) // max(1, entry.numel)
        with open(self.path, "rb") as file:
            file.seek(entry.begin)
            for start in range(0, rows, step):
                count = min(rows, start + step) - start
                raw = bytearray(count * width * size)
                if file.readinto(raw) != len(raw):
                    raise OSError(5, "the file became shorter while it was read")
                block = torch.frombuffer(raw, dtype=_TYPES[entry.dtype]).float().numpy()
                yield self._changed(block.reshape(count, width))

    def _changed(self, block: Array) -> Array:
        if self.shift:
            block = block + np.float32(1)
        if not self.turn:
            return block
        head = self.entry.shape[0] // self.turn
        turned = block.reshape(-1, 2, head // 2, block.shape[1]).swapaxes(1, 2).reshape(block.shape)
        return turned.reshape(1, -1) if len(self.entry.shape) == 1 else turned


def sources_of(folder: Path, shape: Shape, tied: bool) -> list[Source]:
    """Return every tensor of a folder that belongs into its GGUF, in the order of the files.

    Raises EngineError MODEL-05 for a tensor that the family's table has no name for.
    """
    names = gguf.get_tensor_name_map(architecture_of(shape.arch), shape.layers)
    found, seen = [], set()
    for header in read_headers(folder):
        for entry in header.tensors:
            plain = plain_name(entry.name)
            if plain is None or (tied and is_head(plain)):
                continue
            name = names.get_name(plain, try_suffixes=(".weight", ".bias"))
            if name is None or entry.dtype not in _TYPES or not entry.numel:
                raise EngineError(
                    f"The GGUF of a {shape.words} has no place for {show_name(entry.name)} ({entry.dtype}).",
                    "Export it as safetensors.",
                    "MODEL-05",
                    file=str(header.path),
                )
            turn = heads_turned(plain, shape)
            shift = shape.shifted and plain.endswith("norm.weight")
            found.append(Source(name, header.path, entry, turn, shift))
            seen.add(name)
    if "token_embd.weight" not in seen or "output_norm.weight" not in seen:
        raise EngineError(
            f"{show_name(folder.name)} lacks its embedding or its last norm.",
            "Download the model again.",
            "MODEL-02",
            file=str(folder),
        )
    return found


def plain_name(name: str) -> str | None:
    """Return a tensor's name as in a model that only reads text; None for buffers and for pictures."""
    if name.endswith(_BUFFERS) or name.startswith(_PICTURES):
        return None
    for front in ("model.language_model.", "language_model.model."):
        if name.startswith(front):
            return "model." + name[len(front) :]
    return name.removeprefix("language_model.")


def heads_turned(name: str, shape: Shape) -> int:
    """Return the heads whose rows are put in the order of rotary pairs, 0 where they stay."""
    if not shape.turned:
        return 0
    if ".q_proj." in name:
        return shape.heads
    return shape.kv_heads if ".k_proj." in name else 0


def architecture_of(arch: str) -> gguf.MODEL_ARCH:
    """Return the library's key of an architecture's name."""
    return next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == arch)
