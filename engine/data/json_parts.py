"""JSON documents as rows: the elements of a list, of a list that an object holds, or the object itself."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.data import nested
from engine.data.json_document import BadByte, Document, TooLarge
from engine.data.json_rows import as_rows
from engine.data.json_values import Refused, explain, has_controls
from engine.data.rows import Finding, Row
from engine.data.source import MAX_LINE_BYTES, Source
from engine.data.tally import Tally
from engine.errors import EngineError
from engine.paths import show_name

LIST_NAMES = ("data", "train", "rows", "examples", "items", "samples", "records", "questions")
MAX_FIELDS = 64 << 20
# Lists that a row has itself, and texts that only a row has.
_OF_A_ROW = ("role", "from", "content", "value", "speaker")
_TEXTS = ("instruction", "prompt", "question", "input", "text", "context", "output", "answer", "completion")
_LIST = re.compile(r'\[\s*\{\s*"((?:[^"\\]|\\.){1,80})"')
_FIRST_KEY = re.compile(r'\{\s*"((?:[^"\\\n]|\\.){1,80})"\s*:')


@dataclass
class _Reading:
    """What one reading shares: the list that is read, those that were passed, what is told at the end.

    `landed`: where the position is, at a "row", "behind" one, or nowhere (empty).
    """

    reader: Document
    tally: Tally
    part: str | None
    passed: list[str] = field(default_factory=list)
    landed: str = ""
    key: str | None = None  # the first key of the rows, and all keys of the last sound one
    keys: frozenset[str] = frozenset()
    failures: int = 0


def document(source: Source, part: str | None = None) -> Iterator[Row | Finding]:
    """Yield the elements of a JSON array, or of the list `part` that an object holds.

    A broken element is a finding and the next one is read. Raises EngineError DATA-01 for another encoding.
    """
    with source.open() as file:
        reader = Document(source, file)
        work = _Reading(reader, Tally(source), part)
        first = True
        while (mark := reader.peek()) and not reader.broken:
            if not first and mark not in "{[":
                error = json.JSONDecodeError("Extra data", reader.text, reader.at)
                yield _broken(reader, error, None, "Remove it, or put it into the list.")
                break
            if not first:
                work.tally.note("joined", reader.line_at(reader.at))
            first = False
            yield from _elements(work) if mark == "[" else _object(work)
        yield from work.tally.findings()
        if work.passed:
            yield _not_read(source, work.passed)


def _not_read(source: Source, names: Sequence[str]) -> Finding:
    listed = ", ".join(f'"{show_name(name)}"' for name in dict.fromkeys(names))
    return source.report(
        f"the lists {listed} were not read.", code="DATA-12", hint="Choose the list with the rows."
    )


def _elements(work: _Reading) -> Iterator[Row | Finding]:
    """Yield the elements of the array at the position, and go behind it."""
    reader = work.reader
    reader.at += 1
    if reader.peek() == "]":
        reader.at += 1
        return
    work.landed = "row"
    while work.landed:
        yield from _element(work) if work.landed == "row" else _between(work)


def _element(work: _Reading) -> Iterator[Row | Finding]:
    """Yield what the element at the position gives; a broken one is passed over."""
    reader = work.reader
    reader.peek()
    line = reader.line_at(reader.at)
    if work.key is None and (found := _FIRST_KEY.match(reader.ahead(256))):
        work.key = found[1]
    try:
        value = reader.value()
    except ValueError as error:
        yield _passed_over(work, error, line)
        return
    if isinstance(value, dict):
        work.keys = frozenset(value)
    if reader.controls and has_controls(value):
        work.tally.note("control", line)
    work.landed = "behind"
    yield from as_rows(reader.source, value, line)


def _between(work: _Reading) -> Iterator[Finding]:
    """Go from behind an element to the next one or behind the list."""
    reader = work.reader
    mark = reader.peek()
    work.landed = "row"
    if mark == ",":
        reader.at += 1
        if reader.peek() != "]":
            return
        yield _broken(reader, Refused("there is a comma too many"), None, "Remove the last comma.")
        mark = "]"
    if mark == "]":
        reader.at += 1
        work.landed = ""
    elif not mark:
        what = "the list does not end (was the file copied or downloaded to its end?)"
        yield _broken(reader, Refused(what), None, "Get the whole file, or close the list.")
        reader.broken, work.landed = True, ""
    elif mark in '{["':
        yield _broken(reader, Refused("a comma is missing"), None, "Put a comma between two rows.")
    else:
        yield _passed_over(work, Refused(f"a comma or the end of the list expected, {mark!r} found"), None)


def _passed_over(work: _Reading, error: ValueError, line: int | None) -> Finding:
    """Return the finding of what is broken, with the position at the next row."""
    reader = work.reader
    code = (
        "DATA-08" if isinstance(error, TooLarge) else "DATA-01" if isinstance(error, BadByte) else "DATA-02"
    )
    finding = _broken(reader, error, line, "", code)
    work.landed = _next(work, reader.base + getattr(error, "pos", reader.at))
    if not work.landed:
        reader.broken = True
        return replace(finding, hint="Correct this line; what follows it was not read.")
    on = reader.line_at(reader.at)
    return replace(finding, hint=f"Correct this line, or leave such rows out; reading went on at line {on}.")


def _next(work: _Reading, fault: int) -> str:
    """Go on behind a broken element; return where the position is ("row", "behind"), empty for nowhere.

    By its brackets, if what follows is a row; else to the next text that begins like the other rows: behind
    the fault at once, before it only for a whole row. The tries are bounded, so that the work stays linear.
    """
    reader, begin = work.reader, work.reader.place
    most = MAX_LINE_BYTES if work.failures < 8 else 1 << 16 if work.failures < 1000 else 0
    if work.failures == 0:
        most = sys.maxsize
    if most and reader.skip(most):
        if reader.text[reader.at] == "]":
            if reader.ahead(200)[1:].lstrip()[:1] in ("", ",", "}", "{", "["):
                return "behind"
        elif _sound(work):
            return "row"
        reader.go(begin)
    work.failures += 1
    if work.key is None:
        return ""
    pattern = re.compile(r'\{\s{0,64}"' + re.escape(work.key) + r'"\s{0,64}:')
    reader.at += 1
    while reader.find(pattern):
        if reader.place >= fault or _whole(work):
            return "row"
        reader.at += 1
    return ""


def _sound(work: _Reading) -> bool:
    """Go behind the comma at the position; say whether a row begins there."""
    reader = work.reader
    reader.at += 1
    mark = reader.peek()
    found = _FIRST_KEY.match(reader.ahead(256))
    if found is None:
        return mark == "[" and work.key is None
    return found[1] == work.key or _whole(work, any_keys=True)


def _whole(work: _Reading, any_keys: bool = False) -> bool:
    """Say whether a row with the keys of the others stands at the position, and stay there."""
    reader, place = work.reader, work.reader.place
    try:
        value = reader.value()
    except ValueError:
        return False
    reader.go(place)
    return isinstance(value, dict) and (any_keys or work.keys == frozenset(value))


def _broken(
    reader: Document, error: ValueError, element: int | None, hint: str, code: str = "DATA-02"
) -> Finding:
    position = getattr(error, "pos", reader.at)
    line = reader.line_at(position)
    what = explain(error, reader.text, position)
    if element is not None and element != line:
        what += f" (in the row that begins on line {element})"
    return reader.source.finding(code, line, f"{what}.", hint, reader.column_at(position))


def _object(work: _Reading) -> Iterator[Row | Finding]:
    """Yield the rows of an object: the elements of its list, else the object itself as one row or several."""
    reader = work.reader
    line, begin, read = reader.line_at(reader.at), reader.place, False
    reader.at += 1
    fields: dict[str, Any] = {}
    mark = ","
    while mark == "," and reader.peek() != "}":
        try:
            key = _key(reader)
            if reader.peek() == "[" and (key == work.part or _holds_rows(reader, key, fields)):
                work.part = work.part or key
                found = _elements(work)
                if key == work.part:
                    read = True
                    yield from found
                else:
                    work.passed.append(key)
                    for _ in found:
                        pass
                    work.key = None
                if reader.broken:
                    return
            else:
                fields[key] = reader.value()
                if reader.place - begin > MAX_FIELDS and not read:
                    raise TooLarge("the object is larger than 64 MiB and holds no list of rows")
        except ValueError as error:
            yield _broken(reader, error, None, "Correct this line; what follows it was not read.")
            reader.broken = True
            return
        mark = reader.peek()
        reader.at += mark == ","
    if reader.peek() != "}":
        what = "the object does not end (was the file copied or downloaded to its end?)"
        yield _broken(reader, Refused(what), None, "Get the whole file, or close the object.")
        reader.broken = True
        return
    reader.at += 1
    if not read:
        yield from _fields(work, fields, line)


def _key(reader: Document) -> str:
    key = reader.value()
    if not isinstance(key, str) or reader.peek() != ":":
        raise Refused("a name in double quotes and a colon expected")
    reader.at += 1
    return key


def _fields(work: _Reading, fields: dict[str, Any], line: int) -> Iterator[Row | Finding]:
    """Yield the rows of an object that holds no list of rows."""
    source = work.reader.source
    if work.part is not None and work.part not in fields and work.passed:
        raise no_such_part(source, work.part, work.passed)
    made = nested.spread(fields)
    if made is None:
        yield from as_rows(source, fields, line)
        return
    rows, why = made
    for row in rows:
        yield Row(row, line)
    yield source.report(why, line)


def _holds_rows(reader: Document, key: str, fields: dict[str, Any]) -> bool:
    """Say whether the list at the position is a list of rows: objects, not messages of one row."""
    inner = _LIST.match(reader.ahead(4096))
    if inner is None:
        return False
    return (
        key in LIST_NAMES
        or inner[1] not in _OF_A_ROW
        and not any(isinstance(fields.get(t), str) for t in _TEXTS)
    )


def no_such_part(source: Source, part: str, parts: Sequence[str]) -> EngineError:
    """Return the error that refuses a file which has other parts than the one that was chosen."""
    listed = ", ".join(f'"{show_name(name)}"' for name in dict.fromkeys(parts))
    error = source.refusal(f'holds no list "{show_name(part)}".', hint=f"Choose one of {listed}.", line=1)
    error.field = "data.part"
    return error


def look(source: Source, part: str | None) -> tuple[tuple[str, ...], str | None]:
    """Return the lists of rows that the first text of an object shows, and the one that is read.

    Raises EngineError DATA-12 where one of several must be chosen, or where the chosen one is not there.
    """
    parts = tuple(_lists_in(source))
    if part is not None:
        if part in parts or not parts or not source.whole:
            return parts, part if parts else None
        raise no_such_part(source, part, parts)
    usual = next((name for name in LIST_NAMES if name in parts), None)
    if len(parts) < 2 or usual is not None:
        return parts, usual or next(iter(parts), None)
    listed = ", ".join(f'"{show_name(name)}"' for name in parts)
    error = source.refusal(
        f"holds {len(parts)} lists: {listed}.", hint="Choose the one with the rows.", line=1
    )
    error.field = "data.part"
    raise error


def _lists_in(source: Source) -> Iterator[str]:
    head = source.head.decode("utf-8", "replace").encode()
    reader = Document(source, io.BytesIO(head))
    if reader.peek() != "{":
        return
    reader.at += 1
    fields: dict[str, Any] = {}
    while reader.peek() not in ("}", ""):
        try:
            key = _key(reader)
            if reader.peek() == "[" and _holds_rows(reader, key, fields):
                yield key
                if not reader.skip(len(head)):
                    return
            else:
                fields[key] = reader.value()
        except ValueError:
            return
        if reader.peek() != ",":
            return
        reader.at += 1
