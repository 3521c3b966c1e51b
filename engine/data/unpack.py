"""Packed files (gzip, zstd, zip) as a stream of bytes that stays small in memory and ends a bomb early."""

from __future__ import annotations

import errno
import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from engine.data.steady import open_regular
from engine.errors import EngineError, from_os_error
from engine.paths import show_name

MAX_RATIO = 200
RATIO_FROM_BYTES = 64 << 20
MAX_BYTES = 64 << 30
MAX_MEMBERS = 10_000
MAX_DIRECTORY_BYTES = 16 << 20
# A piece of zstd this long may become 32 MiB; of gzip and zip only what is asked for is unpacked.
ZSTD_PIECE = 1 << 10
CHUNK = 1 << 16
_HEAD_BYTES = 512

GZIP, ZSTD, ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
_ZSTD_SKIPPED = tuple(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16))
# What cannot be read from inside an archive, and archives of which none can be read.
_BINARY = {
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\xd0\xcf\x11\xe0": "an old Office document",
}
_OTHER_ARCHIVES = {
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"\x04\x22\x4d\x18": "an lz4 archive",
}
_ARCHIVES = {GZIP: "a gzip archive", ZSTD: "a zstd archive", ZIP: "a zip archive or a workbook"}
_OFFICE = {
    "word/": "a Word document",
    "ppt/": "a PowerPoint presentation",
    "META-INF/manifest.xml": "an OpenDocument file",
    "META-INF/container.xml": "an e-book",
    "META-INF/MANIFEST.MF": "a Java archive",
}
# What archives that are cut, damaged or forged show as.
ARCHIVE_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, zstandard.ZstdError, struct.error, EOFError, OSError),
    *(ValueError, KeyError, IndexError, RuntimeError, MemoryError, OverflowError),
)
_EXPORT = "Export it as JSONL, CSV, XLSX or Parquet without a password."
_UNPACK = "Unpack it, and choose the file with the rows."
_AGAIN = "Copy or download it again, then choose it again."


@dataclass(frozen=True)
class Unpacker:
    """A packed file: `name` is what is inside, `size` its bytes unpacked where the file says so.

    `parts` are the members of a zip archive, `part` the one that is read (None: one must be chosen).
    """

    path: Path
    kind: str
    name: str
    parts: tuple[str, ...] = ()
    part: str | None = None
    size: int | None = None
    member: int = 0
    begin: int = 0

    def open(self) -> BinaryIO:
        """Return the unpacked bytes as a stream. Reading it raises EngineError: DATA-08 bomb, DATA-12 damage.

        What was unpacked before the damage is handed out first.
        """
        if self.kind == "zip" and self.part is None:
            raise self._several()
        with ExitStack() as held:
            file = held.enter_context(open_regular(self.path))
            raw = _Unpacked(self, file, _inner(self, file))
            stream = _Stream(raw, CHUNK)
            held.callback(stream.close)
            self._check(stream.peek(_HEAD_BYTES)[:_HEAD_BYTES])
            held.pop_all()
        return stream

    def refusal(self, what: str, hint: str, code: str = "DATA-12") -> EngineError:
        """Return the error that refuses the whole file; `what` follows its name."""
        return _refusal(self.path, what, hint, code)

    def bound(self, out: int, taken: int, verb: str = "came") -> None:
        """Raise EngineError DATA-08 if `out` bytes are too many, in all or for `taken` packed ones."""
        ratio = out / max(1, taken)
        if out <= RATIO_FROM_BYTES or ratio <= MAX_RATIO and out <= MAX_BYTES:
            return
        limit = f"{MAX_RATIO} times its packed size" if ratio > MAX_RATIO else f"{MAX_BYTES >> 30} GiB"
        raise self.refusal(
            f"is larger than {limit} after unpacking: {out:,} bytes {verb} out of {taken:,}.",
            "Check that it is what you expect, then unpack or split it yourself.",
            "DATA-08",
        )

    def _several(self) -> EngineError:
        shown = ", ".join(self.parts[:10])
        more = f" and {len(self.parts) - 10:,} more" if len(self.parts) > 10 else ""
        error = self.refusal(
            f"holds {len(self.parts):,} files: {shown}{more}.", "Choose the one with the rows."
        )
        error.field = "data.part"
        return error

    def _check(self, head: bytes) -> None:
        found = {**_ARCHIVES, **_OTHER_ARCHIVES, **_BINARY}
        kind = next((what for magic, what in found.items() if head.startswith(magic)), None)
        if head[257:262] == b"ustar":
            kind = "a tar archive"
        if kind is not None:
            raise self.refusal(f"holds {kind}; what is packed must be a file of text.", _UNPACK)


def unpacker(path: Path, head: bytes, part: str | None) -> Unpacker | None:
    """Return how a file is unpacked, None where it is not packed or is a workbook.

    `head` are its first bytes. Raises EngineError DATA-12 for archives that cannot be read at all.
    """
    if head.startswith(GZIP):
        return Unpacker(path, "gzip", _without(path.name, (".gz", ".gzip")))
    if head.startswith((ZSTD, *_ZSTD_SKIPPED)):
        return Unpacker(path, "zstd", _without(path.name, (".zst", ".zstd")))
    if head.startswith(b"PK\x05\x06"):
        raise _refusal(path, "is an archive with no file in it.", "Choose another file.", "DATA-07")
    if head.startswith(ZIP):
        return _zip(path, part)
    for magic, kind in _OTHER_ARCHIVES.items():
        if head.startswith(magic):
            raise _refusal(path, f"is {kind}; it cannot be read as rows.", _UNPACK)
    if head[257:262] == b"ustar":
        raise _refusal(path, "is a tar archive; it cannot be read as rows.", _UNPACK)
    return None


def _refusal(path: Path, what: str, hint: str, code: str = "DATA-12") -> EngineError:
    return EngineError(f"{show_name(path.name)} {what}", hint, code, file=str(path))


def _without(name: str, suffixes: tuple[str, ...]) -> str:
    suffix = next((s for s in suffixes if name.lower().endswith(s) and len(name) > len(s)), "")
    return show_name(name[: len(name) - len(suffix)])


def _zip(path: Path, part: str | None) -> Unpacker | None:
    with open_regular(path) as file:
        members = zip_members(path, file)
    names = [m.filename for m in members]
    if "[Content_Types].xml" in names and any(n.startswith("xl/") for n in names):
        return None
    for begin, kind in _OFFICE.items():
        if any(n.startswith(begin) for n in names) and ("[Content_Types].xml" in names or "META" in begin):
            raise _refusal(path, f"is {kind}; it cannot be read as rows.", _EXPORT)
    kept = [(at, m) for at, m in enumerate(members) if not _is_clutter(m)]
    if not kept:
        raise _refusal(path, "is an archive with no file in it.", "Choose another file.", "DATA-07")
    parts = tuple(show_name(m.filename, 256) for _, m in kept)
    if len(set(parts)) < len(parts):
        raise _refusal(path, "holds two files of the same name.", _UNPACK)
    chosen = next((at for at, m in enumerate(kept) if part in (m[1].filename, parts[at])), None)
    chosen = 0 if chosen is None and len(kept) == 1 else chosen
    if chosen is None:
        return Unpacker(path, "zip", show_name(path.name), parts)
    at, member = kept[chosen]
    name = show_name(member.filename.replace("\\", "/").rsplit("/", 1)[-1])
    return Unpacker(path, "zip", name, parts, parts[chosen], member.file_size, at, member.header_offset)


def zip_members(path: Path, file: BinaryIO) -> list[zipfile.ZipInfo]:
    """Return what a zip archive says it holds; raises EngineError DATA-12 where that cannot be read."""
    file.seek(0, io.SEEK_END)
    file.seek(max(0, file.tell() - (1 << 16) - 64))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    count, directory = (int.from_bytes(tail[at + a : at + b], "little") for a, b in ((10, 12), (12, 16)))
    if at >= 0 and (count > MAX_MEMBERS or MAX_DIRECTORY_BYTES < directory < 0xFFFFFFFF):
        raise _refusal(path, f"holds more than {MAX_MEMBERS:,} files.", _UNPACK, "DATA-08")
    try:
        file.seek(0)
        return zipfile.ZipFile(file).infolist()
    except ARCHIVE_ERRORS as error:
        raise damaged(path, "a zip archive", error) from None


def _is_clutter(member: zipfile.ZipInfo) -> bool:
    """Say whether a member is no data: a folder, or what systems leave beside files."""
    steps = member.filename.replace("\\", "/").split("/")
    hidden = any(s.startswith(".") and s.strip(".") for s in steps) or "__MACOSX" in steps
    return member.is_dir() or hidden or steps[-1].lower() in ("thumbs.db", "desktop.ini", "")


def damaged(path: Path, kind: str, error: Exception) -> EngineError:
    """Return the error for an archive that cannot be read; ARCHIVE_ERRORS are what that shows as."""
    if isinstance(error, OSError) and error.errno not in (
        None,
        errno.EINVAL,
    ):  # EINVAL: a place before the file
        return from_os_error(error, str(path))
    said = str(error)
    if isinstance(error, EOFError):
        why = "it ends in the middle"
    elif "CRC" in said or "checksum" in said.lower():
        why = "its checksum does not fit"
    else:
        why = "its end is missing" if "not a zip file" in said else "its bytes are not as they were packed"
    return _refusal(path, f"is {kind} that is cut or damaged: {why}.", _AGAIN)


def _inner(packed: Unpacker, file: BinaryIO) -> Callable[[int], bytes]:
    """Return what reads at most so many unpacked bytes, empty at the end."""
    if packed.kind == "gzip":
        return gzip.GzipFile(fileobj=file, mode="rb").read1
    if packed.kind == "zstd":
        return _Zstd(file).read
    try:
        archive = zipfile.ZipFile(file)
        member = archive.infolist()[packed.member]
        if member.flag_bits & 0x1:
            raise packed.refusal("is protected by a password.", _EXPORT)
        # Of the other methods a few bytes may become gigabytes in one step.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise packed.refusal("is packed by a method that is not read here.", _UNPACK)
        packed.bound(member.file_size, member.compress_size, "may come")
        return cast("zipfile.ZipExtFile", archive.open(member)).read1
    except ARCHIVE_ERRORS as error:
        raise damaged(packed.path, "a zip archive", error) from None


class _Zstd:
    """Frames of zstd, unpacked piece by piece; a frame that does not end is an error."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = b""
        self._ready = memoryview(b"")

    def read(self, size: int) -> bytes:
        while not self._ready:
            piece = self._packed or self._file.read(ZSTD_PIECE)
            self._packed = b""
            if not piece:
                if self._frame is not None:
                    raise EOFError
                return b""
            self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._ready = memoryview(self._frame.decompress(piece))
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        piece, self._ready = bytes(self._ready[:size]), self._ready[size:]
        return piece


class _Unpacked(io.RawIOBase):
    """The unpacked bytes, counted; an error stays one however often it is read again."""

    def __init__(self, packed: Unpacker, file: BinaryIO, read: Callable[[int], bytes]) -> None:
        self._packed = packed
        self._file = file
        self._read = read
        self._begin = packed.begin
        self._out = 0
        self._error: EngineError | None = None

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._error is not None:
            raise self._error
        try:
            piece = self._read(len(buffer))
        except ARCHIVE_ERRORS as error:
            self._error = damaged(self._packed.path, f"a {self._packed.kind} archive", error)
            raise self._error from None
        self._out += len(piece)
        try:
            self._packed.bound(self._out, self._file.tell() - self._begin)
        except EngineError as error:
            self._error = error
            raise
        buffer[: len(piece)] = piece
        return len(piece)


class _Stream(io.BufferedReader):
    """A buffered reader that hands out what it got before an error, and the error the next time."""

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = -1 if size is None else size
        pieces: list[bytes] = []
        got = 0
        while wanted < 0 or got < wanted:
            try:
                piece = self.read1(CHUNK if wanted < 0 else min(CHUNK, wanted - got))
            except EngineError:
                if pieces:
                    break
                raise
            if not piece:
                break
            pieces.append(piece)
            got += len(piece)
        return b"".join(pieces)
