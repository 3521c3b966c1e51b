"""Widgets die in the thread they were made in: the collector of cycles runs between tests, in this thread."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget


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


@pytest.fixture(autouse=True)
def loose_keys(qapp: QApplication) -> None:
    """Let go of a Shift or Ctrl that an earlier test pressed: Qt holds it until the next key."""
    # Views obey it: with Shift held, QTableView.selectRow selects nothing where there is no row to begin at.
    if QGuiApplication.keyboardModifiers():
        QTest.keyClick(QWidget(), Qt.Key.Key_F35)
