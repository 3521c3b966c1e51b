"""JSON lines as rows: strict, streamed, each with its line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from engine.data import nested
from engine.data.json_values import BLANK, FAULTS, MAX_DEPTH, Refused, explain, has_controls, parse, scan
from engine.data.lines import Utf8, line_pieces, too_long
from engine.data.rows import Finding, Row
from engine.data.source import MAX_LINE_BYTES, Source
from engine.data.tally import Tally

HINT = "Correct this line, or leave such rows out."
_CAREFUL = ("\\u", "\ufeff", *nested.MARKS)
_KINDS = {list: "a list", bool: "true or false", int: "a number", float: "a number"}


def lines(source: Source) -> Iterator[Row | Finding]:
    """Yield a row for each line of a JSONL file; a broken line is a finding and the next one is read.

    Raises EngineError DATA-01 where the file is of another encoding.
    """
    utf8, tally = Utf8(source), Tally(source)
    number, blank = 0, 0
    with source.open() as file:
        for piece in line_pieces(file):
            if piece is None:
                number += 1
                yield too_long(source, number)
                continue
            made, plain = _split(piece, utf8, number)
            for text in made:
                number += 1
                if plain and text[:1] == "{" and text.count("{") + text.count("[") <= MAX_DEPTH:
                    try:
                        value, end = scan(text, 0)
                    except FAULTS:
                        end = 0
                    if end == len(text) or end and text[end:] == "\r":
                        blank = blank and tally.passed(number, blank)
                        yield Row(value, number)
                        continue
                items = [text] if isinstance(text, Finding) else _line(source, number, text, tally)
                if items:
                    blank = blank and tally.passed(number, blank)
                    yield from items
                else:
                    blank += 1
    yield from tally.findings()


def _split(piece: bytes, utf8: Utf8, number: int) -> tuple[list[Any], bool]:
    """Return the lines of a piece (what is no UTF-8 as findings), and whether they need no careful look.

    Escaped characters, byte order marks and nested rows do.
    """
    try:
        text = piece.decode("utf-8")
    except UnicodeDecodeError:
        raws = piece.split(b"\n")
        raws = raws if raws[-1] else raws[:-1]
        return [utf8.decoded(line, raw) for line, raw in enumerate(raws, number + 1)], False
    utf8.sure = utf8.sure or not text.isascii()
    found = text.split("\n")
    if not found[-1]:
        found.pop()
    return found, not any(mark in text for mark in _CAREFUL)


def _line(source: Source, number: int, text: str, tally: Tally) -> list[Row | Finding]:
    """Return what one line gives with every check, nothing for a blank one."""
    if text.startswith("\ufeff"):
        tally.note("bom", number)
        text = text.lstrip("\ufeff")
    if not text or text.isspace():
        return []
    begin = BLANK.match(text).end()  # type: ignore[union-attr]
    try:
        value, end = parse(text, begin)
        end = BLANK.match(text, end).end()  # type: ignore[union-attr]
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
    except ValueError as error:
        position = getattr(error, "pos", begin)
        told = None if isinstance(error, Refused) else position + 1
        return [source.finding("DATA-02", number, f"{explain(error, text, position)}.", HINT, told)]
    if "\\u00" in text and has_controls(value):
        tally.note("control", number)
    return list(as_rows(source, value, number))


def as_rows(source: Source, value: Any, line: int) -> Iterator[Row | Finding]:
    """Yield the row that a value is, or the rows that are nested in it."""
    found = nested.unnest(value) if isinstance(value, dict) else None
    if found is None:
        yield as_row(source, value, line)
    else:
        yield from (Row(row, line) for row in found)


def as_row(source: Source, value: Any, line: int) -> Row | Finding:
    """Return a row, or the finding that its top is neither an object nor a text."""
    if isinstance(value, dict | str):
        return Row(value, line)
    kind = _KINDS.get(type(value), "null")
    return source.finding("DATA-04", line, f"a row is an object with named columns, found {kind}.", HINT)


def row_at(source: Source, offset: int, line: int) -> Row | Finding:
    """Read the one line that begins at a place in a `plain` source, as `index_lines` found it."""
    with source.raw() as file:
        file.seek(offset)
        raw = file.readline(MAX_LINE_BYTES + 1)
    if len(raw) > MAX_LINE_BYTES:
        return too_long(source, line)
    utf8 = Utf8(source)
    utf8.sure = True  # whether it refuses the file was told when the file was read
    text = utf8.decoded(line, raw.rstrip(b"\n"))
    items = [text] if isinstance(text, Finding) else _line(source, line, text, Tally(source))
    return items[0] if items else source.report("this line is blank.", line)
