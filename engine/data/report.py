"""What a preparation tells of its data: counts, lengths, and the first problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.rows import Finding

SHOWN = 100


@dataclass(frozen=True)
class Lengths:
    """Tokens an example, before anything is cut."""

    median: int = 0
    p95: int = 0
    p99: int = 0
    longest: int = 0
    total: int = 0

    @staticmethod
    def of(values: Sequence[int] | NDArray[Any]) -> Lengths:
        """Return the figures of some lengths."""
        if not len(values):
            return Lengths()
        array = np.asarray(values)
        median, p95, p99 = np.percentile(array, [50, 95, 99], method="higher")
        return Lengths(int(median), int(p95), int(p99), int(array.max()), int(array.sum()))


def rows_are(count: int) -> str:
    """Return `1 row is`, `2 rows are`."""
    return f"{count} row is" if count == 1 else f"{count} rows are"


@dataclass
class Report:
    """`tokens` and `supervised_tokens` are of training and validation together, as they will be used.

    `refused` counts rows that could not be used, `dropped` those left out for another reason (too long,
    twice, nothing to learn); `problems` holds the first 100 findings, `counts` the number of each code and
    `errors` of each code that refuses a row. `unplaced`: rows with a system message that the template has no
    place for.
    """

    rows: int = 0
    train_examples: int = 0
    validation_examples: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    train_supervised_tokens: int = 0
    truncated: int = 0
    cut_supervised_tokens: int = 0
    dropped: int = 0
    refused: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    overlap: int = 0
    unplaced: int = 0
    lengths: Lengths = Lengths()
    problems: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    template: str = ""

    def add(self, finding: Finding) -> None:
        """Keep a finding: all are counted, the first 100 shown."""
        self.counts[finding.code] += 1
        if finding.severity == "error":
            self.errors[finding.code] += 1
        if len(self.problems) < SHOWN or finding.severity != "error" and self._room():
            self.problems.append(finding)

    def _room(self) -> bool:
        """Say whether another remark is shown beside a hundred wrong rows; there are few of them."""
        return len(self.problems) < 2 * SHOWN
