"""What a preparation tells of its data: counts, lengths, and the first problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.data.rows import Finding

SHOWN = 100


@dataclass(frozen=True)
class Lengths:
    """Tokens an example, before anything is cut."""

    median: int = 0
    p95: int = 0
    longest: int = 0
    total: int = 0

    @staticmethod
    def of(values: Sequence[int]) -> Lengths:
        """Return the figures of some lengths."""
        if not len(values):
            return Lengths()
        array = np.asarray(values)
        median, p95 = np.percentile(array, [50, 95], method="higher")
        return Lengths(int(median), int(p95), int(array.max()), int(array.sum()))


def rows_are(count: int) -> str:
    """Return `1 row is`, `2 rows are`."""
    return f"{count} row is" if count == 1 else f"{count} rows are"


@dataclass
class Report:
    """`tokens` and `supervised_tokens` are of training and validation together, as they will be used.

    `refused` counts rows that could not be used, `dropped` those left out for another reason (too long,
    twice, nothing to learn); `problems` holds the first 100 findings, `counts` the number of each code.
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
    lengths: Lengths = Lengths()
    problems: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    template: str = ""

    def add(self, finding: Finding) -> None:
        """Keep a finding: all are counted, the first 100 shown."""
        self.counts[finding.code] += 1
        if len(self.problems) < SHOWN:
            self.problems.append(finding)
