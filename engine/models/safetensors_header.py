"""Read the header of a .safetensors file within bounds: names, shapes and offsets, never a weight.

The file may come from a stranger. Everything the format promises is checked here before torch or the
safetensors library sees the file: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import EngineError, from_os_error

MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_TENSORS = 65_536
MAX_RANK = 8
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
    "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,256}")


@dataclass(frozen=True)
class TensorEntry:
    """One tensor: where it lies in the file (absolute byte offsets) and what it is."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def numel(self) -> int:
        """Return the number of values."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass(frozen=True)
class Header:
    """The header of one file; `raw` is the JSON as it stands, `tensors` are in the order of their offsets."""

    path: Path
    raw: bytes
    metadata: dict[str, str]
    tensors: tuple[TensorEntry, ...]

    @property
    def data_start(self) -> int:
        """Return the offset of the first tensor's bytes."""
        return 8 + len(self.raw)


def read_header(path: Path) -> Header:
    """Return the checked header of `path`.

    Raises EngineError MODEL-02 when the file is damaged or forged, DISK-* when it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            prefix = file.read(8)
            if len(prefix) < 8:
                raise _damaged(path, "it is too short to hold a header")
            length = struct.unpack("<Q", prefix)[0]
            if length > min(MAX_HEADER_BYTES, size - 8):
                raise _damaged(path, "its header is longer than the file or than 16 MiB")
            raw = file.read(length)
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    return _checked(path, raw, size)


def _checked(path: Path, raw: bytes, size: int) -> Header:
    if raw.count(b"{") > 2 * MAX_TENSORS:  # told before so many are read; texts of the metadata have some too
        raise _damaged(path, f"it names more than {MAX_TENSORS:,} tensors")
    try:
        values = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_doubles)
    except Doubled as error:
        raise _damaged(path, f"in its header {error}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is no JSON") from error
    if not isinstance(values, dict):
        raise _damaged(path, "its header is no mapping")
    metadata = values.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _damaged(path, "its metadata is no mapping of texts")
    if len(values) > MAX_TENSORS:
        raise _damaged(path, f"it names {len(values):,} tensors, more than {MAX_TENSORS:,}")
    start = 8 + len(raw)
    tensors = sorted((_entry(path, n, v, start) for n, v in values.items()), key=lambda t: (t.begin, t.end))
    at = start
    for tensor in tensors:
        if tensor.begin != at:
            raise _damaged(path, f"the bytes of {tensor.name} overlap others or leave a gap")
        at = tensor.end
    if at != size:
        raise _damaged(path, f"it should be {at:,} bytes long and is {size:,}")
    return Header(path, raw, metadata, tuple(tensors))


class Doubled(ValueError):
    """One name twice in the header; its words are ours."""


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Doubled("a name stands twice")
    return values


def _entry(path: Path, name: str, value: Any, start: int) -> TensorEntry:
    """Check one tensor's description; `start` is where the data section begins."""
    if not _NAME.fullmatch(name):
        raise _damaged(path, f"a tensor is named {paths.show_name(name, 60)}")
    if not isinstance(value, dict) or not value.keys() >= {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, f"{name} is not described")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _damaged(path, f"{name} has the unknown type {paths.show_name(str(dtype), 20)}")
    if not _are_counts(shape) or len(shape) > MAX_RANK:
        raise _damaged(path, f"{name} has an impossible shape")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise _damaged(path, f"{name} has impossible offsets")
    entry = TensorEntry(name, dtype, tuple(shape), start + offsets[0], start + offsets[1])
    if entry.end - entry.begin != entry.numel * DTYPE_BITS[dtype] // 8:
        raise _damaged(path, f"{name} has not as many bytes as its shape needs")
    return entry


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**48 for v in values)


def _damaged(path: Path, what: str) -> EngineError:
    return EngineError(
        f"{paths.show_name(path.name)} is damaged or forged: {what}.",
        "Download it again, or choose another model.",
        "MODEL-02",
        file=str(path),
    )
