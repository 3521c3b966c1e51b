"""Excel workbooks as rows: one sheet, streamed, every cell a value or a finding that names the cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from engine.data.options import ReadOptions
from engine.data.rows import Finding, Found, Row
from engine.data.source import Source
from engine.data.xlsx_book import ERRORS, Book, Sheet, refused
from engine.data.xlsx_cells import Bad, CellReader, letters
from engine.errors import EngineError
from engine.paths import show_name

SAMPLE_ROWS = 200
_CELL = re.compile(r"([A-Za-z]{1,3})([0-9]{1,7})")
_NUMBER = re.compile(r"\s*[-+$€]?[\d.,]+\s*%?\s*$")


@dataclass(frozen=True)
class Table:
    """The table of a sheet: its columns with their numbers from 0, and where its header stands.

    `header` is the line of the header, 0 without one; `titles` are the filled rows above it.
    """

    sheet: Sheet
    columns: tuple[tuple[int, str], ...]
    header: int
    titles: int

    @property
    def cells(self) -> dict[str, str]:
        """Return column name -> what stands before the line number in the name of a cell: "Sheet1!B"."""
        return {name: f"{show_name(self.sheet.name)}!{letters(at)}" for at, name in self.columns}


def look(source: Source, options: ReadOptions) -> Found:
    """Tell the sheets and the table of the one that is read; raises EngineError DATA-07, -08 or -12."""
    with _reading(source), Book(source) as book:
        seen = [s for s in book.sheets if not s.hidden]
        ordered = (*seen, *(s for s in book.sheets if s.hidden))
        parts = tuple(s.name for s in ordered)
        if options.part is not None:
            if options.part not in parts:
                raise _choose(source, ordered, f"has no sheet {show_name(options.part)}")
            table = _table(book, ordered[parts.index(options.part)], options.header)
        else:
            table = _first(source, book, seen, ordered, options.header)
        if table is None:
            raise source.refusal("has no rows.", "DATA-07", "Choose a sheet with at least one row.")
    remarks = []
    if options.part is None and len(parts) > 1:
        told = _told([s for s in ordered if s.name != table.sheet.name])
        text = f"the sheet {show_name(table.sheet.name, 40)} is read; the workbook also holds {told}."
        remarks.append(_report(source, "DATA-12", 1, text))
    if table.titles:
        text = f"{table.titles} lines above the header on line {table.header} are taken as a title."
        remarks.append(_report(source, "DATA-07", 1, text))
    return Found(parts, table.sheet.name, tuple(remarks), detail=table)


def rows(source: Source, found: Found) -> Iterator[Row | Finding]:
    """Yield the rows of the sheet; a cell that cannot be used makes its row a finding that names the cell.

    A workbook that is cut or damaged on the way ends with EngineError DATA-12, after the rows before it.
    """
    table: Table = found.detail
    reader = _Reader(source, table)
    line = 0
    with _reading(source), Book(source) as book:
        cells = CellReader(book)
        for line, values in cells.rows(table.sheet):
            each = reader.row(line, values)
            if each is not None:
                yield each
        yield from reader.reports(cells)


@contextmanager
def _reading(source: Source) -> Iterator[None]:
    try:
        yield
    except EngineError:
        raise
    except ERRORS as error:
        raise refused(source, error) from None


def _report(source: Source, code: str, line: int, text: str) -> Finding:
    return Finding(code, str(source.path), line, None, f"{source.name}: {text}", "", "report")


def _told(sheets: Sequence[Sheet]) -> str:
    return ", ".join(show_name(s.name, 40) + " (hidden)" * s.hidden for s in sheets[:20]) or "none"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def _choose(source: Source, sheets: Sequence[Sheet], what: str) -> EngineError:
    error = source.refusal(f"{what} (its sheets: {_told(sheets)}).", hint="Choose a sheet with rows.")
    error.field = "data.part"
    return error


def _first(
    source: Source, book: Book, seen: Sequence[Sheet], ordered: Sequence[Sheet], header: bool | None
) -> Table | None:
    """Return the first visible sheet that holds a table with a header, else the first that holds anything."""
    if not seen:
        raise _choose(source, ordered, "shows no sheet" if ordered else "has no sheet")
    anything: Table | None = None
    for sheet in seen:
        table = _table(book, sheet, header)
        if table is not None and table.header and len(table.columns) > 1:
            return table
        anything = anything or table
    return anything


def _table(book: Book, sheet: Sheet, header: bool | None) -> Table | None:
    """Return the table of a sheet from its first rows, None where all of them are empty."""
    sample = list(islice(_filled(CellReader(book).rows(sheet)), SAMPLE_ROWS))
    if not sample:
        return None
    widths = Counter(len(values) for _, values in sample)
    usual = max(widths, key=lambda w: (widths[w], w))
    start = 0
    while header is not False and usual > 1 and start < len(sample) - 1 and len(sample[start][1]) == 1:
        start += 1  # a title above the table
    line, first = sample[start]
    named = _is_header(first) if header is None else header
    if not named:
        line = start = 0
    used = sorted({at for _, values in sample[start:] for at in values})
    names = [_name(first[at]) if named and at in first else "" for at in used]
    once = Counter(n for n in names if n)
    columns = tuple(
        (at, n if once[n] == 1 else f"column_{at + 1}") for at, n in zip(used, names, strict=True)
    )
    return Table(sheet, columns, line, start)


def _filled(rows: Iterator[tuple[int, dict[int, Any]]]) -> Iterator[tuple[int, dict[int, Any]]]:
    for line, values in rows:
        if values:
            yield line, values


def _name(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _is_header(first: dict[int, Any]) -> bool:
    """Say whether the first row names the columns: short texts, all different, no number, no sentence."""
    names = [value.strip() if isinstance(value, str) else "" for value in first.values()]
    if len(set(names)) != len(names) or not all(names):
        return False
    return not any(len(n) > 48 or _NUMBER.match(n) or n[-1] in ".?!。？！" or "\n" in n for n in names)


class _Reader:
    """Makes rows of the values of a sheet, and counts what is told at the end."""

    def __init__(self, source: Source, table: Table) -> None:
        self._source = source
        self._table = table
        self._names = dict(table.columns)
        self._cells = table.cells
        self._empty = 0
        self._last = table.header
        self._title = tuple(name for _, name in table.columns)

    def row(self, line: int, values: dict[int, Any]) -> Row | Finding | None:
        """Return the row, or the finding that refuses it; None for what is no row."""
        if not values or line <= self._table.header:
            return None
        self._empty += max(0, line - self._last - 1)
        self._last = line
        row: dict[str, Any] = dict.fromkeys(self._title, "")
        for at, value in values.items():
            name = self._names.get(at)
            if name is None:
                bad = Bad(
                    "a value in a column without a name.", "Name the column, or empty the cell.", "DATA-10"
                )
                return self._finding(line, at, bad)
            if isinstance(value, Bad):
                return self._finding(line, at, value)
            row[name] = value
        again = self._table.header and all(str(v).strip() == name for name, v in row.items())
        return None if again else Row(row, line, cells=self._cells)

    def _finding(self, line: int, at: int, bad: Bad) -> Finding:
        cell = f"{show_name(self._table.sheet.name)}!{letters(at)}{line}"
        message = f"{self._source.name}, cell {cell}: {bad.what}"
        return Finding(bad.code, str(self._source.path), line, at + 1, message, bad.hint)

    def reports(self, cells: CellReader) -> Iterator[Finding]:
        """Yield what is accepted and told: empty rows, merged cells, rows a person does not see."""
        if self._empty:
            text = f"{_count(self._empty, 'empty row')} between the others left out."
            yield _report(self._source, "DATA-07", self._table.header + 1, text)
        first, count = cells.merged
        if count:
            text = (
                f"{_count(count, 'merged range')} ({show_name(first, 20)}): the value is in the first cell."
            )
            place = _CELL.match(first)
            yield _report(self._source, "DATA-04", int(place[2]) if place else 1, text)
        line, count = cells.hidden
        if count:
            yield _report(
                self._source, "DATA-07", line, f"{_count(count, 'hidden row')} read like the others."
            )
