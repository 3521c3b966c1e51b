"""Opening a data file safely, and telling the encoding of its text from its first bytes."""

from __future__ import annotations

import codecs
import io
import os
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import BinaryIO

from engine.data.options import ReadOptions
from engine.data.recode import Recoded, codec_name
from engine.data.rows import Finding, Severity
from engine.data.steady import Stamp, open_regular
from engine.data.unpack import Unpacker, unpacker
from engine.errors import EngineError, from_os_error
from engine.paths import show_name

HEAD_BYTES = 1 << 18
MAX_LINE_BYTES = 16 << 20
FOUND_OUT = ReadOptions()
NO_ROWS = "Choose a file with at least one row."

# First bytes of files that hold no rows, and what a person calls them.
MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\xd0\xcf\x11\xe0", "an old Office document or one with a password"),
    (b"%PDF", "a PDF document"),
    (b"{\\rtf", "a document of a word processor"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"GGUF", "a GGUF model"),
    (b"\x7fELF", "a program"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
)
EXPORT = "Export it as JSONL, CSV, XLSX or Parquet without a password."
BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(frozen=True)
class Source:
    """A regular file; `start` is where its text begins (after a BOM), `head` its first text as UTF-8.

    `explicit`: a person chose the encoding. `old_line_ends`: its lines end with CR alone.
    `unpacker` opens what an archive holds; `stamp` is what the file was when it was looked at.
    """

    path: Path
    name: str
    encoding: str
    start: int
    head: bytes
    size: int
    stamp: Stamp = Stamp(0, 0)
    explicit: bool = False
    old_line_ends: bool = False
    unpacker: Unpacker | None = field(default=None, repr=False, compare=False)

    @property
    def suffix(self) -> str:
        """Return how its name ends, without what an archive adds."""
        name = self.unpacker.name if self.unpacker is not None else self.path.name
        return PurePath(name).suffix.lower()

    @property
    def plain(self) -> bool:
        """Say whether the bytes on the disk are the text itself: only then can a place in it be looked up."""
        return self.encoding == "utf-8" and self.unpacker is None and not self.old_line_ends

    @property
    def whole(self) -> bool:
        """Say whether `head` is all of it."""
        if self.unpacker is not None or self.encoding != "utf-8":
            return len(self.head) < HEAD_BYTES
        return self.size - self.start <= len(self.head)

    @property
    def text_bytes(self) -> int:
        """Return about how many bytes its text has: of an archive that does not say, four times its own."""
        if self.unpacker is None:
            return self.size
        return self.unpacker.size or 4 * self.size

    def open(self) -> BinaryIO:
        """Return its bytes from the start of its text, always UTF-8 (what is not is recoded on the way)."""
        raw = self.raw()
        if self.encoding == "utf-8" and not self.old_line_ends:
            return raw
        recoded = Recoded(raw, self.encoding, self._not_of_it, self.old_line_ends)
        return io.BufferedReader(recoded, 1 << 16)

    def raw(self) -> BinaryIO:
        """Return its bytes as they stand, unpacked, from the start of its text."""
        if self.unpacker is not None:
            raw = self.unpacker.open()
            raw.read(self.start)
            return raw
        raw = open_regular(self.path)
        raw.seek(self.start)
        return raw

    def _not_of_it(self, line: int, column: int, byte: str) -> EngineError:
        name = self.encoding.upper()
        return EngineError(
            f"{self.name}, line {line}, column {column}: byte {byte} is not {name}.",
            "Choose another encoding, or save the file as UTF-8.",
            "DATA-01",
            file=str(self.path),
            line=line,
            field="data.encoding" if self.explicit else None,
        )

    def refusal(
        self, what: str, code: str = "DATA-12", hint: str = "", line: int | None = None
    ) -> EngineError:
        """Return the error that refuses the whole file; `what` follows the file's name."""
        place = f"{self.name}, line {line}: " if line else f"{self.name} "
        return EngineError(f"{place}{what}", hint, code, file=str(self.path), line=line)

    def finding(
        self,
        code: str,
        line: int | None,
        message: str,
        hint: str = "",
        column: int | None = None,
        severity: Severity = "error",
    ) -> Finding:
        """Return a finding about a row of this file; `message` follows file, line and column."""
        place = self.name + (f", line {line}" if line else "") + (f", column {column}" if column else "")
        return Finding(code, str(self.path), line, column, f"{place}: {message}", hint, severity)

    def report(self, message: str, line: int = 1, code: str = "DATA-02", hint: str = "") -> Finding:
        """Return a finding that only tells: what it is about was accepted."""
        return self.finding(code, line, message, hint, severity="report")


def peek(path: str | Path) -> Source:
    """Look at the first bytes of a regular file, whatever it holds; raises EngineError for all else."""
    path = Path(path)
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        try:
            head = file.read(HEAD_BYTES)
        except OSError as error:
            raise from_os_error(error, str(path)) from None
    stamp = Stamp(status.st_size, status.st_mtime_ns)
    source = Source(path, show_name(path.name), "utf-8", 0, head or b"", stamp.size, stamp)
    if not head:
        raise source.refusal("is empty.", "DATA-07", NO_ROWS, 1)
    return source


def open_source(path: str | Path, options: ReadOptions = FOUND_OUT) -> Source:
    """Look at a file of text without trusting it; raises EngineError for what cannot hold rows of text."""
    return as_text(peek(path), options)


def as_text(source: Source, options: ReadOptions = FOUND_OUT) -> Source:
    """Return the source with its encoding known and its head as UTF-8, unpacked if it is an archive."""
    source = _unpacked(source, options)
    if not source.head.strip() and source.whole:
        raise source.refusal("is empty.", "DATA-07", NO_ROWS, 1)
    if options.encoding is not None:
        encoding, start = _chosen(options.encoding, source.head)
        source = replace(source, explicit=True)
    else:
        for magic, kind in MAGIC:
            if source.head.startswith(magic):
                raise source.refusal(f"is {kind}; it cannot be read as rows of text.", hint=EXPORT)
        encoding, start = _encoding(source)
    source = replace(source, encoding=encoding, start=start)
    head = source.head[start:] if encoding == "utf-8" else _recoded_head(source)
    if b"\r" in head and b"\n" not in head:
        source = replace(source, old_line_ends=True)
        head = head.replace(b"\r", b"\n")
    source = replace(source, head=head)
    if not head.strip() and source.whole:
        raise source.refusal("is empty.", "DATA-07", NO_ROWS, 1)
    return source


def _recoded_head(source: Source) -> bytes:
    """Return the first text; a fault far behind it is told when the rows are read."""
    with source.open() as recoded:
        return recoded.read(HEAD_BYTES)


def _unpacked(source: Source, options: ReadOptions) -> Source:
    found = unpacker(source.path, source.head, options.part)
    if found is None:
        return source
    with found.open() as file:
        head = file.read(HEAD_BYTES)
    return replace(source, head=head, unpacker=found)


def _chosen(encoding: str, head: bytes) -> tuple[str, int]:
    """Return (encoding, length of the BOM) for the encoding a person chose."""
    name = codec_name(encoding)
    if name == "utf-16" and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16-le", 0
    return name, next((len(bom) for bom, of in BOMS if of == name and head.startswith(bom)), 0)


def _encoding(source: Source) -> tuple[str, int]:
    """Return (encoding, length of the BOM); refuses UTF-32, UTF-16 without BOM, and binary files."""
    head, choose = source.head, "Choose its encoding, or save the file as UTF-8."
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) and len(head) % 4 == 0:
        raise source.refusal("is UTF-32.", "DATA-01", choose, 1)
    for bom, encoding in BOMS:
        if head.startswith(bom):
            return encoding, len(bom)
    nul = head.count(0) / len(head)
    if nul > 0.2 and (head[0] == 0 or head[1:2] == b"\0"):
        order = "big" if head[0] == 0 else "little"
        kind = f"UTF-16 without a byte order mark ({order} endian)" if nul < 0.7 else "UTF-32"
        raise source.refusal(f"looks like {kind}.", "DATA-01", choose, 1)
    control = sum(head.count(c) for c in range(32) if c not in b"\t\n\r\x0c\x1b\x1c\x1d\x1e\x1f")
    if control > max(8, len(head) * 0.05):
        raise source.refusal("is a binary file, no text.", "DATA-01", EXPORT, 1)
    return "utf-8", 0
