"""Widgets die in the thread they were made in: the collector of cycles runs between tests, in this thread."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def settled_heap() -> None:
    """Leave what the libraries made out of every later collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def collected_here(settled_heap: None) -> Iterator[None]:
    """Switch automatic collection off during a test and collect in the main thread after it."""
    gc.disable()
    yield
    gc.collect()
    gc.enable()
