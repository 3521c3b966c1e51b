"""A model or adapter that comes as one zip or tar file: its plain files are copied out, and nothing else.

Every name is checked before a byte is written; links, devices and programs stay where they are; what would
unpack to far more than it looks like is stopped. No extractor of a library is used.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from engine import paths
from engine.errors import EngineError, from_os_error

CHUNK = 1 << 20
MOST_FILES = 10_000
MOST_BYTES = 1 << 40
MOST_RATIO = 200
RATIO_FROM_BYTES = 64 << 20
MOST_NAME_BYTES = 64 << 10  # of a long name's own record in a tar file
MOST_DIRECTORY_BYTES = 16 << 20
_BLOCK = 512
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
# What a model or an adapter is made of; programs and pickles are left in the archive.
KEPT = frozenset((".json", ".safetensors", ".jinja", ".txt", ".md", ".model", ".yaml"))
MARKS = ("adapter_config.json", "config.json")
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, KeyError, IndexError),
    *(RuntimeError, OverflowError),
)


class Readable(Protocol):
    """What gives bytes, and none at its end."""

    def read(self, most: int, /) -> bytes: ...


@dataclass(frozen=True)
class Member:
    """A file of an archive: its name as written there, its size as said there, its bytes."""

    name: str
    size: int
    file: Readable


def is_archive(path: Path) -> bool:
    """Say whether a file is a zip, a tar or a gzip file, by its first bytes."""
    try:
        with open(path, "rb") as file:
            head = file.read(_BLOCK)
    except OSError:
        return False
    return head.startswith((_GZIP, _ZIP)) or head[257:262] == b"ustar"


def unpack(archive: Path, into: Path) -> Path:
    """Copy the model or adapter out of an archive into a new folder of `into`, and return that.

    Raises EngineError MODEL-03 for names and kinds that no model has, DATA-08 for a bomb, MODEL-02 for a
    damaged or empty one, DISK-01 when there is no room. Nothing is left behind then.
    """
    target = _free(into, paths.slug(archive.name.split(".")[0], "model"))
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True, mode=0o700)
        _copy(archive, part)
        found = _top(archive, part)
        os.replace(found, target)
    except _DAMAGE as error:
        raise _forged(archive, "it is cut or its bytes are not as they were packed") from error
    except OSError as error:
        raise from_os_error(error, str(target)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _free(into: Path, name: str) -> Path:
    number = 1
    while (into / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return into / (name if number == 1 else f"{name}-{number}")


def _copy(archive: Path, part: Path) -> None:
    """Copy the files out one by one, each name checked first."""
    packed, out, count = archive.stat().st_size, 0, 0
    free = shutil.disk_usage(part).free
    seen: dict[str, tuple[bool, str]] = {}
    for member in _members(archive):
        count += 1
        if count > MOST_FILES:
            raise _bomb(archive, f"{MOST_FILES:,} files")
        name = _safe_name(archive, member.name, seen)
        if name.suffix.lower() not in KEPT:
            continue
        if member.size > free - out:
            raise _full(part.parent, member.size + out, free)
        place = part / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(place, "xb") as file:
            while piece := member.file.read(CHUNK):
                out += len(piece)
                if out > MOST_BYTES or out > RATIO_FROM_BYTES and out > MOST_RATIO * packed:
                    raise _bomb(archive, f"{MOST_RATIO} times its packed size")
                file.write(piece)


def _full(folder: Path, need: int, free: int) -> EngineError:
    return EngineError(
        f"{need / 1e9:.1f} GB needed in {paths.show_name(str(folder), 200)}, {free / 1e9:.1f} GB free.",
        "Free some space, then try again.",
        "DISK-01",
        file=str(folder),
    )


def _safe_name(archive: Path, written: str, seen: dict[str, tuple[bool, str]]) -> PurePosixPath:
    """Return a name inside the folder; `seen`: each name so far, folded -> (a file?, as it was written)."""
    parts = [part for part in written.split("/") if part not in ("", ".")]
    odd = any(c in written for c in '\\:\0*?"<>|') or any(unicodedata.category(c) == "Cc" for c in written)
    if odd or written.startswith("/") or ".." in parts or not parts or len(written) > 1000:
        raise _outside(archive, written)
    folded = [unicodedata.normalize("NFC", part).casefold() for part in parts]
    for depth in range(1, len(folded)):
        above = (False, "/".join(parts[:depth]))
        if seen.setdefault("/".join(folded[:depth]), above) != above:
            raise _outside(archive, written, "one name twice")
    if "/".join(folded) in seen:
        raise _outside(archive, written, "one name twice")
    seen["/".join(folded)] = (True, written)
    return PurePosixPath(*parts)


def _top(archive: Path, part: Path) -> Path:
    """Return the folder in which the model's or adapter's own file lies."""
    for mark in MARKS:
        found = sorted(part.rglob(mark), key=lambda path: len(path.parts))
        if found:
            return found[0].parent
    raise _forged(archive, "it holds neither a model nor an adapter")


def _members(archive: Path) -> Iterator[Member]:
    with open(archive, "rb") as file:
        head = file.read(4)
        file.seek(0)
        if head.startswith(_ZIP):
            yield from _zipped(archive, file)
        elif head.startswith(_GZIP):
            yield from _taped(archive, gzip.GzipFile(fileobj=file, mode="rb"))
        else:
            yield from _taped(archive, file)


def _zipped(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    file.seek(max(0, archive.stat().st_size - (1 << 16) - 64))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    count, directory = (int.from_bytes(tail[at + a : at + b], "little") for a, b in ((10, 12), (12, 16)))
    if at < 0:
        raise _forged(archive, "its end is missing")
    if count > MOST_FILES or MOST_DIRECTORY_BYTES < directory < 0xFFFFFFFF:
        raise _bomb(archive, f"{MOST_FILES:,} files")
    file.seek(0)
    opened = zipfile.ZipFile(file)
    for each in opened.infolist():
        kind = stat.S_IFMT(each.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _outside(archive, each.orig_filename, "a link or a device")
        if each.is_dir():
            continue
        if each.flag_bits & 0x1 or each.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _forged(archive, "it is locked, or packed by a method that is not read here")
        if each.file_size > RATIO_FROM_BYTES and each.file_size > MOST_RATIO * max(1, each.compress_size):
            raise _bomb(archive, f"{MOST_RATIO} times its packed size")
        # `filename` ends at a NUL and has its backslashes turned; what was written is judged.
        with opened.open(each) as content:
            yield Member(each.orig_filename, each.file_size, content)


class _Taped:
    """The bytes of one file of a tar archive."""

    def __init__(self, file: Readable, size: int) -> None:
        self._file, self.rest = file, size

    def read(self, most: int, /) -> bytes:
        """Return the next bytes, empty at the file's end; raises EOFError where the archive ends first."""
        piece = self._file.read(min(most, self.rest))
        if self.rest and not piece:
            raise EOFError
        self.rest -= len(piece)
        return piece

    def leave(self, fill: int) -> None:
        """Go past what was not read, and `fill` bytes more."""
        self.rest += fill
        while self.rest and self.read(CHUNK):
            continue


def _taped(archive: Path, file: Readable) -> Iterator[Member]:
    """Yield the plain files of a tar archive (POSIX ustar, with pax and GNU long names)."""
    long_name = ""
    while (head := file.read(_BLOCK)).strip(b"\0"):
        if len(head) < _BLOCK or head[257:262] != b"ustar":
            raise EOFError
        size, kind = int(head[124:136].strip(b" \0") or b"0", 8), head[156:157]
        content = _Taped(file, size)
        fill = -size % _BLOCK
        if kind in (b"x", b"L"):
            if size > MOST_NAME_BYTES:
                raise _forged(archive, "it holds a name that is too long")
            text = content.read(size)
            long_name = _long(text, pax=kind == b"x") or long_name
        elif kind in (b"0", b"\0"):
            yield Member(long_name or _short(head), size, content)
            long_name = ""
        elif kind not in (b"5", b"g"):
            raise _outside(archive, long_name or _short(head), "a link or a device")
        else:
            long_name = ""
        content.leave(fill)


def _short(head: bytes) -> str:
    prefix, name = (part.split(b"\0")[0].decode() for part in (head[345:500], head[:100]))
    return f"{prefix}/{name}" if prefix else name


def _long(text: bytes, pax: bool) -> str:
    """Return the name in a long name's record: of pax lines `27 path=...`, of GNU tar all of it."""
    if not pax:
        return text.rstrip(b"\0").decode()
    while text:
        length, _, _ = text.partition(b" ")
        line, text = text[len(length) + 1 : int(length) - 1], text[max(1, int(length)) :]
        key, _, value = line.partition(b"=")
        if key == b"path":
            return value.decode()
        if key in (b"size", b"linkpath"):
            raise ValueError(key)
    return ""


def _outside(archive: Path, name: str, what: str = "a place outside its folder") -> EngineError:
    return EngineError(
        f"{paths.show_name(archive.name)} holds {what}: {paths.show_name(name, 100)}.",
        "Do not use this file unless you made it yourself; then pack plain files only.",
        "MODEL-03",
        file=str(archive),
    )


def _bomb(archive: Path, limit: str) -> EngineError:
    return EngineError(
        f"{paths.show_name(archive.name)} is larger than {limit} after unpacking.",
        "Check that it is what you expect, then unpack it yourself.",
        "DATA-08",
        file=str(archive),
    )


def _forged(archive: Path, what: str) -> EngineError:
    return EngineError(
        f"{paths.show_name(archive.name)} is damaged or forged: {what}.",
        "Download it again, or choose the folder of the model.",
        "MODEL-02",
        file=str(archive),
    )
