"""Read a GGUF file that was written here: all its metadata, and rows of its tensors unpacked.

A reader of its own, so that a fault of the library that writes does not prove itself; files of strangers go
through `engine.models.gguf_header` first. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType

from engine.errors import EngineError, from_os_error
from engine.models.gguf_header import read_gguf
from engine.runtime.gguf.numbers import KINDS, Array, packed_bytes, unpack

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies: rows first, bytes from the beginning of the file."""

    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    begin: int


class ReadBack:
    """A file as it is on the disk; raises EngineError MODEL-02 for a damaged one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        read_gguf(path)
        try:
            with open(path, "rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise from_os_error(error, str(path)) from error
        self._at = 8
        tensors, keys = self._take("Q"), self._take("Q")
        self.values: dict[str, Any] = {}
        for _ in range(keys):
            name = self._text()
            self.values[name] = self._value(self._take("I"))
        table = [self._entry() for _ in range(tensors)]
        alignment = int(self.values.get("general.alignment", 32))
        start = -(-self._at // alignment) * alignment
        self.tensors = {name: Tensor(shape, kind, start + place) for name, shape, kind, place in table}
        for name, tensor in self.tensors.items():
            if tensor.begin + packed_bytes(tensor.kind, tensor.shape) > len(self._data):
                raise EngineError(
                    f"{path.name} is damaged: {name} is cut.", "Export it again.", "MODEL-02", file=str(path)
                )

    def _take(self, form: str) -> Any:
        (value,) = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return value

    def _text(self) -> str:
        size = self._take("Q")
        self._at += size
        return self._data[self._at - size : self._at].decode("utf-8")

    def _value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self._take(_SCALARS[kind])
        if kind == _TEXT:
            return self._text()
        inner, count = self._take("I"), self._take("Q")
        if inner not in _SCALARS:
            return [self._value(inner) for _ in range(count)]
        form = f"<{count}{_SCALARS[inner]}"
        found = list(struct.unpack_from(form, self._data, self._at))
        self._at += struct.calcsize(form)
        return found

    def _entry(self) -> tuple[str, tuple[int, ...], GGMLQuantizationType, int]:
        name = self._text()
        sizes = [self._take("Q") for _ in range(self._take("I"))]
        return name, tuple(reversed(sizes)), GGMLQuantizationType(self._take("I")), self._take("Q")

    def rows(self, name: str, start: int, count: int) -> Array:
        """Return rows [count, width] of a tensor as float32; a vector is one row."""
        tensor = self.tensors[name]
        width = tensor.shape[-1]
        size = packed_bytes(tensor.kind, (width,))
        raw = np.frombuffer(self._data, np.uint8, size * count, tensor.begin + size * start)
        stored = {KINDS["f32"]: np.float32, KINDS["f16"]: np.float16}.get(tensor.kind, np.uint8)
        return unpack(raw.view(stored).reshape(count, -1), tensor.kind)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, rows first."""
        return self.tensors[name].shape
