"""Some rows from all over a large file: figures of the whole within a moment."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import BinaryIO

from engine.data.examples import Numbered, RowStream
from engine.data.json_values import parse
from engine.data.readers import estimate_rows
from engine.data.rows import Row
from engine.data.source import MAX_LINE_BYTES

# Files below this are read from the start: they are through in a moment anyway.
SPREAD_BYTES = 4 << 20
# So many lines are looked up for each that is taken.
LOOKED_UP = 3
STEP_BACK = 4 << 10


@dataclass
class Spread:
    """Rows taken from a stream; `estimate` is about how many the whole file has, once they are taken."""

    stream: RowStream
    count: int
    taken: int = 0
    last_line: int = 1
    ended: bool = False
    spread: bool = field(init=False)
    _density: float = 0.0

    def __post_init__(self) -> None:
        """See whether rows can be taken from anywhere in the file: they stand on a line each."""
        source = self.stream.layout.source
        self.spread = self.stream.layout.kind == "jsonl" and source.plain and source.size > SPREAD_BYTES

    def rows(self) -> Iterator[Numbered]:
        """Yield the rows of the sample; from the middle of a file, only those that can be used."""
        if self.spread:
            yield from self.stream.numbered(self._spread_rows())
            return
        for number, item in self.stream.conversations():
            self.last_line = getattr(item, "line", None) or self.last_line
            self.taken += 1
            yield number, item
            if self.taken >= self.count:
                return
        self.ended = True

    def _spread_rows(self) -> Iterator[Row]:
        """Take lines at evenly spaced places, each as likely as any other.

        A place falls into a line the more likely the longer it is; so of the lines found some are drawn with
        a weight of one by their length (M. Hansen, W. Hurwitz, 1943).
        """
        lines = list(self._lines())
        if not lines:
            return
        self._density = sum(1.0 / len(line) for line in lines) / len(lines)
        source = random.Random(len(lines))
        # Weighted sampling without replacement (P. Efraimidis, P. Spirakis, 2006).
        keys = [(source.random() ** len(line), i) for i, line in enumerate(lines)]
        for i in sorted(i for _, i in sorted(keys, reverse=True)[: self.count]):
            try:
                value, _ = parse(lines[i].decode("utf-8").lstrip("\ufeff").strip())
            except ValueError:
                continue
            if isinstance(value, dict):
                self.taken += 1
                yield Row(value, 1)

    def _lines(self) -> Iterator[bytes]:
        source = self.stream.layout.source
        wanted = LOOKED_UP * self.count
        length = source.size - source.start
        with source.raw() as file:
            last = -1
            for i in range(wanted):
                place = source.start + int((i + 0.5) * length / wanted)
                begin = _begin(file, place, source.start)
                file.seek(begin)
                line = file.readline(MAX_LINE_BYTES)
                if begin != last and line.strip():
                    yield line
                last = begin

    @property
    def estimate(self) -> int:
        """Return about how many rows the file has."""
        layout = self.stream.layout
        if self.ended:
            return self.taken
        if layout.rows_known is not None:
            return layout.rows_known
        if self.spread:
            return round((layout.source.size - layout.source.start) * self._density)
        return estimate_rows(layout.source, self.taken, self.last_line)


def _begin(file: BinaryIO | BufferedIOBase, place: int, start: int) -> int:
    """Return where the line begins that `place` falls into."""
    step, before = STEP_BACK, place
    while before > start and place - before < MAX_LINE_BYTES:
        after, before = before, max(start, before - step)
        file.seek(before)
        at = file.read(after - before).rfind(b"\n")
        if at >= 0:
            return before + at + 1
        step *= 2
    return before
