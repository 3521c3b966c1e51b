"""A folder that Tunesmith made: tunesmith.json says what of, and holds the SHA-256 of each of its files.

{"made_by", "kind", ..., "sha256": {file: hex}, "tensors": {file: {tensor: CRC-32 of its bytes, hex}}}

The SHA-256 decides whether a file is the one that was written; the tensors' sums then name the damaged one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import durable, paths
from engine.errors import EngineError, from_os_error
from engine.models.safetensors_header import read_header
from engine.models.weight_files import read_json, stay_inside

ORIGIN = "tunesmith.json"
CERTIFICATE = "certificate.json"
HEADER = "(header)"
BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class Sums:
    """What was written as a file: its SHA-256, its size, and the CRC-32 of its header and of each tensor."""

    sha256: str
    bytes: int
    tensors: Mapping[str, str]


@dataclass(frozen=True)
class Damage:
    """A file that is not the one that was written; `tensors` names those of its tensors that differ."""

    file: str
    what: str
    tensors: tuple[str, ...] = ()

    def told(self) -> str:
        """Return it as a sentence."""
        where = f" in {', '.join(self.tensors[:3])}" if self.tensors else ""
        more = f" and {len(self.tensors) - 3} more tensors" if len(self.tensors) > 3 else ""
        return f"{self.file} {self.what}{where}{more}."


def crc(data: Any, before: int = 0) -> int:
    """Return the CRC-32 of bytes, going on from that of the bytes before them."""
    return zlib.crc32(data, before)


def crc_text(value: int) -> str:
    """Return a CRC-32 as 8 hexadecimal digits."""
    return f"{value:08x}"


def write_origin(folder: Path, about: Mapping[str, Any], known: Mapping[str, Sums] | None = None) -> None:
    """Write tunesmith.json with the sums of every file that lies in a folder by now.

    `known` are those that were taken as the files were written. Raises OSError.
    """
    sums = dict(known or {})
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in (ORIGIN, CERTIFICATE, *sums):
            tensors = tensor_sums(path) if path.suffix == ".safetensors" else {}
            sums[path.name] = Sums(durable.sha256_file(path), path.stat().st_size, tensors)
    values = {
        **about,
        "sha256": {name: each.sha256 for name, each in sorted(sums.items())},
        "tensors": {name: dict(each.tensors) for name, each in sorted(sums.items()) if each.tensors},
    }
    durable.write_json(folder / ORIGIN, values)


def read_origin(folder: Path) -> dict[str, Any]:
    """Return tunesmith.json; raises EngineError MODEL-02 where there is none, or a damaged one."""
    if not (folder / ORIGIN).is_file():
        raise EngineError(
            f"{paths.show_name(folder.name)} holds no {ORIGIN}: it was not made by Tunesmith.",
            "Name a folder that merge or export made.",
            "MODEL-02",
            file=str(folder),
        )
    found = read_json(folder / ORIGIN)
    if not isinstance(found.get("sha256"), dict):
        raise EngineError(
            f"{ORIGIN} of {paths.show_name(folder.name)} holds no sums of its files.",
            "Make the folder again.",
            "MODEL-02",
            file=str(folder / ORIGIN),
        )
    return found


def check_files(
    folder: Path, origin: Mapping[str, Any], tell: Callable[[int, int], None] | None = None
) -> list[Damage]:
    """Compare each file with what was written; `tell(done, total)` counts bytes.

    Raises EngineError DISK-* where a file cannot be read.
    """
    found: list[Damage] = []
    names = {str(name): str(digest) for name, digest in origin["sha256"].items()}
    sizes = {name: _size(folder / name) for name in names}
    done, total = 0, sum(sizes.values())
    for name, digest in names.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            found.append(Damage(paths.show_name(name), "is missing"))
            continue
        stay_inside(folder, path)
        try:
            same = durable.sha256_file(path) == digest
        except OSError as error:
            raise from_os_error(error, str(path)) from error
        if not same:
            found.append(_located(path, dict(origin.get("tensors") or {}).get(name)))
        done += sizes[name]
        if tell is not None:
            tell(done, total)
    return found


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _located(path: Path, sums: Any) -> Damage:
    """Name the tensors of a changed file whose bytes are not those that were written."""
    what = "is not the file that was written: bytes differ"
    if not isinstance(sums, dict):
        return Damage(path.name, what)
    try:
        now = tensor_sums(path)
    except EngineError:
        return Damage(path.name, "is not the file that was written: its header is damaged")
    odd = [name for name, value in sums.items() if now.get(str(name)) != value]
    return Damage(path.name, what, tuple(paths.show_name(str(name), 120) for name in odd))


def tensor_sums(path: Path) -> dict[str, str]:
    """Return the CRC-32 of a safetensors file's header and of each tensor's bytes, read in blocks.

    Raises EngineError MODEL-02 for a damaged header, DISK-* when it cannot be read.
    """
    header = read_header(path)
    found = {HEADER: crc_text(crc(header.raw))}
    try:
        with open(path, "rb") as file:
            for entry in header.tensors:
                file.seek(entry.begin)
                value, left = 0, entry.end - entry.begin
                while left and (block := file.read(min(left, BLOCK_BYTES))):
                    value, left = crc(block, value), left - len(block)
                found[entry.name] = crc_text(value)
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    return found
