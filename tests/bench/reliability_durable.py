"""Long forms of the goals on writing: each returns its figure in one line, or raises AssertionError."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.reliability.harness.refusing import refuse_each

ERRORS = ("ENOSPC", "EIO")


def every_call_refused() -> str:
    """R3: each call of a run to the disk fails once; none costs an announced save or says what is not so."""
    told = []
    for error in ERRORS:
        with tempfile.TemporaryDirectory() as place:
            found = refuse_each(Path(place), error)
        assert not found.broken, found.broken[:5]
        told.append(f"{error} {found.refused} calls, {found.whole} runs ended well at once")
    return f"{'; '.join(told)}; 0 tracebacks, 0 announced saves lost, 0 half ones believed"


MEASURES: dict[str, Callable[[], str]] = {"R3": every_call_refused}
