"""The cells of a sheet as values, row after row: text, number, truth value, date, or why there is none."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.data.xlsx_book import ERRORS, Book, Damaged, Sheet, Text, walk

MAX_COLUMNS = 16_384
MAX_ROWS = 1_048_576
MAX_DIGITS = 40
_REFERENCE = re.compile(r"([A-Za-z]{1,3})([0-9]{1,7})$")
_UNFIT = re.compile("[\x00\ud800-\udfff]")
_CORRECT = "Correct the cell, or leave such rows out."


@dataclass(frozen=True, slots=True)
class Bad:
    """A cell without a value that can be used: what is there instead, and what to do."""

    what: str
    hint: str = _CORRECT
    code: str = "DATA-04"


_UNCOUNTED = Bad(
    "a value expected, found a formula that was never worked out.",
    "Open the workbook in a spreadsheet program and save it, or put the value there.",
)


def letters(column: int) -> str:
    """Return the letters of a column counted from 0."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(65 + rest) + name
    return name


def column_of(reference: str) -> int:
    """Return the column, from 0, of a cell named as in B7; raises Damaged where it is none."""
    found = _REFERENCE.match(reference)
    column = 0
    for letter in found[1].upper() if found else "":
        column = column * 26 + ord(letter) - 64
    if not 0 < column <= MAX_COLUMNS:
        raise Damaged("a cell has a name that no cell can have")
    return column - 1


class CellReader:
    """Reads the cells of one sheet; only what one row holds is in memory.

    After the last row, `merged` are the merged ranges (first, number) and `hidden` the hidden rows.
    """

    def __init__(self, book: Book) -> None:
        self.merged: tuple[str, int] = ("", 0)
        self.hidden: tuple[int, int] = (0, 0)
        self._book = book
        self._text = Text()
        self._rows: list[tuple[int, dict[int, Any]]] = []
        self._row: dict[int, Any] = {}
        self._line = 0
        self._column = -1
        self._inside = False
        self._type = ""
        self._style = ""
        self._formula = self._worked_out = False
        self._dates = {str(number) for number in book.dates}
        self._columns: dict[str, int] = {}

    def rows(self, sheet: Sheet) -> Iterator[tuple[int, dict[int, Any]]]:
        """Yield (line, column from 0 -> value) for each row; raises what a damaged file shows as."""
        with self._book.part(sheet.path) as file:
            try:
                for _ in walk(file, self._start, self._end, self._text.add):
                    yield from self._rows
                    self._rows.clear()
            except ERRORS:
                yield from self._rows
                raise

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "c" and self._inside:
            self._type, self._style = attributes.get("t", "n"), attributes.get("s", "")
            self._formula = self._worked_out = False
            self._column = self._place(attributes.get("r"))
        elif name == "row" and self._inside:
            self._line = int(attributes.get("r", self._line + 1))
            if not 0 < self._line <= MAX_ROWS:
                raise Damaged("a row has a number that no row can have")
            self._row, self._column = {}, -1
            if attributes.get("hidden") in ("1", "true"):
                self.hidden = (self.hidden[0] or self._line, self.hidden[1] + 1)
        elif name == "sheetData":
            self._inside = True
        elif name == "mergeCell":
            self.merged = (self.merged[0] or attributes.get("ref", ""), self.merged[1] + 1)
        else:
            self._formula = self._formula or name == "f"
            self._worked_out = self._worked_out or name == "v"
            self._text.start(name)

    def _place(self, reference: str | None) -> int:
        if reference is None:
            if self._column + 1 >= MAX_COLUMNS:
                raise Damaged("a row has more cells than a row can have")
            return self._column + 1
        name = reference.rstrip("0123456789")
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = column_of(reference)
        return column

    def _end(self, name: str) -> None:
        if name == "c" and self._inside:
            value = self._value(self._text.take())
            if value is not None:
                self._row[self._column] = value
        elif name == "row" and self._inside:
            self._rows.append((self._line, self._row))
        elif name == "sheetData":
            self._inside = False
        else:
            self._text.end(name)

    def _value(self, raw: str) -> Any:
        kind = self._type
        if self._formula and not (raw or self._worked_out and kind == "str"):
            return _UNCOUNTED
        if not raw:
            return None
        if kind in ("s", "str", "inlineStr"):
            text = self._book.strings[int(raw)] if kind == "s" else raw
            if _UNFIT.search(text):
                return Bad("a NUL or half a character (a lone surrogate) stands in the text.", code="DATA-02")
            return text or None
        if kind == "n":
            return self._number(raw)
        if kind == "b":
            return raw in ("1", "true")
        if kind == "e":
            return Bad(f"a value expected, found the error {raw[:20]}.")
        try:
            return datetime.fromisoformat(raw)
        except ValueError:
            return Bad("a value expected, found a date that is none.")

    def _number(self, raw: str) -> Any:
        try:
            if len(raw) > MAX_DIGITS:
                raise ValueError
            number = float(raw) if "." in raw or "e" in raw.lower() else int(raw)
            if not math.isfinite(number):
                raise ValueError
        except ValueError:
            return Bad("a number expected, found what is none, or is too large.", code="DATA-02")
        if self._style not in self._dates:
            return number
        try:
            return self._book.date(number)
        except (ValueError, OverflowError):
            return Bad("a date expected, found a number that is none.")
