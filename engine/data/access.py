"""One row of a file by its number, as the model will get it: for looking through the data."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.conversation import Conversation
from engine.data.examples import Numbered, RowStream, open_source_of
from engine.data.inspect import shown_rows
from engine.data.json_rows import row_at
from engine.data.lines import index_lines
from engine.data.rows import Finding
from engine.errors import EngineError

KEPT = 512


class RowReader:
    """Looks rows up in one file of a recipe's data; what was read lately is kept.

    A file of JSON lines is entered at the line itself; of others the rows are gone through up to the one
    that is wanted, on from the last one where that lies before it.
    """

    def __init__(self, data: Any, path: str, base_dir: str | Path | None = None) -> None:
        self._data, self._path, self._base = data, path, base_dir
        self._stream = self._open()
        self._lines: NDArray[np.int64] | None = None
        self._rows: Iterator[Numbered] = iter(())
        self._next = -1
        self._kept: OrderedDict[int, Conversation | Finding] = OrderedDict()

    def _open(self) -> RowStream:
        return open_source_of(self._data, self._path, self._base)

    @property
    def stream(self) -> RowStream:
        """Return the file with its mapping."""
        return self._stream

    def read(self, row: int, line: int) -> Conversation | Finding:
        """Return row `row` (from 0), which begins on line `line`; raises EngineError DATA-07 without it."""
        if row not in self._kept:
            found = self._by_line(row, line) if self._indexed else self._by_reading(row)
            self._kept[row] = found
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return self._kept[row]

    @property
    def _indexed(self) -> bool:
        layout = self._stream.layout
        return layout.kind == "jsonl" and layout.source.plain

    def _by_line(self, row: int, line: int) -> Conversation | Finding:
        source = self._stream.layout.source
        if self._lines is None:
            self._lines = index_lines(source)
        if not 0 < line <= len(self._lines):
            raise self._gone(row)
        found = row_at(source, int(self._lines[line - 1]), line)
        return next(self._stream.numbered(iter([found]), row))[1]

    def _by_reading(self, row: int) -> Conversation | Finding:
        if row < self._next or self._next < 0:
            self._stream = self._open()
            self._rows, self._next = self._stream.conversations(), 0
        for number, item in self._rows:
            if isinstance(item, Finding) and item.severity != "error":
                continue
            self._next = number + 1
            self._kept[number] = item
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            if number == row:
                return item
        raise self._gone(row)

    def _gone(self, row: int) -> EngineError:
        name = self._stream.layout.source.name
        return EngineError(
            f"{name} has no row {row + 1} any more.", "Read the data again.", "DATA-07", file=self._path
        )

    def show(self, row: int, line: int, model_folder: str | Path, max_length: int) -> dict[str, Any]:
        """Return the row as the model gets it, as `inspect.examples` tells it."""
        item = self.read(row, line)
        return next(shown_rows(iter([(row, item)]), self._stream, self._data, model_folder, max_length))
