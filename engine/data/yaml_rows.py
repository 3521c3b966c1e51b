"""YAML as rows: dialogues as lists of texts, and lists of objects, with the line of every row.

Nothing in the file is followed or made: tags, anchors, aliases and merges refuse their row.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, BinaryIO

import yaml

from engine.data.options import ReadOptions
from engine.data.rows import Finding, Found, Row
from engine.data.source import MAX_LINE_BYTES, Source
from engine.errors import EngineError
from engine.paths import show_name

MAX_FILE_BYTES = 64 << 20
MAX_DOCUMENT_BYTES = 16 << 20
MAX_DEPTH = 64
LIST_NAMES = ("data", "train", "rows", "examples", "items", "samples", "records", "questions")
DIALOGUES = "conversations"
ABOUT = "categories"
MESSAGE_NAMES = ("role", "from", "content", "value")
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
HINT = "Correct this line, or leave such rows out."
_SPLIT = "Check that it is what you expect, then split it yourself."
_UNFIT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")
# The parser ends a line at these; they are text here, so it is given characters that no text has.
_ENDS = {"\x85": "\ufdd0", "\u2028": "\ufdd1", "\u2029": "\ufdd2"}
_HIDE, _SHOW = str.maketrans(_ENDS), str.maketrans({hidden: end for end, hidden in _ENDS.items()})
_ANY_END = re.compile(f"[{''.join(_ENDS)}]")
_LONE_CR = re.compile("\r(?!\n)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$")
_CONSTANTS = {**dict.fromkeys(("", "~", "null", "Null", "NULL")), "true": True, "True": True, "TRUE": True}
_CONSTANTS |= {"false": False, "False": False, "FALSE": False}
_WORDS = {
    "mapping values are not allowed": "a colon followed by a blank stands in a text without quotes",
    "cannot start any token": "a character that begins no text without quotes (a tab, @, ` or %)",
    "unexpected end of stream": "a quote or bracket is never closed",
    "did not find expected": "the line is not indented as those before it, or a text needs quotes",
    "could not find expected ':'": "a name without a colon, or a text that needs quotes",
}
Event = Any
_OPENS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSES = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def looks_like(head: str, suffix: str) -> bool:
    """Say whether a text is YAML with rows: by its suffix, or as it begins (a dialogue, a known list)."""
    if suffix in (".yml", ".yaml"):
        return True
    lines = [line for line in head[:4096].splitlines() if line.strip() and line[0] not in "#%"]
    lines = lines[1:] if lines[:1] == ["---"] else lines
    if len(lines) < 2:
        return False
    if re.match(r"- - \S", lines[0]):
        return re.match(r"  - \S|- - \S", lines[1]) is not None
    named = re.match(r"(?:conversations|categories):\s*$", lines[0])
    return named is not None and re.match(r"\s*- \S", lines[1]) is not None


def look(source: Source, options: ReadOptions) -> Found:
    """Tell which lists of objects or dialogues the file offers; raises EngineError DATA-07, -08 or -12."""
    if source.size > MAX_FILE_BYTES:
        raise _too_large(source, "", MAX_FILE_BYTES)
    parts = _offered(source.head.decode("utf-8", "ignore"))
    if parts is None:
        raise source.refusal("is empty.", "DATA-07", "Choose a file with at least one row.")
    if not parts:
        return Found()
    archive = source.unpacker
    wanted = None if archive is not None and options.part == archive.part else options.part
    if wanted is not None and wanted not in parts:
        told = ", ".join(show_name(p, 40) for p in parts)
        error = source.refusal(
            f"has no list {show_name(wanted, 40)} (its lists: {told}).", hint="Choose one."
        )
        error.field = "data.part"
        raise error
    part = wanted or next((n for n in (DIALOGUES, *LIST_NAMES) if n in parts), parts[0])
    others = ", ".join(show_name(p, 40) for p in parts if p != part)
    told = f"{source.name}: the list {show_name(part, 40)} is read; the file also holds {others}."
    remark = Finding("DATA-12", str(source.path), 1, None, told, "", "report")
    return Found(parts, part, (remark,) if others and wanted is None else ())


def _offered(head: str) -> tuple[str, ...] | None:
    """Return the lists of rows in the first document, as far as `head` tells; None if it is empty.

    A list has rows if it begins with an object or a list; one that begins with a message belongs to a row.
    """
    found: list[str] = []
    opened: list[str] = []  # what is open around the event, and how many nodes it has had
    counts: list[int] = []
    key, empty = "", True
    try:
        for event in yaml.parse(head, Loader=LOADER):
            if isinstance(event, _CLOSES):
                opened.pop()
                counts.pop()
            if not isinstance(event, yaml.NodeEvent):
                continue
            if not opened and not (empty and isinstance(event, yaml.MappingStartEvent)):
                return () if empty else tuple(found)
            empty = False
            if opened == ["map"] and counts[0] % 2 == 0:
                key = getattr(event, "value", "")
            elif opened == ["map", "list"] and counts[1] == 0 and isinstance(event, _OPENS):
                found.append(key)
            elif opened == ["map", "list", "map"] and counts[1:] == [1, 0] and key not in LIST_NAMES:
                if getattr(event, "value", "") in MESSAGE_NAMES:
                    found.remove(key)
            if counts:
                counts[-1] += 1
            if isinstance(event, _OPENS):
                opened.append("map" if isinstance(event, yaml.MappingStartEvent) else "list")
                counts.append(0)
            if len(opened) > MAX_DEPTH:
                break
    except yaml.YAMLError:
        empty = False  # the head may be cut anywhere; what is broken is told when the rows are read
    return None if empty else tuple(found)


def rows(source: Source, found: Found) -> Iterator[Row | Finding]:
    """Yield the rows in order; what is no YAML ends with EngineError DATA-02 after the rows before it."""
    with source.open() as file:
        text = _Text(source, file)
        reader = _Reader(source, text, found.part)
        try:
            yield from reader.rows()
        except yaml.YAMLError as error:
            raise reader.broken(error) from None


def _too_large(source: Source, what: str, limit: int) -> EngineError:
    return source.refusal(f"{what}is larger than {limit >> 20} MiB.", "DATA-08", _SPLIT)


class _Text:
    """The file's text for the parser, line by line, within bounds; knows where the parser's lines are."""

    def __init__(self, source: Source, file: BinaryIO) -> None:
        self._source = source
        self._file = file
        self._line = 0
        self._whole = 0
        self._document = 0
        self._hides = False
        self._ends: list[int] = []  # lines, as the parser counts, that end at no line feed

    def read(self, size: int = 1 << 16, /) -> str:
        """Return some more text, empty at the end."""
        pieces: list[str] = []
        length = 0
        while length < size and (raw := self._file.readline(MAX_LINE_BYTES + 1)):
            pieces.append(self._checked(raw))
            length += len(raw)
        return "".join(pieces)

    def line(self, mark: Any) -> int:
        """Return the line of the file, from 1, of a place the parser tells."""
        return int(mark.line) + 1 - bisect_right(self._ends, mark.line - 1)

    def _checked(self, raw: bytes) -> str:
        self._line += 1
        self._whole += len(raw)
        self._document = 0 if raw.startswith(b"---") else self._document + len(raw)
        if self._whole > MAX_FILE_BYTES:
            raise _too_large(self._source, "", MAX_FILE_BYTES)
        if self._document > MAX_DOCUMENT_BYTES:
            what = f"holds a document (on line {self._line}) that "
            raise _too_large(self._source, what, MAX_DOCUMENT_BYTES)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            column = len(raw[: error.start].decode("utf-8", "replace")) + 1
            what = f"byte 0x{raw[error.start]:02X} is not UTF-8."
            hint = "Save the file as UTF-8, or choose its encoding."
            raise self._source.finding("DATA-01", self._line, what, hint, column).as_error() from None
        if unfit := _UNFIT.search(text):
            what = f"the character U+{ord(unfit[0]):04X} may not stand in YAML."
            raise self._source.finding("DATA-02", self._line, what, HINT, unfit.start() + 1).as_error()
        for _ in _LONE_CR.finditer(text):
            self._ends.append(self._line - 1 + len(self._ends))
        if _ANY_END.search(text):
            self._hides = True
            return text.translate(_HIDE)
        return text

    def shown(self, text: str) -> str:
        """Return text of the parser as it stands in the file."""
        return text.translate(_SHOW) if self._hides else text


class _Reader:
    """Makes rows of the parser's events."""

    def __init__(self, source: Source, text: _Text, part: str | None) -> None:
        self._source = source
        self._text = text
        self._part = part
        self._events: Iterator[Event] = yaml.parse(text, Loader=LOADER)
        self._about: dict[str, Any] = {}
        self._fault: Finding | None = None

    def rows(self) -> Iterator[Row | Finding]:
        """Yield the rows of every document."""
        for event in self._events:
            if isinstance(event, yaml.SequenceStartEvent):
                yield from self._items(event)
            elif isinstance(event, yaml.MappingStartEvent) and self._part is not None:
                yield from self._object(event, self._part)
            elif isinstance(event, yaml.NodeEvent) and getattr(event, "value", None) != "":
                yield self._row(event)

    def broken(self, error: yaml.YAMLError) -> EngineError:
        """Return the error for text that is no YAML, in words a person can act on."""
        problem = str(getattr(error, "problem", None) or "it is no YAML")
        problem = next((words for begin, words in _WORDS.items() if begin in problem), show_name(problem))
        mark = getattr(error, "problem_mark", None)
        line, column = (self._text.line(mark), mark.column + 1) if mark is not None else (1, None)
        hint = "Correct this line; what follows it was not read."
        return self._source.finding("DATA-02", line, f"{problem}.", hint, column).as_error()

    def _object(self, start: Event, part: str) -> Iterator[Row | Finding]:
        """Yield the rows of the list that stands under `part` in an object."""
        self._about = {}
        self._fault = None
        self._plain(start)
        held = False
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            name = self._build(key, 2)
            event = next(self._events)
            if name == part and isinstance(event, yaml.SequenceStartEvent) and not held:
                held = True
                yield from self._told()
                yield from self._items(event)
                continue
            value = self._build(event, 2)
            if name == ABOUT and part == DIALOGUES:
                self._about = {ABOUT: value}
            yield from self._told()
        if not held:
            yield self._wrong(start, f"a list {show_name(part, 40)} expected, found none.", "DATA-04")

    def _told(self) -> Iterator[Finding]:
        if self._fault is not None:
            yield self._fault
            self._fault = None

    def _items(self, start: Event) -> Iterator[Row | Finding]:
        self._fault = None
        self._plain(start)
        yield from self._told()
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._row(event)

    def _row(self, event: Event) -> Row | Finding:
        """Return the row that begins with an event: an object, a text, a dialogue or a list of messages."""
        self._fault = None
        line = self._text.line(event.start_mark)
        value = self._build(event, 2)
        if self._fault is not None:
            return self._fault
        if isinstance(value, dict | str):
            return Row(value, line)
        kinds = {type(each) for each in value}
        if kinds == {str}:
            return Row({"conversation": value, **self._about}, line)
        if kinds == {dict}:
            return Row({"messages": value}, line)
        found = "lists" if list in kinds else "texts and objects" if kinds else "nothing"
        what = f"a row is an object, a text or a list of texts, found a list of {found}."
        hint = "Put a text that holds a colon and a blank into quotes, or leave such rows out."
        return self._wrong(event, what, "DATA-04", hint)

    def _build(self, event: Event, depth: int, typed: bool = False) -> Any:
        """Return the value of a node; what may not be there becomes the fault of its row.

        In a list, text stays as it is written; beside a name, numbers, true, false and null are values.
        """
        self._plain(event)
        if depth > MAX_DEPTH:
            raise self._wrong(event, f"values are nested deeper than {MAX_DEPTH}.").as_error()
        if isinstance(event, yaml.ScalarEvent):
            text = self._text.shown(event.value)
            return self._scalar(event, text) if typed and event.implicit[0] else text
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(each := next(self._events), yaml.SequenceEndEvent):
                items.append(self._build(each, depth + 1))
            return items
        fields: dict[str, Any] = {}
        while isinstance(event, yaml.MappingStartEvent):
            key = next(self._events)
            if isinstance(key, yaml.MappingEndEvent):
                break
            name = self._build(key, depth + 1)
            value = self._build(next(self._events), depth + 1, typed=True)
            if not isinstance(name, str):
                self._fault = self._fault or self._wrong(key, "a name is a text, found a list or an object.")
                continue
            if name == "<<" and key.implicit[0]:
                self._fault = self._fault or self._wrong(key, "a merge (<<) is not followed.")
            if name in fields:
                what = f'the key "{show_name(name, 40)}" stands twice in one object.'
                self._fault = self._fault or self._wrong(key, what)
            fields[name] = value
        return fields

    def _scalar(self, event: Event, text: str) -> Any:
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _NOT_FINITE.match(text):
            self._fault = self._fault or self._wrong(event, f"{text} is no number to learn from.")
        if not _NUMBER.match(text):
            return text
        try:
            number = float(text) if set(text) & set(".eE") else int(text)
        except ValueError:
            number = math.inf
        if math.isinf(number):
            self._fault = self._fault or self._wrong(event, "a number has too many digits.")
        return number

    def _plain(self, event: Event) -> None:
        """Note a tag, an anchor or an alias as the fault of the row."""
        if self._fault is not None:
            return
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            what = "an anchor or alias (& or *) is not followed; a text that begins so needs quotes."
            self._fault = self._wrong(event, what)
        elif event.tag is not None:
            what = (
                f"the tag {show_name(event.tag, 40)} is not followed; text that begins with ! needs quotes."
            )
            self._fault = self._wrong(event, what)

    def _wrong(self, event: Event, what: str, code: str = "DATA-02", hint: str = HINT) -> Finding:
        mark = event.start_mark
        return self._source.finding(code, self._text.line(mark), what, hint, mark.column + 1)
