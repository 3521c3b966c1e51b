"""Read the head of a .gguf file within bounds: its keys and tensor table, never a weight.

The file may come from a stranger; every count and length is checked against the file before it is used.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from engine import paths
from engine.errors import EngineError, from_os_error

MAX_KEYS = 4096
MAX_TENSORS = 65_536
MAX_TEXT_BYTES = 4 * 1024 * 1024
MAX_ITEMS = 4 * 1024 * 1024
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_TEXT, _LIST = 8, 9


@dataclass(frozen=True)
class GgufFacts:
    """What the head says: architecture, values by key (of a list its length), shapes of tensors by name."""

    path: Path
    architecture: str
    values: dict[str, Any]
    tensors: dict[str, tuple[int, ...]]


class _Bounded:
    """A file that never reads past its end."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self.size = os.fstat(file.fileno()).st_size

    def take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise self.damaged("it ends too early")
        return data

    def skip(self, count: int) -> None:
        if self._file.tell() + count > self.size:
            raise self.damaged("a length leads beyond its end")
        self._file.seek(count, os.SEEK_CUR)

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        length = self.number("<Q")
        if length > MAX_TEXT_BYTES:
            raise self.damaged("a text in it is too long")
        return self.take(length).decode("utf-8", "replace")

    def damaged(self, what: str) -> EngineError:
        return EngineError(
            f"{paths.show_name(self._path.name)} is damaged or forged: {what}.",
            "Download it again, or choose another model.",
            "MODEL-02",
            file=str(self._path),
        )


def read_gguf(path: Path) -> GgufFacts:
    """Return the checked head of `path`; raises EngineError MODEL-02 when damaged, DISK-* when unreadable."""
    try:
        with open(path, "rb") as file:
            return _read(_Bounded(file, path), path)
    except OSError as error:
        raise from_os_error(error, str(path)) from error


def _read(file: _Bounded, path: Path) -> GgufFacts:
    if file.take(4) != b"GGUF":
        raise file.damaged("it does not begin with GGUF")
    version, tensor_count, key_count = file.number("<I"), file.number("<Q"), file.number("<Q")
    if version not in (2, 3):
        raise file.damaged(f"its version {version} is not known")
    if key_count > MAX_KEYS or tensor_count > MAX_TENSORS:
        raise file.damaged("it claims too many keys or tensors")
    values: dict[str, Any] = {}
    for _ in range(key_count):
        key = file.text()
        if key in values:
            raise file.damaged(f"the key {paths.show_name(key, 60)} stands twice")
        values[key] = _value(file, file.number("<I"), 0)
    alignment = values.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 65_536:
        raise file.damaged("its alignment cannot be")
    tensors: dict[str, tuple[int, ...]] = {}
    for _ in range(tensor_count):
        name, shape, offset = _tensor(file)
        if name in tensors or offset > file.size or offset % alignment:
            raise file.damaged(f"the place of {paths.show_name(name, 60)} cannot be")
        tensors[name] = shape
    return GgufFacts(path, str(values.get("general.architecture", "")), values, tensors)


def _tensor(file: _Bounded) -> tuple[str, tuple[int, ...], int]:
    name = file.text()
    rank = file.number("<I")
    if not 1 <= rank <= 4 or len(name) > 256:
        raise file.damaged(f"the tensor {paths.show_name(name, 60)} cannot be")
    shape = tuple(file.number("<Q") for _ in range(rank))
    file.number("<I")
    count = 1
    for size in shape:
        count *= size
    if count == 0 or count > file.size * 8:
        raise file.damaged(f"{paths.show_name(name, 60)} has an impossible shape")
    return name, shape, file.number("<Q")


def _value(file: _Bounded, kind: int, depth: int) -> Any:
    """Return a single value or, of a list, its length: tokens and merges are left to the converter."""
    if kind in _SCALARS:
        return file.number(_SCALARS[kind])
    if kind == _TEXT:
        return file.text()
    if kind != _LIST or depth > 1:
        raise file.damaged(f"a value of kind {kind} is not known")
    inner, count = file.number("<I"), file.number("<Q")
    if count > MAX_ITEMS:
        raise file.damaged("a list in it is too long")
    if inner in _SCALARS:
        file.skip(struct.calcsize(_SCALARS[inner]) * count)
    else:
        for _ in range(count):
            if inner == _TEXT:
                file.skip(file.number("<Q"))
            else:
                _value(file, inner, depth + 1)
    return count
