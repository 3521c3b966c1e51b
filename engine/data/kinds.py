"""Noticing that a file holds rows of more than one kind, by a quick look at the columns of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.data.answer_layouts import TEXTS, find_label, find_text, find_translation
from engine.data.columns import NEEDED, Mapping, roots_of
from engine.data.mapping import STRONG
from engine.data.rows import Finding, Row
from engine.data.sample import Sample
from engine.errors import EngineError

WORDS = {
    "messages": "chat",
    "sharegpt": "chat (from and value)",
    "alpaca": "instruction",
    "prompt_completion": "question and answer",
    "preference": "preference pairs",
    "text": "text",
}
SHAPES = 512  # sets of columns looked at closely; beyond that a row of unknown columns is only a wrong row
RUNS = 8
SPLIT = "Split it into one file for each kind; or name the columns of one kind and leave out the other rows."


@dataclass
class _Kind:
    """One kind of rows: what it is called, where it was seen first and last, and how many rows it has."""

    words: str
    columns: str
    first: int = 0
    last: int = 0
    count: int = 0


class KindWatch:
    """Fed every row of a file; `found` says whether there are rows of another known kind than the mapping's.

    A row without a needed column is of another kind only where it has the columns of a known layout; a column
    missing now and then is not.
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
        self._runs: list[list[Any]] = []

    @property
    def found(self) -> bool:
        """Say whether rows of another kind were seen."""
        return bool(self._others)

    def see(self, row: Row) -> None:
        """Look at one row."""
        value, own = row.value, self._own
        if type(value) is dict and tuple(value) in self._fit:
            for column in self._needed:
                if value[column] is None:
                    break
            else:
                own.count += 1
                own.last = row.line
                if self._now is not own:
                    self._begin(own, row.line)
                return
        kind = self._kind_of(value)
        if kind is not None:
            kind.count += 1
            kind.last = row.line
            if self._now is not kind:
                self._begin(kind, row.line)

    def _begin(self, kind: _Kind, line: int) -> None:
        kind.first = kind.first or line
        if self._now is not None and self._runs and len(self._runs) <= RUNS:
            self._runs[-1][2] = self._now.last if self._now is not kind else line
        self._now = kind
        if len(self._runs) < RUNS:
            self._runs.append([kind, line, 0])

    def _kind_of(self, value: Any) -> _Kind | None:
        if isinstance(value, str):
            return self._own if self._texts else self._other("text", "")
        if self._texts:
            return self._known(value)
        roots = roots_of(self._mapping, value)
        needed = [root for role in NEEDED[self._mapping.format] for root in roots.get(role, ())]
        if all(column in value for column in needed):
            if all(value[column] is not None for column in needed):
                if len(self._fit) < SHAPES and (not self._fit or tuple(needed) == self._needed):
                    self._needed = tuple(needed)
                    self._fit.add(tuple(value))
                return self._own
        return self._known(value)

    def _known(self, value: Any) -> _Kind | None:
        """Return the other known kind of a row, None where it is none."""
        shape = tuple((key, type(item)) for key, item in value.items() if item is not None)
        if shape in self._shapes:
            return self._shapes[shape]
        if len(self._shapes) >= SHAPES:
            return None
        there = {key: item for key, item in value.items() if item is not None}
        sample = Sample([there])
        roots = {root for found in roots_of(self._mapping, there).values() for root in found}
        # A text alone, or with a label, says something only of a row that has none of the mapping's columns.
        finders = STRONG if roots & set(there) else (*STRONG, find_label, find_translation, _find_named_text)
        made = next((m for m in (find(sample) for find in finders) if m is not None), None)
        kind = None
        if made is not None and made.columns != self._mapping.columns:
            kind = self._other(WORDS[made.format], _columns(made))
        self._shapes[shape] = kind
        return kind

    def _other(self, words: str, columns: str) -> _Kind:
        return self._others.setdefault(f"{words}/{columns}", _Kind(words, columns))

    def _kinds(self) -> list[_Kind]:
        kinds = [kind for kind in (self._own, *self._others.values()) if kind.count]
        return sorted(kinds, key=lambda kind: kind.first)

    def _called(self, kind: _Kind) -> str:
        alike = [other for other in self._kinds() if other.words == kind.words]
        return f"{kind.words} ({kind.columns})" if len(alike) > 1 and kind.columns else kind.words

    def as_finding(self) -> Finding:
        """Return what is said of the file; the line is the first of the second kind."""
        kinds = self._kinds()
        if len(self._runs) <= min(len(kinds), RUNS - 1):
            parts = []
            for i, (kind, first, last) in enumerate(self._runs):
                if i == len(self._runs) - 1:
                    parts.append(f"from {first:,} {self._called(kind)}")
                elif last > first:
                    parts.append(f"lines {first:,}-{last:,} {self._called(kind)}")
                else:
                    parts.append(f"line {first:,} {self._called(kind)}")
            listed = ", ".join(parts)
        else:
            listed = "; ".join(
                f"{self._called(kind)} ({rows(kind.count)}, first on line {kind.first:,})"
                for kind in kinds[:RUNS]
            )
        return Finding(
            "DATA-03",
            self._file,
            kinds[1].first if len(kinds) > 1 else kinds[0].first if kinds else 1,
            None,
            f"{self._name} holds {len(kinds)} kinds of rows: {listed}.",
            SPLIT,
        )

    def as_error(self) -> EngineError:
        """Return it as the error that refuses the file."""
        error = self.as_finding().as_error()
        error.field = "data.columns"
        return error


def _find_named_text(sample: Sample) -> Mapping | None:
    return find_text(sample) if any(name in sample.names for name in TEXTS) else None


def rows(count: int) -> str:
    """Return `1 row`, `2 rows`."""
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _columns(mapping: Mapping) -> str:
    needed = NEEDED[mapping.format]
    return ", ".join(mapping.columns[role] for role in needed if role in mapping.columns)
