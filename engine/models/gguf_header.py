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
MAX_ITEMS = 4 * 1024 * 1024  # of a list, and of all lists of texts together
_CHUNK = 1 << 18
MAX_KEPT_BYTES = 64 * 1024 * 1024
# Kind of numbers -> (weights in a block, bytes of it); ggml's table of types.
_BLOCKS = {
    **{0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36)},
    **{10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292)},
    **{16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110)},
    **{22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8)},
    **{29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18)},
}
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
    """A file that never reads past its end, nor more texts than a model has."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self.size = os.fstat(file.fileno()).st_size
        self._items = MAX_ITEMS
        self._kept = MAX_KEPT_BYTES

    @property
    def place(self) -> int:
        """Return how many bytes were read."""
        return self._file.tell()

    def count(self, items: int) -> None:
        """Refuse more items than a head may have in all its lists of texts."""
        self._items -= items
        if self._items < 0:
            raise self.damaged("its lists are too long")

    def take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise self.damaged("it ends too early")
        return data

    def skip(self, count: int) -> None:
        if self._file.tell() + count > self.size:
            raise self.damaged("a length leads beyond its end")
        self._file.seek(count, os.SEEK_CUR)

    def skip_texts(self, count: int) -> None:
        """Go past so many texts, many at a time: there are hundreds of thousands in a vocabulary."""
        self.count(count)
        data, at = b"", 0
        for _ in range(count):
            if at + 8 > len(data):
                data, at = data[at:] + self._file.read(_CHUNK), 0
            length = int.from_bytes(data[at : at + 8], "little")
            at += 8 + length
            if at > len(data):
                self.skip(at - len(data))
                data, at = b"", 0
        self._file.seek(at - len(data), os.SEEK_CUR)

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        length = self.number("<Q")
        if length > MAX_TEXT_BYTES:
            raise self.damaged("a text in it is too long")
        self._kept -= length
        if self._kept < 0:
            raise self.damaged("its texts are too long")
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
    places: list[tuple[int, int, str]] = []
    for _ in range(tensor_count):
        name, shape, start, length = _tensor(file)
        if name in tensors or start % alignment:
            raise file.damaged(f"the place of {paths.show_name(name, 60)} cannot be")
        tensors[name] = shape
        places.append((start, start + length, name))
    _check_places(file, places, -(-file.place // alignment) * alignment)
    return GgufFacts(path, str(values.get("general.architecture", "")), values, tensors)


def _check_places(file: _Bounded, places: list[tuple[int, int, str]], begin: int) -> None:
    """Refuse tensors that lie upon each other or beyond the end; `begin` is where the first may stand."""
    end = 0
    for start, stop, name in sorted(places):
        if start < end or begin + stop > file.size:
            raise file.damaged(f"the place of {paths.show_name(name, 60)} cannot be")
        end = stop


def _tensor(file: _Bounded) -> tuple[str, tuple[int, ...], int, int]:
    """Return a tensor's name, shape, place from the first one's, and length in bytes."""
    name = file.text()
    rank = file.number("<I")
    if not 1 <= rank <= 4 or len(name) > 256:
        raise file.damaged(f"the tensor {paths.show_name(name, 60)} cannot be")
    shape = tuple(file.number("<Q") for _ in range(rank))
    weights, size = _BLOCKS.get(file.number("<I"), (8, 1))
    count = 1
    for each in shape:
        count *= each
    if count == 0 or count > file.size * 8:
        raise file.damaged(f"{paths.show_name(name, 60)} has an impossible shape")
    return name, shape, file.number("<Q"), -(-count // weights) * size


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
    elif inner == _TEXT:
        file.skip_texts(count)
    else:
        file.count(count)
        for _ in range(count):
            _value(file, inner, depth + 1)
    return count
