"""One JSON value over many lines as rows: a list, or an object with lists, read in pieces."""

from __future__ import annotations

import codecs
import re
from typing import Any, BinaryIO

from engine.data.json_values import BLANK, Refused, parse
from engine.data.lines import Utf8, bad_byte, mostly_utf8
from engine.data.source import MAX_LINE_BYTES, Source

CHUNK = 1 << 20
FIRST_CHUNK = 1 << 16
_OUTSIDE = re.compile(r'["{}\[\],]')
BAD = re.compile("[\udc80-\udcff]")
_INSIDE = re.compile(r'["\\\n]')


class TooLarge(Refused):
    """An element over 16 MiB."""


class BadByte(Refused):
    """A byte that is not UTF-8, at `pos`."""

    pos: int = 0


class Document:
    """The text of a file from the present element on: what lies before is let go."""

    def __init__(self, source: Source, file: BinaryIO) -> None:
        self.source = source
        self._file = file
        self._decoder = _Decoder(source)
        self.text = ""
        self.at = 0
        self.base = 0  # characters let go before `text`
        self.controls = False  # whether the last value may hold control characters
        self._seen = (0, 1)  # a position in `text`, and its line: lines are counted on from there
        self.ended = False
        self.broken = False

    def more(self) -> bool:
        """Read another piece; what lies before the position is let go."""
        if self.ended:
            return False
        held = len(self.text) - self.at
        raw = self._file.read(FIRST_CHUNK if not self.text else max(CHUNK, held))
        piece = self._decoder.decode(raw, not raw)
        if not raw:
            self.ended = True
            return False
        self._seen = (0, self.line_at(self.at))
        self.text = self.text[self.at :] + piece
        self.base += self.at
        self.at = 0
        return True

    @property
    def place(self) -> int:
        """Return the position counted from the file's begin, which `go` takes while its text is held."""
        return self.base + self.at

    def go(self, place: int) -> None:
        """Go to a place; to the first that is still held where that was let go."""
        self.at = max(0, place - self.base)

    def line_at(self, position: int) -> int:
        """Return the line (1-based) of a position in `text`."""
        at, line = self._seen
        if position < at:
            return line - self.text.count("\n", position, at)
        self._seen = (position, line + self.text.count("\n", at, position))
        return self._seen[1]

    def column_at(self, position: int) -> int:
        """Return the column (1-based) of a position in `text`."""
        return position - self.text.rfind("\n", 0, position)

    def peek(self) -> str:
        """Skip blanks and return the next character, empty at the end."""
        while True:
            self.at = BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def ahead(self, count: int) -> str:
        """Return the next characters, as many as there are."""
        while len(self.text) - self.at < count and self.more():
            pass
        return self.text[self.at : self.at + count]

    def value(self) -> Any:
        """Return the value at the position and go behind it; raises ValueError with positions in `text`."""
        self.peek()
        while True:
            try:
                value, end = parse(self.text, self.at)
            except ValueError as error:
                near_end = getattr(error, "pos", 0) > len(self.text) - 64 or "Unterminated" in str(error)
                if near_end and not self.ended:
                    if len(self.text) - self.at > MAX_LINE_BYTES:
                        raise TooLarge("a row is larger than 16 MiB") from None
                    self.more()
                    continue
                raise
            number = isinstance(value, int | float) and end == len(self.text)
            if number and self.more():
                continue  # its digits may go on in the next piece
            if self._decoder.bad:
                self._refuse_bytes(end)
            self.controls = self.text.find("\\u00", self.at, end) >= 0
            self.at = end
            return value

    def _refuse_bytes(self, end: int) -> None:
        found = BAD.search(self.text, self.at, end)
        if found is not None:
            error = BadByte(f"byte 0x{ord(found[0]) - 0xDC00:02X} is not UTF-8")
            error.pos = found.start()
            raise error

    def skip(self, most: int) -> bool:
        """Go to the comma or the bracket behind an element of a list, by brackets and quotes alone.

        Say whether it was found within `most` characters; else the position is as before, or the first that
        is still held. A line end inside a quoted text ends the text: its quote was left open.
        """
        start, at, quoted = self.place, self.at, False
        open_: list[str] = []
        while True:
            found = (_INSIDE if quoted else _OUTSIDE).search(self.text, at)
            if found is None:
                passed = self.base + max(at, len(self.text))
                if passed - start > most:
                    break
                if passed - self.place > MAX_LINE_BYTES:
                    self.at = len(self.text)
                if not self.more():
                    break
                at = passed - self.base  # an escaped character may stand in the next piece
                continue
            char, at = found[0], found.end()
            if char == "\\":
                at += 1
            elif quoted or char == '"':
                quoted = not quoted
            elif char in "{[":
                open_.append("}" if char == "{" else "]")
            elif open_:
                if char != "," and open_.pop() != char:
                    break
            elif char in ",]":  # a brace that closes nothing is passed over
                self.at = found.start()
                return True
        self.go(start)
        return False

    def find(self, pattern: re.Pattern[str], most: int = 4096) -> bool:
        """Go to the next match of a pattern no longer than `most`; say whether there is one."""
        while True:
            found = pattern.search(self.text, self.at)
            if found is not None and (found.end() < len(self.text) or self.ended):
                self.at = found.start()
                return True
            if found is None:
                self.at = max(self.at, len(self.text) - most)
            else:
                self.at = found.start()
            if not self.more():
                return found is not None


class _Decoder:
    """UTF-8 decoded piece by piece; other bytes become half characters (U+DC80 to U+DCFF), told by row.

    It refuses a file that is plainly of another encoding with EngineError DATA-01.
    """

    def __init__(self, source: Source) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._utf8 = Utf8(source)
        self._line, self._column = 1, 1
        self.bad = False

    def decode(self, raw: bytes, final: bool) -> str:
        """Return the text of the next bytes."""
        text = self._decoder.decode(raw, final)
        if not text.isascii():
            found = BAD.search(text)
            if found is not None:
                self._judge(text, found)
            self._utf8.sure = True
        last = text.rfind("\n")
        self._line += text.count("\n")
        self._column = len(text) - last if last >= 0 else self._column + len(text)
        return text

    def _judge(self, text: str, found: re.Match[str]) -> None:
        self.bad = True
        if self._utf8.sure or mostly_utf8(text[:MAX_LINE_BYTES].encode("utf-8", "surrogateescape")):
            return
        at, begin = found.start(), text.rfind("\n", 0, found.start())
        line = self._line + text.count("\n", 0, at)
        column = at - begin if begin >= 0 else self._column + at
        raw = text[max(0, at - 400) : at + 400].encode("utf-8", "surrogateescape")
        raise bad_byte(self._utf8.source, line, column, ord(found[0]) - 0xDC00, raw).as_error()
