"""Tables as text: delimiter and header guessed or chosen, quotes over many lines, ragged rows told."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from engine.data.lines import text_lines
from engine.data.rows import Finding, Row
from engine.data.source import MAX_LINE_BYTES, Source
from engine.data.table_form import Table
from engine.data.tally import Tally
from engine.errors import EngineError

MAX_FIELD_LINES = 100_000


def table_rows(source: Source, table: Table) -> Iterator[Row | Finding]:
    """Yield a row for each record; one that is ragged or holds a bad byte is a finding.

    A quote that never ends refuses the file with the line where it began (EngineError DATA-10).
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    tally = Tally(source)
    cursor = _Cursor(source, tally)
    reader = csv.reader(cursor, delimiter=table.delimiter, strict=True)
    first, blank = True, 0
    while True:
        cursor.begin()
        try:
            record = next(reader, None)
        except csv.Error as error:
            first = False
            yield cursor.problem or _mended(cursor, table, error, tally) or _bad_record(source, cursor, error)
            continue
        if record is None:
            break
        if cursor.problem is None and (not record or _is_blank(record, table)):
            blank += not first
            continue
        blank = blank and tally.passed(cursor.first, blank)
        header, first = first and table.header, False
        if cursor.problem is not None:
            yield cursor.problem
        elif not header and (item := _row(source, table, record, cursor, tally)) is not None:
            yield item
    yield from tally.findings()


def _is_blank(record: list[str], table: Table) -> bool:
    return len(record) == 1 < len(table.columns) and not record[0].strip()


def _row(
    source: Source, table: Table, record: list[str], cursor: _Cursor, tally: Tally
) -> Row | Finding | None:
    if len(record) != len(table.columns):
        found, expected = len(record), len(table.columns)
        hint = f"Put cells that hold {table.delimiter!r} into quotes, or correct the row."
        message = f"{found} {'cell' if found == 1 else 'cells'} found, {expected} expected."
        return source.finding("DATA-10", cursor.first, message, hint)
    if table.header and record[-1].strip() == table.columns[-1]:
        if tuple(cell.strip() for cell in record) == table.columns:
            tally.note("header", cursor.first)
            return None
    return Row(dict(zip(table.columns, record, strict=True)), cursor.first)


def _mended(cursor: _Cursor, table: Table, error: csv.Error, tally: Tally) -> Row | None:
    """Read a record with a stray quote as spreadsheets do, if that gives the right number of cells."""
    if "expected after" not in str(error):
        return None
    try:
        records = list(csv.reader(cursor.lines, delimiter=table.delimiter))
    except csv.Error:
        return None
    if len(records) != 1 or len(records[0]) != len(table.columns) or cursor.lines[-1].count('"') % 2:
        return None
    tally.note("mended", cursor.first)
    return Row(dict(zip(table.columns, records[0], strict=True)), cursor.first)


def _bad_record(source: Source, cursor: _Cursor, error: csv.Error) -> Finding:
    message = str(error)
    if "unexpected end of data" in message:
        raise cursor.never_closed("is never closed")
    if "field larger" in message:
        if cursor.last > cursor.first:
            raise cursor.never_closed("is not closed within 16 MiB")
        return source.finding("DATA-08", cursor.first, "a cell is larger than 16 MiB.", "Split it yourself.")
    what = "text follows a closing quote" if "expected after" in message else message
    return source.finding("DATA-10", cursor.first, f"{what}.", "Write a quote inside a cell twice.")


class _Cursor:
    """The file's lines with those of the present record: its `first` and `last` number, and what is wrong."""

    def __init__(self, source: Source, tally: Tally) -> None:
        self._source = source
        self._lines = text_lines(source, tally)
        self.lines: list[str] = []
        self.first = self.last = 0
        self.problem: Finding | None = None
        self._size = 0
        self._fresh = True

    def begin(self) -> None:
        """Note that the next line begins a record."""
        self._fresh = True

    def never_closed(self, how: str) -> EngineError:
        """Return the error that refuses the file for a quote that opened in the present record."""
        return EngineError(
            f"{self._source.name}, line {self.first}: a quote opened in the row of this line {how}.",
            "Close the quote, write a quote inside a cell twice, or choose another delimiter.",
            "DATA-10",
            file=str(self._source.path),
            line=self.first,
        )

    def __iter__(self) -> _Cursor:
        return self

    def __next__(self) -> str:
        number, text, problem = next(self._lines)
        if self._fresh:
            self.first, self._fresh = number, False
            self.lines, self._size, self.problem = [], 0, None
        self.last = number
        self.problem = self.problem or problem
        self._size += len(text)
        if number - self.first > MAX_FIELD_LINES:
            raise self.never_closed("is not closed within 100,000 lines")
        if self._size > MAX_LINE_BYTES and number > self.first:
            raise self.never_closed("is not closed within 16 MiB")
        text = text[:-2] + "\n" if text.endswith("\r\n") else text
        self.lines.append(text)
        return text
