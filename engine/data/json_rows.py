"""JSON and JSON lines: strict parsing with the line of every row, streamed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from engine.data.rows import Finding, Row
from engine.data.source import MAX_LINE_BYTES, Source, bad_byte, byte_lines

MAX_DEPTH = 64
CHUNK = 1 << 20
LIST_NAMES = ("data", "train", "rows", "examples", "items", "samples", "records", "questions")
_BLANK = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NUL = re.compile(r"\\u0000|\x00")


class _Refused(ValueError):
    """What strict JSON does not allow but Python's parser takes."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused(f'the key "{twice}" stands twice in one object')
    return found


def _constant(name: str) -> Any:
    raise _Refused(f"{name} is no JSON value")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _Refused(f"the number {text} is too large")
    return value


DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float)


def parse(text: str, start: int = 0) -> tuple[Any, int]:
    """Return (value, end) of the JSON value at `start`; raises ValueError for all that is not strict JSON."""
    try:
        value, end = DECODER.raw_decode(text, start)
    except RecursionError:
        raise _Refused(f"values are nested deeper than {MAX_DEPTH}") from None
    except MemoryError:
        raise _Refused("the value is too large") from None
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise _Refused("a number has too many digits") from None
        raise
    _check(value, text, start, end)
    return value, end


def _check(value: Any, text: str, start: int, end: int) -> None:
    if text.count("{", start, end) + text.count("[", start, end) > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise _Refused(f"values are nested deeper than {MAX_DEPTH}")
    if _SURROGATE.search(text, start, end):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise _Refused("half a character (a lone surrogate) stands in the text") from None
    if _NUL.search(text, start, end):
        raise _Refused("a NUL character stands in the text")


def _depth(value: Any) -> int:
    deepest, open_ = 0, [(value, 1)]
    while open_:
        item, depth = open_.pop()
        deepest = max(deepest, depth)
        if isinstance(item, dict):
            open_ += [(v, depth + 1) for v in item.values() if isinstance(v, dict | list)]
        elif isinstance(item, list):
            open_ += [(v, depth + 1) for v in item if isinstance(v, dict | list)]
    return deepest


def explain(error: ValueError, text: str, position: int) -> str:
    """Return what is wrong at `position`, in words a person can act on."""
    if isinstance(error, _Refused):
        return str(error)
    here = text[position : position + 1]
    before = text[:position].rstrip()[-1:]
    message = getattr(error, "msg", str(error))
    if position >= len(text.rstrip()) or "Unterminated string" in message:
        return "the row ends in the middle (was the file copied to its end?)"
    if here in "}]" and before == ",":
        return "there is a comma too many"
    if here == "'":
        return "text stands in double quotes in JSON, not in single ones"
    if text.startswith(("True", "False", "None"), position):
        return "Python's True, False and None are true, false and null in JSON"
    if text.startswith(("//", "/*", "#"), position):
        return "JSON has no comments"
    if "Illegal trailing comma" in message:
        return "there is a comma too many"
    if "Invalid control character" in message:
        return "a line break or control character stands inside a text; it must be written as \\n"
    return {"Extra data": "something follows the end of the row"}.get(
        message, f"{message[:1].lower()}{message[1:]}"
    )


HINT = "Correct this line, or leave such rows out."


def lines(source: Source) -> Iterator[Row | Finding]:
    """Yield a row for each line of a JSONL file; a broken line is a finding and the next one is read."""
    with source.open() as file:
        for number, raw in byte_lines(source, file):
            if b"\r" in raw and b"\n" not in raw and raw.rstrip(b"\r").count(b"\r"):
                raise source.refusal(
                    "has the line ends of old Macs.", "DATA-02", "Save it with LF line ends.", 1
                )
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                yield bad_byte(source, number, raw, error)
                continue
            text = text.lstrip("\ufeff") if number > 1 else text
            if text.isspace():
                continue
            yield _line(source, number, text)


def _line(source: Source, number: int, text: str) -> Row | Finding:
    begin = _BLANK.match(text).end()  # type: ignore[union-attr]
    try:
        value, end = parse(text, begin)
        end = _BLANK.match(text, end).end()  # type: ignore[union-attr]
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
    except ValueError as error:
        position = getattr(error, "pos", begin)
        told = None if isinstance(error, _Refused) else position + 1
        return source.finding("DATA-02", number, f"{explain(error, text, position)}.", HINT, told)
    return as_row(source, value, number)


def as_row(source: Source, value: Any, line: int) -> Row | Finding:
    """Return a row, or the finding that its top is neither an object nor a text."""
    if isinstance(value, dict | str):
        return Row(value, line)
    kind = {list: "a list", bool: "true or false", int: "a number", float: "a number"}.get(
        type(value), "null"
    )
    return source.finding("DATA-04", line, f"a row is an object with named columns, found {kind}.", HINT)


class Document:
    """One JSON value over many lines, read in pieces: only what the present element needs is in memory."""

    def __init__(self, source: Source, file: BinaryIO) -> None:
        self.source = source
        self._file = file
        self._decode = _decoder(source)
        self.text = ""
        self.at = 0
        self._seen = (0, 1)  # a position in `text`, and its line: lines are counted on from there
        self.ended = False
        self.broken = False

    def more(self) -> bool:
        """Read another piece; what lies before the position is let go."""
        if self.ended:
            return False
        raw = self._file.read(max(CHUNK, len(self.text) - self.at))
        piece = self._decode(raw, not raw)
        if not raw:
            self.ended = True
            return False
        self._seen = (0, self.line_at(self.at))
        self.text = self.text[self.at :] + piece
        self.at = 0
        return True

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
            self.at = _BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def value(self) -> Any:
        """Return the value at the position and go behind it; raises ValueError with positions in `text`."""
        self.peek()
        while True:
            try:
                value, end = parse(self.text, self.at)
            except ValueError as error:
                near_end = getattr(error, "pos", 0) > len(self.text) - 64 or "Unterminated" in str(error)
                if near_end and len(self.text) - self.at <= MAX_LINE_BYTES and self.more():
                    continue
                raise
            number = isinstance(value, int | float) and end == len(self.text)
            if number and self.more():
                continue  # its digits may go on in the next piece
            self.at = end
            return value


def _decoder(source: Source) -> Any:
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    seen = 0

    def decode(raw: bytes, final: bool) -> str:
        nonlocal seen
        try:
            text = decoder.decode(raw, final)
        except UnicodeDecodeError as error:
            begin = error.object.rfind(b"\n", 0, error.start) + 1
            line = seen + error.object[: error.start].count(b"\n") + 1
            local = UnicodeDecodeError(
                "utf-8", error.object[begin:], error.start - begin, error.end - begin, error.reason
            )
            raise bad_byte(source, line, error.object[begin:], local).as_error() from None
        seen += text.count("\n")
        return text

    return decode


def document(source: Source) -> Iterator[Row | Finding]:
    """Yield the elements of a JSON array, or of the list that an object holds."""
    with source.open() as file:
        reader = Document(source, file)
        first = reader.peek()
        if first == "[":
            yield from _elements(reader)
            if not reader.broken and reader.peek():
                yield _broken(reader, json.JSONDecodeError("Extra data", reader.text, reader.at))
        elif first == "{":
            yield from _object(reader)
        else:
            yield _broken(reader, ValueError("a list or an object expected"))


def _elements(reader: Document) -> Iterator[Row | Finding]:
    """Yield the elements of the array at the position; a broken one ends the reading, with its line."""
    reader.at += 1
    if reader.peek() == "]":
        reader.at += 1
        return
    while True:
        reader.peek()
        line = reader.line_at(reader.at)
        try:
            value = reader.value()
        except ValueError as error:
            yield _broken(reader, error, line)
            return
        yield as_row(reader.source, value, line)
        mark = reader.peek()
        reader.at += 1
        if mark == "]":
            return
        if mark != ",":
            reader.at -= 1
            message = (
                "the list does not end (was the file copied to its end?)"
                if not mark
                else "a comma is missing"
            )
            yield _broken(reader, _Refused(message), reader.line_at(reader.at))
            return
        if reader.peek() == "]":
            yield _broken(reader, _Refused("there is a comma too many"), reader.line_at(reader.at))
            return


def _broken(reader: Document, error: ValueError, element: int | None = None) -> Finding:
    reader.broken = True
    position = getattr(error, "pos", reader.at)
    line = reader.line_at(position)
    what = explain(error, reader.text, position)
    if element is not None and element != line:
        what += f" (in the row that begins on line {element})"
    column = reader.column_at(position)
    hint = "Correct this line; what follows it was not read."
    return reader.source.finding("DATA-02", line, f"{what}.", hint, column)


def _object(reader: Document) -> Iterator[Row | Finding]:
    """Yield the rows of an object: the elements of its list of objects, else the object itself as one row."""
    start_line = reader.line_at(reader.at)
    reader.at += 1
    fields: dict[str, Any] = {}
    mark = ","
    while mark == "," and reader.peek() != "}":
        try:
            key = reader.value()
            if not isinstance(key, str) or reader.peek() != ":":
                raise _Refused("a name in double quotes and a colon expected")
            reader.at += 1
            if reader.peek() == "[" and _holds_rows(reader, key, first=not fields):
                yield from _elements(reader)
                return
            fields[key] = reader.value()
        except ValueError as error:
            yield _broken(reader, error)
            return
        mark = reader.peek()
        reader.at += mark == ","
    if reader.peek() != "}":
        yield _broken(reader, _Refused("the object does not end (was the file copied to its end?)"))
        return
    yield Row(fields, start_line)


def _holds_rows(reader: Document, key: str, first: bool) -> bool:
    """Say whether the list at the position is the file's list of rows: objects, not messages of one row."""
    while len(reader.text) - reader.at < 4096 and reader.more():
        pass
    inner = re.match(r"\[\s*\{\s*\"(\w+)\"", reader.text[reader.at : reader.at + 4096])
    return inner is not None and (
        key in LIST_NAMES or first and inner[1] not in ("role", "from", "content", "value")
    )
