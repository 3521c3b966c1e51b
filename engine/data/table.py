"""Every row of the data as a few numbers: what lengths, cuts, doubles and the split are decided from."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Table:
    """The rows that became tokens, in order; a column each (n rows).

    `source` counts the files, `row` the rows of a file, both from 0; `line` counts from 1. `length` is in
    tokens before any cut, `learnt` the trained ones (the first token of a row is never learnt: nothing
    predicts it), `first` the position of the first of them, `length` where there is none. `near` marks what
    is nearly the same as an earlier row, `raw` text that is trained as it is. `key` names equal token rows,
    `fold` texts that are equal but for case and blanks. Row i is trained in the `ranges[at[i]:at[i + 1]]`.
    """

    source: NDArray[np.int16]
    row: NDArray[np.int32]
    line: NDArray[np.int64]
    length: NDArray[np.int32]
    learnt: NDArray[np.int32]
    first: NDArray[np.int32]
    near: Bools
    raw: Bools
    key: NDArray[np.uint64]
    fold: NDArray[np.uint64]
    at: Ints
    ranges: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.length)

    @cached_property
    def repeated(self) -> Bools:
        """Say of each row whether an earlier one is the same, token for token."""
        return repeats(self.key)

    def learnt_beyond(self, limit: int) -> Ints:
        """Return how many trained tokens of each row stand at or after position `limit`."""
        begin, end = self.ranges[:, 0].astype(np.int64), self.ranges[:, 1].astype(np.int64)
        lost = np.clip(end - np.maximum(begin, max(1, limit)), 0, None)
        sums = np.concatenate([[0], np.cumsum(lost)])
        return np.asarray(sums[self.at[1:]] - sums[self.at[:-1]])

    def trained(self, index: int, start: int, end: int) -> Bools:
        """Return which of the tokens [start, end) of a row are trained."""
        mask = np.zeros(end - start, dtype=np.bool_)
        for first, last in self.ranges[self.at[index] : self.at[index + 1]]:
            mask[max(0, first - start) : max(0, last - start)] = True
        return mask


def repeats(keys: NDArray[np.uint64]) -> Bools:
    """Say of each 128-bit key (n x 2) whether the same stands earlier."""
    found = np.zeros(len(keys), dtype=np.bool_)
    if len(keys) > 1:
        order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: the first of equal ones stays first
        ordered = keys[order]
        found[order[1:]] = (ordered[1:] == ordered[:-1]).all(axis=1)
    return found


class TableMaker:
    """Gathers rows one by one in flat arrays; about 60 bytes a row."""

    def __init__(self) -> None:
        self._source, self._row, self._line = array("h"), array("i"), array("q")
        self._length, self._learnt, self._first = array("i"), array("i"), array("i")
        self._near, self._raw = bytearray(), bytearray()
        self._keys, self._folds = bytearray(), bytearray()
        self._at, self._ranges = array("q", [0]), array("i")

    def __len__(self) -> int:
        return len(self._length)

    def add(
        self,
        source: int,
        row: int,
        line: int,
        length: int,
        ranges: Sequence[tuple[int, int]],
        key: bytes,
        fold: bytes = b"",
        raw: bool = False,
    ) -> int:
        """Take one row (`key` and `fold` are of 16 bytes, `fold` may be empty); return its trained tokens."""
        learnt, first = 0, length
        for begin, end in ranges:
            if end > max(1, begin):
                learnt += end - max(1, begin)
                first = min(first, max(1, begin))
                self._ranges.extend((begin, end))
        self._at.append(len(self._ranges) // 2)
        self._source.append(source)
        self._row.append(row)
        self._line.append(line)
        self._length.append(length)
        self._learnt.append(learnt)
        self._first.append(first)
        self._raw.append(raw)
        self._near.append(0)
        self._keys += key
        self._folds += fold
        return learnt

    def mark_near(self, index: int) -> None:
        """Mark row `index` of the table as nearly the same as an earlier one."""
        self._near[index] = 1

    def done(self) -> Table:
        """Return the table of all that was taken."""
        return Table(
            source=np.array(self._source, dtype=np.int16),
            row=np.array(self._row, dtype=np.int32),
            line=np.array(self._line, dtype=np.int64),
            length=np.array(self._length, dtype=np.int32),
            learnt=np.array(self._learnt, dtype=np.int32),
            first=np.array(self._first, dtype=np.int32),
            near=np.array(self._near, dtype=np.bool_),
            raw=np.array(self._raw, dtype=np.bool_),
            key=np.frombuffer(bytes(self._keys), dtype=np.uint64).reshape(-1, 2),
            fold=np.frombuffer(bytes(self._folds), dtype=np.uint64).reshape(-1, 2),
            at=np.array(self._at, dtype=np.int64),
            ranges=np.array(self._ranges, dtype=np.int32).reshape(-1, 2),
        )
