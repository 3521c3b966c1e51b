"""The lines of a file of text: split at LF alone, never longer than 16 MiB, each with its number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from engine.data.encodings import guess_label
from engine.data.rows import Finding
from engine.data.source import MAX_LINE_BYTES, Source
from engine.data.tally import Tally

BLOCK = 1 << 18
INDEX_BLOCK = 1 << 22
_CONTROLS = bytes(c for c in range(32) if c not in b"\t\n\r")


def line_pieces(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield the bytes of whole lines, many at a time; None stands for one line longer than 16 MiB."""
    held: list[bytes] = []
    size = 0
    while block := file.read(BLOCK):
        first = block.find(b"\n")
        if size > MAX_LINE_BYTES:  # inside a line that was told already: it goes on to its end
            if first < 0:
                continue
            block, held, size = block[first + 1 :], [], 0
            first = block.find(b"\n")
        if first < 0:
            held.append(block)
            size += len(block)
            if size > MAX_LINE_BYTES:
                held = []
                yield None
            continue
        if size + first > MAX_LINE_BYTES:
            yield None
            block, held = block[first + 1 :], []
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join([*held, block[:cut]])
            held = []
        held.append(block[cut:])
        size = sum(map(len, held))
    if size <= MAX_LINE_BYTES and any(held):
        yield b"".join(held)


class Utf8:
    """Whether bytes that are not UTF-8 refuse a row or the file: the file, unless all else is UTF-8."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.sure = source.explicit or mostly_utf8(source.head)

    def decoded(self, line: int, raw: bytes) -> str | Finding:
        """Return the text of a line, or what is wrong with it; raises EngineError DATA-01 for the file."""
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            column = len(raw[: error.start].decode("utf-8", "replace")) + 1
            finding = bad_byte(self.source, line, column, raw[error.start], raw)
            if self.sure or mostly_utf8(raw):
                return finding
            raise finding.as_error() from None
        self.sure = self.sure or not text.isascii()
        return text


def mostly_utf8(raw: bytes) -> bool:
    """Say whether more characters beyond ASCII are UTF-8 than bytes are not."""
    if raw.isascii():
        return False
    text = raw.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    return len(text.encode("ascii", "ignore")) + 2 * bad < len(text)


def bad_byte(source: Source, line: int, column: int, byte: int, raw: bytes) -> Finding:
    """Return the finding for a byte that is not UTF-8, with a guess of what the bytes around it are."""
    guess = guess_label(raw if source.head.isascii() else source.head)
    return source.finding(
        "DATA-01",
        line,
        f"byte 0x{byte:02X} is not UTF-8.",
        f"Save the file as UTF-8, or choose its encoding (guess: {guess}).",
        column,
    )


def too_long(source: Source, line: int) -> Finding:
    """Return the finding for a line over 16 MiB."""
    hint = "Check that it is what you expect; one row stands on one line."
    return source.finding("DATA-08", line, "it is longer than 16 MiB.", hint)


def text_lines(source: Source, tally: Tally) -> Iterator[tuple[int, str, Finding | None]]:
    """Yield (line number, text with its line end, what is wrong with it) for text and tables.

    Raises EngineError DATA-01 where the file is of another encoding.
    """
    utf8 = Utf8(source)
    number = 0
    with source.open() as file:
        for piece in line_pieces(file):
            if piece is None:
                number += 1
                yield number, "\n", too_long(source, number)
                continue
            text = None if len(piece.translate(None, _CONTROLS)) != len(piece) else _quick(piece)
            if text is None or "\ufeff" in text:
                for raw in piece.split(b"\n")[: -1 if piece.endswith(b"\n") else None]:
                    number += 1
                    yield (number, *_careful(utf8, number, raw, tally))
                continue
            utf8.sure = utf8.sure or not text.isascii()
            lines = text.split("\n")
            last = lines.pop()
            for line in lines:
                number += 1
                yield number, line + "\n", None
            if last:
                number += 1
                yield number, last, None


def _quick(piece: bytes) -> str | None:
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _careful(utf8: Utf8, number: int, raw: bytes, tally: Tally) -> tuple[str, Finding | None]:
    text = utf8.decoded(number, raw)
    if isinstance(text, Finding):
        return raw.decode("utf-8", "replace") + "\n", text
    if text.startswith("\ufeff"):
        tally.note("bom", number)
        text = text.lstrip("\ufeff")
    nul = text.find("\0")
    if nul >= 0:
        message, hint = "a NUL character stands in the text.", "Correct this line, or leave such rows out."
        return text + "\n", utf8.source.finding("DATA-02", number, message, hint, nul + 1)
    if len(raw.translate(None, _CONTROLS)) != len(raw):
        tally.note("control", number)
    return text + "\n", None


def index_lines(source: Source) -> NDArray[np.int64]:
    """Return where each line begins in the file, in bytes; nothing is parsed, a block is in memory at a time.

    Only for a `plain` source (UTF-8, not packed); raises EngineError DATA-12 for another.
    """
    if not source.plain:
        raise source.refusal("is recoded or unpacked while it is read; it has no places to go to.")
    starts = [np.array([source.start], dtype=np.int64)]
    at = source.start
    with source.open() as file:
        while block := file.read(INDEX_BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == 10)
            starts.append(ends + (at + 1))
            at += len(block)
    lines = np.concatenate(starts)
    return lines[:-1] if lines[-1] == at else lines
