"""Write a model folder as one GGUF file, tensor by tensor.

head:    the metadata and every tensor's name, shape, type and place
tensors: a block of rows is read, changed, packed and written; memory holds one block
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import gguf
import numpy as np

from engine.runtime.gguf.families import Shape
from engine.runtime.gguf.numbers import FILE_TYPES, KINDS, Array, kind_for, pack, packed_bytes
from engine.runtime.gguf.source import Source
from engine.runtime.gguf.vocabulary import STRIPPED, Vocabulary

ALIGNMENT = 32
QUANTIZATION_VERSION = 2
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class About:
    """What the file says of itself under `general.`: plain text, shown by programs, never run."""

    name: str
    base: str = ""
    licence: str = ""
    description: str = ""


@dataclass(frozen=True)
class Content:
    """All that goes into one file."""

    shape: Shape
    vocabulary: Vocabulary
    sources: list[Source]
    chosen: str
    about: About
    template: str | None = None

    def values(self) -> dict[str, Any]:
        """Return every metadata key with its value, as it is to be read back."""
        arch = self.shape.arch
        named = self._named()
        found: dict[str, Any] = {
            "general.architecture": arch,
            "general.type": "model",
            "general.name": named or "model",
            "general.file_type": int(FILE_TYPES[self.chosen]),
            "general.quantization_version": QUANTIZATION_VERSION,
        }
        for key in ("licence", "description"):
            if getattr(self.about, key):
                found["general." + {"licence": "license"}.get(key, key)] = getattr(self.about, key)
        if self.about.base:
            found |= {"general.base_model.count": 1, "general.base_model.0.name": self.about.base}
        found |= {f"{arch}.{key}": value for key, value in self.shape.values.items()}
        return found | _of_vocabulary(self.vocabulary, self.template)

    def _named(self) -> str:
        """Return the name: where it holds `phi-3`, llama.cpp takes the blanks behind marks away."""
        if self.vocabulary.strips and self.shape.arch == "phi3":
            return (
                self.about.name if STRIPPED in self.about.name.lower() else f"{self.about.name} ({STRIPPED})"
            )
        return re.sub(r"(phi)-?(3)", r"\1 \2", self.about.name, flags=re.I)

    def bytes(self) -> int:
        """Return about how large the file will be."""
        weights = sum(packed_bytes(kind_for(self.chosen, s.name, s.shape), s.shape) for s in self.sources)
        texts = sum(len(token.encode()) + 8 for token in self.vocabulary.tokens) * 2
        return weights + texts + 64 * len(self.vocabulary.merges or ()) + (1 << 20)


def _of_vocabulary(vocabulary: Vocabulary, template: str | None) -> dict[str, Any]:
    front = "tokenizer.ggml."
    found: dict[str, Any] = {
        front + "model": vocabulary.model,
        front + "pre": vocabulary.pre,
        front + "tokens": vocabulary.tokens,
        front + "token_type": vocabulary.kinds,
        front + "add_bos_token": vocabulary.add_bos,
        front + "add_eos_token": False,
    }
    if vocabulary.scores is not None:
        found[front + "scores"] = vocabulary.scores
    if vocabulary.merges is not None:
        found[front + "merges"] = vocabulary.merges
    if vocabulary.add_space_prefix is not None:
        found[front + "add_space_prefix"] = vocabulary.add_space_prefix
    found |= {f"{front}{key}_token_id": number for key, number in vocabulary.ids.items()}
    if template:
        found["tokenizer.chat_template"] = template
    return found


def write_gguf(content: Content, path: Path, tell: Tell) -> int:
    """Write the file and return its bytes; `tell` may raise to end it.

    Raises EngineError MODEL-05 for values that a type cannot hold, OSError when the disk refuses.
    """
    writer = gguf.GGUFWriter(path, content.shape.arch)
    for key, value in content.values().items():
        if key != "general.architecture":
            add_value(writer, key, value)
    kinds = {s.name: kind_for(content.chosen, s.name, s.shape) for s in content.sources}
    for name, factors in content.shape.extra.items():
        writer.add_tensor_info(name, factors.shape, factors.dtype, factors.nbytes)
    for source in content.sources:
        kind = kinds[source.name]
        size = packed_bytes(kind, source.shape)
        writer.add_tensor_info(source.name, source.shape, np.dtype(np.float32), size, raw_dtype=kind)
    try:
        file = begin(writer)
        for factors in content.shape.extra.values():
            put(file, factors)
            fill(file)
        for number, source in enumerate(content.sources):
            for block in source.blocks():
                put(file, pack(block, kinds[source.name], source.name))
            fill(file)
            tell("write", number + 1, len(content.sources))
        file.flush()
        os.fsync(file.fileno())
        return file.tell()
    finally:
        writer.close()


def begin(writer: gguf.GGUFWriter) -> BinaryIO:
    """Write head and table, and return the file standing where the first tensor begins."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    assert writer.fout is not None
    file = cast(BinaryIO, writer.fout[0])
    fill(file)
    return file


def add_value(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """Add a value in the type that its kind has in every GGUF: u32, f32, bool, text or a list of one."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def put(file: BinaryIO, block: Array) -> None:
    """Write the bytes of a block."""
    file.write(np.ascontiguousarray(block).view(np.uint8).data)


def fill(file: BinaryIO) -> None:
    """Write zeros up to where the next tensor may begin."""
    file.write(bytes(-file.tell() % ALIGNMENT))


def kept_wide(content: Content) -> list[str]:
    """Return the matrices that are in another type than the chosen one."""
    wanted = KINDS[content.chosen]
    return [
        s.name
        for s in content.sources
        if len(s.shape) > 1 and kind_for(content.chosen, s.name, s.shape) != wanted
    ]
