"""Opening a data file safely, and telling its encoding and its kind from its first bytes."""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.data.rows import Finding
from engine.errors import EngineError, from_os_error
from engine.paths import show_name

HEAD_BYTES = 1 << 18
MAX_LINE_BYTES = 16 << 20

# First bytes of files that are no text, and what a person calls them.
MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GGUF", "a GGUF model"),
)


@dataclass(frozen=True)
class Source:
    """A regular file with the encoding of its text; `start` is where its text begins (after a BOM)."""

    path: Path
    name: str
    encoding: str
    start: int
    head: bytes
    size: int

    def open(self) -> BinaryIO:
        """Return its bytes from the start of its text, always UTF-8 (a UTF-16 file is recoded on the way)."""
        raw = open(self.path, "rb")  # noqa: SIM115 - the caller closes it
        raw.seek(self.start)
        if self.encoding == "utf-8":
            return raw
        return io.BufferedReader(_Recoded(raw, self), 1 << 16)

    def refusal(
        self, what: str, code: str = "DATA-12", hint: str = "", line: int | None = None
    ) -> EngineError:
        """Return the error that refuses the whole file; `what` follows the file's name."""
        place = f"{self.name}, line {line}: " if line else f"{self.name} "
        return EngineError(f"{place}{what}", hint, code, file=str(self.path), line=line)

    def finding(
        self, code: str, line: int | None, message: str, hint: str = "", column: int | None = None
    ) -> Finding:
        """Return a finding about a row of this file; `message` follows file, line and column."""
        place = self.name + (f", line {line}" if line else "") + (f", column {column}" if column else "")
        return Finding(code, str(self.path), line, column, f"{place}: {message}", hint)


class _Recoded(io.RawIOBase):
    """A UTF-16 file as UTF-8 bytes, decoded piece by piece."""

    def __init__(self, raw: BinaryIO, source: Source) -> None:
        self._raw = raw
        self._source = source
        self._decoder = codecs.getincrementaldecoder(source.encoding)("strict")
        self._rest = b""
        self._line = 1

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = self._raw.read(1 << 16)
            try:
                text = self._decoder.decode(piece, final=not piece)
                self._rest = text.encode("utf-8")
            except UnicodeError as error:
                raise self._source.refusal(
                    f"is not {self._source.encoding.upper()} ({error}).",
                    "DATA-01",
                    "Save the file as UTF-8.",
                    self._line,
                ) from None
            self._line += text.count("\n")
            if not piece:
                break
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def open_source(path: str | Path) -> Source:
    """Look at a file without trusting it; raises EngineError for what cannot hold rows of text."""
    path = Path(path)
    name = show_name(path.name)
    size = _regular_size(path, name)
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise from_os_error(error, str(path)) from None
    source = Source(path, name, "utf-8", 0, head, size)
    if not head.strip():
        raise source.refusal("is empty.", "DATA-07", "Choose a file with at least one row.")
    for magic, kind in MAGIC:
        if head.startswith(magic):
            raise source.refusal(
                f"is {kind}; it cannot be read as rows of text yet.", hint="Export it as JSONL or CSV."
            )
    encoding, start = _encoding(source)
    source = Source(path, name, encoding, start, head, size)
    if encoding != "utf-8":
        with source.open() as recoded:
            head = recoded.read(HEAD_BYTES)
    else:
        head = head[start:]
    if not head.strip():
        raise source.refusal("is empty.", "DATA-07", "Choose a file with at least one row.")
    return Source(path, name, encoding, start, head, size)


def _regular_size(path: Path, name: str) -> int:
    try:
        status = os.stat(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise EngineError(
                f"{name} is not there.",
                f"Looked for it at {path}; show where it is now.",
                "DATA-12",
                file=str(path),
            ) from None
        raise from_os_error(error, str(path)) from None
    if stat.S_ISDIR(status.st_mode):
        raise EngineError(
            f"{name} is a folder; it cannot be read as a data file.",
            "Choose a file in it.",
            "DATA-12",
            file=str(path),
        )
    if not stat.S_ISREG(status.st_mode):
        raise EngineError(
            f"{name} is not a regular file; it cannot be read as a data file.",
            "Copy its content into a file.",
            "DATA-12",
            file=str(path),
        )
    return status.st_size


def _encoding(source: Source) -> tuple[str, int]:
    """Return (encoding, length of the BOM); refuses UTF-32, UTF-16 without BOM, and binary files."""
    head = source.head
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) and len(head) % 4 == 0:
        raise source.refusal("is UTF-32.", "DATA-01", "Save the file as UTF-8.", 1)
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8", 3
    if head.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le", 2
    if head.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be", 2
    nul = head.count(0) / len(head)
    if nul > 0.2 and (head[0] == 0 or head[1:2] == b"\0"):
        kind = "UTF-16 without a byte order mark" if nul < 0.7 else "UTF-32"
        raise source.refusal(f"looks like {kind}.", "DATA-01", "Save the file as UTF-8.", 1)
    control = sum(head.count(c) for c in range(32) if c not in b"\t\n\r\x0c\x1b\x1c\x1d\x1e\x1f")
    if control > max(8, len(head) * 0.05):
        raise source.refusal("is a binary file, no text.", "DATA-01", "Export it as JSONL or CSV.", 1)
    return "utf-8", 0


def text_lines(source: Source) -> Iterator[tuple[int, str]]:
    """Yield (line number, text with its line end); one bad byte refuses the file, for text and tables."""
    with source.open() as file:
        for number, raw in byte_lines(source, file):
            try:
                yield number, raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise bad_byte(source, number, raw, error).as_error() from None


def byte_lines(source: Source, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield (line number, bytes with the line end); a line over 16 MiB refuses the file."""
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            raise source.refusal(
                "is longer than 16 MiB.",
                "DATA-08",
                "Check that it is what you expect; one row stands on one line.",
                number,
            )
        yield number, raw


def bad_byte(source: Source, line: int, raw: bytes, error: UnicodeDecodeError) -> Finding:
    """Return the finding for bytes that are not UTF-8, with a guess of what they are."""
    column = len(raw[: error.start].decode("utf-8", "replace")) + 1
    byte = f"0x{raw[error.start]:02X}"
    return source.finding(
        "DATA-01",
        line,
        f"byte {byte} is not UTF-8.",
        f"Save the file as UTF-8 (guess: it is {guess_encoding(source.head)}).",
        column,
    )


def guess_encoding(head: bytes) -> str:
    """Return the most likely old encoding of some bytes: a guess for a hint, never used to read."""
    high = [b for b in head if b >= 0x80]
    for name in ("shift_jis", "euc_jp", "gb2312"):
        try:
            text = codecs.getincrementaldecoder(name)("strict").decode(head)
        except UnicodeDecodeError:
            continue
        kana = sum("\u3040" <= c <= "\u30ff" for c in text)
        wide = sum("\u4e00" <= c <= "\u9fff" for c in text)
        halfwidth = sum("\uff61" <= c <= "\uff9f" for c in text)
        if kana + wide > 4 * halfwidth and (kana > 0.1 * (kana + wide) if name != "gb2312" else wide > 0):
            return {"shift_jis": "Shift-JIS", "euc_jp": "EUC-JP", "gb2312": "GB2312"}[name]
    if len(high) > 0.3 * len(head):
        return "a Windows or ISO code page of another script, such as CP1251"
    return "CP1252 or Latin-1"
