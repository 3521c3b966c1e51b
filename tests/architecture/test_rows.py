"""Every row of the table of reliability has a test, or a measure of the bench, that bears its number."""

from __future__ import annotations

import ast

from tests.architecture.source import sources
from tests.bench.reliability import named_tests

MOST = {"D": 50, "F": 45, "M": 40, "I": 12, "R": 24, "S": 8}
ROWS = {f"{letter}{number}" for letter, most in MOST.items() for number in range(1, most + 1)}
MEASURED_ONLY = {"R11", "R22"}  # at numbers that no suite has the time for


def measured() -> set[str]:
    """Return the rows that are named where the bench measures, without importing it."""
    named: set[str] = set()
    for source in sources("tests/bench"):
        if source.path.stem.startswith("reliability_"):
            named |= {
                n.value for n in ast.walk(source.tree) if isinstance(n, ast.Constant) and n.value in ROWS
            }
    return named


def test_that_every_row_is_tested_by_its_number() -> None:
    tested = set(named_tests())
    assert not ROWS - tested - MEASURED_ONLY, sorted(ROWS - tested - MEASURED_ONLY)
    assert not tested - ROWS, f"names of no row: {sorted(tested - ROWS)}"
    assert measured() >= MEASURED_ONLY
