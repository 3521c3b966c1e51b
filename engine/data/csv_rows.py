"""Tables as text: delimiter and header guessed, quotes over many lines, ragged rows told."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from engine.data.rows import Finding, Row
from engine.data.source import MAX_LINE_BYTES, Source, text_lines
from engine.errors import EngineError

DELIMITERS = "\t,;|"
MAX_FIELD_LINES = 100_000
_NUMBER = re.compile(r"\s*[-+$€]?[\d.,]+\s*%?\s*$")


@dataclass(frozen=True)
class Table:
    """How a table is written; `header` is None where its first line is a row."""

    delimiter: str
    columns: tuple[str, ...]
    header: bool


def guess_table(sample: str, whole: bool, prefer: str = "") -> Table | None:
    """Return the table that some first lines make, None where no delimiter gives the same count of cells."""
    best: tuple[float, Table] | None = None
    for delimiter in DELIMITERS:
        records = _records(sample, delimiter, whole)
        if not records:
            continue
        counts = Counter(len(r) for r in records)
        width, agreeing = counts.most_common(1)[0]
        share = agreeing / len(records)
        if width < 2 or len(records[0]) < 2 or share < 0.8:
            continue
        score = share + (0.5 if delimiter == prefer else 0) + (0.1 if delimiter == "\t" else 0)
        if best is None or score > best[0]:
            best = (score, _table(delimiter, records))
    return best[1] if best else None


def _records(sample: str, delimiter: str, whole: bool) -> list[list[str]]:
    records: list[list[str]] = []
    reader = csv.reader(sample.splitlines(keepends=True), delimiter=delimiter, strict=True)
    while True:
        try:
            record = next(reader, None)
        except csv.Error:
            continue  # told when the rows are read; a record cut by the sample's end ends here too
        if record is None:
            return records if whole or len(records) < 2 else records[:-1]
        if record:
            records.append(record)


def _table(delimiter: str, records: list[list[str]]) -> Table:
    first = [cell.strip().lstrip("\ufeff") for cell in records[0]]
    header = _is_header(first)
    names = first if header else [f"column_{i + 1}" for i in range(len(first))]
    return Table(delimiter, tuple(names), header)


def _is_header(first: list[str]) -> bool:
    """Say whether the first line names the columns: short, all different, no number, no sentence."""
    if len(set(first)) != len(first) or not all(first):
        return False
    if any(len(c) > 48 or _NUMBER.match(c) or c[-1] in ".?!。？！" or "\n" in c for c in first):
        return False
    return True


def single_column(sample: str) -> Table:
    """Return the table of one column that a file named .csv without any delimiter holds."""
    records = [[line.strip()] for line in sample.split("\n") if line.strip()]
    return _table(",", records)


def table_rows(source: Source, table: Table) -> Iterator[Row | Finding]:
    """Yield a row for each record. A quote that never ends refuses the file with the line where it began."""
    csv.field_size_limit(MAX_LINE_BYTES)
    cursor = _Cursor(source)
    reader = csv.reader(cursor, delimiter=table.delimiter, strict=True)
    first = True
    while True:
        cursor.begin()
        try:
            record = next(reader, None)
        except csv.Error as error:
            first = False
            stray = "expected after" in str(error)
            yield (stray and _mended(cursor, table)) or _bad_record(source, cursor, error)
            continue
        if record is None:
            return
        line, header, first = cursor.first, first and table.header, False
        if not record or header:
            continue
        if len(record) != len(table.columns):
            found, expected = len(record), len(table.columns)
            hint = f"Put cells that hold {table.delimiter!r} into quotes, or correct the row."
            yield source.finding("DATA-10", line, f"{found} cells found, {expected} expected.", hint)
        elif tuple(cell.strip() for cell in record) != table.columns:
            yield Row(dict(zip(table.columns, record, strict=True)), line)


def _mended(cursor: _Cursor, table: Table) -> Row | None:
    """Read a record with a stray quote as spreadsheets do, if that gives the right number of cells."""
    records = list(csv.reader(cursor.lines, delimiter=table.delimiter))
    if len(records) != 1 or len(records[0]) != len(table.columns) or cursor.lines[-1].count('"') % 2:
        return None
    return Row(dict(zip(table.columns, records[0], strict=True)), cursor.first)


def _bad_record(source: Source, cursor: _Cursor, error: csv.Error) -> Finding:
    message = str(error)
    if "unexpected end of data" in message:
        raise EngineError(
            f"{source.name}, line {cursor.first}: a quote opened in the row of this line is never closed.",
            "Close the quote, or write a quote inside a cell twice.",
            "DATA-10",
            file=str(source.path),
            line=cursor.first,
        )
    if "field larger" in message:
        return source.finding("DATA-08", cursor.first, "a cell is larger than 16 MiB.", "Split it yourself.")
    what = "text follows a closing quote" if "expected after" in message else message
    return source.finding("DATA-10", cursor.first, f"{what}.", "Write a quote inside a cell twice.")


class _Cursor:
    """The file's lines with the number of the line where the present record began."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lines = text_lines(source)
        self.lines: list[str] = []
        self.first = 0
        self._number = 0
        self._fresh = True

    def begin(self) -> None:
        """Note that the next line begins a record."""
        self._fresh = True

    def __iter__(self) -> _Cursor:
        return self

    def __next__(self) -> str:
        self._number, text = next(self._lines)
        if self._fresh:
            self.first, self._fresh = self._number, False
            self.lines = []
        if self._number - self.first > MAX_FIELD_LINES:
            raise self._source.refusal(
                "holds a quote that is not closed within 100,000 lines.",
                "DATA-10",
                "Close the quote.",
                self.first,
            )
        text = text[:-2] + "\n" if text.endswith("\r\n") else text
        self.lines.append(text)
        return text
