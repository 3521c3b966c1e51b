"""Noticing that a file holds rows of more than one kind, by a quick look at the columns of each row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from engine.data.answer_layouts import TEXTS, find_label, find_text, find_translation
from engine.data.columns import NEEDED, Mapping, roots_of
from engine.data.mapping import STRONG
from engine.data.rows import Finding, Row
from engine.data.sample import Sample
from engine.errors import EngineError
from engine.paths import show_name

WORDS = {
    "messages": "chat",
    "sharegpt": "chat (from and value)",
    "alpaca": "instruction",
    "prompt_completion": "question and answer",
    "preference": "preference pairs",
    "text": "text",
}
SHAPES = 512  # sets of columns looked at closely; beyond that a row of unknown columns is only a wrong row
RUNS = 8  # stretches of one kind whose lines are told; kinds that take turns more often are counted
SPLIT = "Split it into one file for each kind; or name the columns of one kind and leave out the other rows."


@dataclass
class _Kind:
    """One kind of rows: what it is called, where it was seen first and last, and how many rows it has."""

    words: str
    columns: str
    first: int = 0
    last: int = 0
    count: int = 0
    file: str = ""
    order: int = 0


@dataclass
class _Run:
    """A stretch of rows of one kind, by its first and last line."""

    kind: _Kind
    first: int
    last: int = 0


class KindWatch:
    """Fed every row of a file; `found` says whether there are rows of another known kind than the mapping's.

    A row without a needed column is of another kind only where it has the columns of a known layout; a column
    missing now and then is not, nor is a row that is no object.
    """

    def __init__(self, mapping: Mapping, file: str = "", name: str = "") -> None:
        self._mapping, self._file, self._name = mapping, file, name or file
        self._texts = mapping.format == "text" and not mapping.columns
        self._own = _Kind(WORDS[mapping.format], _columns(mapping))
        self._others: dict[str, _Kind] = {}
        self._shapes: dict[tuple[Any, ...], _Kind | None] = {}
        self._fit: set[tuple[str, ...]] = set()
        self._needed: tuple[str, ...] = ()
        self._now: _Kind | None = None
        self._runs: list[_Run] = []
        self._changes = 0

    @property
    def found(self) -> bool:
        """Say whether rows of more than one kind were seen."""
        return bool(self._others) and len(self._kinds()) > 1

    def see(self, row: Row) -> None:
        """Look at one row."""
        value = row.value
        if type(value) is dict and tuple(value) in self._fit:
            for column in self._needed:
                if value[column] is None:
                    break
            else:
                self._count(self._own, row)
                return
        kind = self._kind_of(value)
        if kind is not None:
            self._count(kind, row)

    def _count(self, kind: _Kind, row: Row) -> None:
        if kind is not self._now:
            self._begin(kind, row)
        kind.count += 1
        kind.last = row.line

    def _begin(self, kind: _Kind, row: Row) -> None:
        if not kind.count:
            kind.first, kind.file, kind.order = row.line, row.file, self._changes
        if self._now is not None and self._changes <= RUNS:
            self._runs[-1].last = self._now.last
        if self._changes < RUNS:
            self._runs.append(_Run(kind, row.line))
        self._changes += 1
        self._now = kind

    def _kind_of(self, value: Any) -> _Kind | None:
        if isinstance(value, str):
            return self._own if self._texts else None
        if self._texts:
            return self._known(value)
        roots = roots_of(self._mapping, value)
        needed = tuple(root for role in NEEDED[self._mapping.format] for root in roots.get(role, ()))
        if any(value.get(column) is None for column in needed):
            return self._known(value)
        if len(self._fit) < SHAPES and (not self._fit or needed == self._needed):
            self._needed = needed
            self._fit.add(tuple(value))
        return self._own

    def _known(self, value: Any) -> _Kind | None:
        """Return the other known kind of a row, None where it is none."""
        shape = tuple((key, type(item)) for key, item in value.items() if item is not None)
        if shape not in self._shapes:
            if len(self._shapes) >= SHAPES:
                return None
            self._shapes[shape] = self._recognised({k: v for k, v in value.items() if v is not None})
        return self._shapes[shape]

    def _recognised(self, there: dict[str, Any]) -> _Kind | None:
        sample = Sample([there])
        roots = {root for found in roots_of(self._mapping, there).values() for root in found}
        # A text alone, or with a label, says something only of a row that has none of the mapping's columns.
        weak = () if roots & set(there) else (find_label, find_translation, _find_named_text)
        made = next((m for m in (find(sample) for find in (*STRONG, *weak)) if m is not None), None)
        if made is None or made.columns == self._mapping.columns:
            return None
        words, columns = WORDS[made.format], _columns(made)
        return self._others.setdefault(f"{words}/{columns}", _Kind(words, columns))

    def _kinds(self) -> list[_Kind]:
        kinds = [kind for kind in (self._own, *self._others.values()) if kind.count]
        return sorted(kinds, key=lambda kind: kind.order)

    def as_finding(self) -> Finding:
        """Return what is said of the file; the line is the first of the second kind."""
        kinds = self._kinds()
        alike = {k.words for k in kinds if sum(k.words == other.words for other in kinds) > 1}
        names = {id(k): f"{k.words} ({k.columns})" if k.words in alike else k.words for k in kinds}
        if self._changes == len(kinds) <= RUNS and not any(kind.file for kind in kinds):
            listed = ", ".join(f"{_lines(run)} {names[id(run.kind)]}" for run in self._runs)
        else:
            listed = "; ".join(f"{names[id(kind)]} ({_counted(kind)})" for kind in kinds[:RUNS])
        second = kinds[1] if len(kinds) > 1 else self._own
        message = f"{self._name} holds {len(kinds)} kinds of rows: {show_name(listed, 600)}."
        return Finding("DATA-03", second.file or self._file, second.first or 1, None, message, SPLIT)

    def as_error(self) -> EngineError:
        """Return it as the error that refuses the file."""
        error = self.as_finding().as_error()
        error.field = "data.columns"
        return error


def _lines(run: _Run) -> str:
    if not run.last:
        return f"from {run.first:,}"
    return f"lines {run.first:,}-{run.last:,}" if run.last > run.first else f"line {run.first:,}"


def _counted(kind: _Kind) -> str:
    rows = "1 row" if kind.count == 1 else f"{kind.count:,} rows"
    where = f"in {show_name(PurePath(kind.file).name)} " if kind.file else ""
    return f"{rows}, first {where}on line {kind.first:,}"


def _find_named_text(sample: Sample) -> Mapping | None:
    return find_text(sample) if any(name in sample.names for name in TEXTS) else None


def _columns(mapping: Mapping) -> str:
    needed = NEEDED[mapping.format]
    return ", ".join(mapping.columns[role] for role in needed if role in mapping.columns)
