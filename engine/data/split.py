"""Which rows are kept aside to measure on: drawn from the seed and the rows' own content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from engine.data.report import Report
from engine.data.rows import Finding

if TYPE_CHECKING:
    from engine.data.dataset import Example

FEWEST_ROWS = 20


def keep_aside(
    examples: list[Example], share: float, seed: int, report: Report, file: str
) -> tuple[list[Example], list[Example]]:
    """Return (train, validation). Equal rows, and the pieces of one row, always go to the same side."""
    if share <= 0 or not examples:
        return examples, []
    if len(examples) < FEWEST_ROWS:
        found = "1 row" if len(examples) == 1 else f"{len(examples)} rows"
        message = f"Only {found}: too few to keep some aside to measure on, so all are trained."
        report.add(
            Finding(
                "DATA-07",
                file,
                None,
                None,
                message,
                "50 or more rows are needed to learn something.",
                "warning",
            )
        )
        return examples, []
    wanted = max(1, round(len(examples) * share))
    salt = f"{seed}-validation".encode()
    ordered = sorted(range(len(examples)), key=lambda i: _draw(salt, examples[i].key))
    chosen: set[int] = set()
    last = b""
    for i in ordered:
        if len(chosen) >= wanted and examples[i].key != last:
            break
        chosen.add(i)
        last = examples[i].key
    if len(chosen) > len(examples) // 2:
        chosen = set(ordered[:wanted])  # nearly all rows are the same: there is nothing to keep apart
    train = [e for i, e in enumerate(examples) if i not in chosen]
    return train, [e for i, e in enumerate(examples) if i in chosen]


def _draw(salt: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(salt + key, digest_size=16).digest()
