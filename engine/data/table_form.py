"""How a table is written: its delimiter, and whether its first line names the columns."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass

from engine.data.options import ReadOptions
from engine.data.source import FOUND_OUT
from engine.errors import EngineError

DELIMITERS = "\t,;|"
_NUMBER = re.compile(r"\s*[-+$€]?[\d.,]+\s*%?\s*$")
_NAME = re.compile(r"[^\W\d][\w .-]{0,30}$")
_SPOKEN = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}


@dataclass(frozen=True)
class Table:
    """How a table is written; without `header` its first line is a row and the columns are numbered.

    `repeated`: names that stand twice in the header; the later ones got a number.
    """

    delimiter: str
    columns: tuple[str, ...]
    header: bool
    repeated: tuple[str, ...] = ()


def delimiter_of(given: str) -> str:
    """Return the one character that a person means; raises EngineError REC-01 for what cannot part cells."""
    made = _SPOKEN.get(given.strip().lower(), given) if given.strip() else given
    if len(made) != 1 or made in '"\r\n\0\ufeff' or "\ud800" <= made <= "\udfff":
        raise EngineError(
            f"data.delimiter: {given[:20]!r} cannot part the cells of a table.",
            "Allowed: one character, such as , or ; or | or tab.",
            "REC-01",
            field="data.delimiter",
        )
    return made


def guess_table(sample: str, whole: bool, prefer: str = "", options: ReadOptions = FOUND_OUT) -> Table | None:
    """Return the table that some first lines make, None where no delimiter gives the same count of cells."""
    if options.delimiter is not None:
        delimiter = delimiter_of(options.delimiter)
        return _table(delimiter, _records(sample, delimiter, whole), options.header)
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
            best = (score, _table(delimiter, records, options.header))
    return best[1] if best else None


def _records(sample: str, delimiter: str, whole: bool) -> list[list[str]]:
    records: list[list[str]] = []
    reader = csv.reader((line + "\n" for line in sample.split("\n")), delimiter=delimiter, strict=True)
    while True:
        try:
            record = next(reader, None)
        except csv.Error:
            continue  # told when the rows are read; a record cut by the sample's end ends here too
        if record is None:
            return records if whole or len(records) < 2 else records[:-1]
        if record:
            records.append(record)


def _table(delimiter: str, records: list[list[str]], chosen: bool | None) -> Table:
    first = [cell.strip().lstrip("\ufeff") for cell in records[0]] if records else [""]
    header = _is_header(first, records[1:]) if chosen is None else chosen
    if not header:
        return Table(delimiter, tuple(f"column_{i + 1}" for i in range(len(first))), False)
    named = [name or f"column_{i + 1}" for i, name in enumerate(first)]
    names: list[str] = []
    for name in named:
        free = (f"{name}_{n}" for n in range(2, len(named) + 2) if f"{name}_{n}" not in named + names)
        names.append(next(free) if name in names else name)
    repeated = tuple(name for name, n in Counter(named).items() if n > 1)
    return Table(delimiter, tuple(names), True, repeated)


def _is_header(first: list[str], rest: list[list[str]]) -> bool:
    """Say whether the first line names the columns: short, no number, no sentence, and nowhere a cell below.

    One name may be missing (a column of row numbers has none) or stand twice, if all look like names.
    """
    if any(len(c) > 48 or _NUMBER.match(c) or c and c[-1] in ".?!。？！" or "\n" in c for c in first):
        return False
    if len(set(first)) == len(first) and all(first):
        return True
    if not any(first) or first.count("") > 1 or not all(_NAME.match(c) for c in first if c):
        return False
    below = [(cell.strip(), at) for record in rest for at, cell in enumerate(record[: len(first)])]
    return bool(rest) and not any(first[at] and cell == first[at] for cell, at in below)


def single_column(sample: str, options: ReadOptions = FOUND_OUT) -> Table:
    """Return the table of one column that a file named .csv without any delimiter holds."""
    records = [[line.strip()] for line in sample.split("\n") if line.strip()]
    return _table(",", records, options.header)
