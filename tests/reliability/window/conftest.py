"""A home, services and a monitor of the test's own, as the tests of the window have them."""

from __future__ import annotations

from tests.gui.conftest import (
    audited,
    collected_here,
    going,
    home,
    loose_keys,
    monitor,
    services,
    settled_heap,
)

__all__ = [
    "audited",
    "collected_here",
    "going",
    "home",
    "loose_keys",
    "monitor",
    "services",
    "settled_heap",
]
