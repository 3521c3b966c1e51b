"""The audit of a process of tests: installed once, asked after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reliability.harness.audit import Audit, for_tests

AUDIT = for_tests().install()  # a hook stays


@pytest.fixture(autouse=True)
def audited() -> Iterator[Audit]:
    """S1-S4: whatever a test does, we never listen, connect, unpickle or run what was read."""
    before = len(AUDIT.offences)
    yield AUDIT
    assert AUDIT.offences[before:] == []
