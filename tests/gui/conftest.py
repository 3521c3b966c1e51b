"""What every test of the window stands on: a home and services of its own, no key left pressed.

Widgets die in the thread they were made in: the collector of cycles runs between tests, in this thread.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from app import i18n
from app.services import Services, make_services
from engine.jobs import process
from tests.gui.plan_place import seven_billion
from tests.reliability.harness.listening import audited as audited


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


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home of the test's own; what Hugging Face keeps is elsewhere too."""
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setenv("TUNESMITH_HOME", str(place))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return place


@pytest.fixture
def services(home: Path, qapp: QApplication) -> Iterator[Services]:
    """Give services as a page gets them; what was told to the person is in `toasts`."""
    made = make_services(qapp, "dark")
    made.toasts = []  # type: ignore[attr-defined]
    made.notify = lambda text, kind="info", action=None, hint="": made.toasts.append((text, kind, action))
    yield made
    made.hardware.stop()
    made.background.finish()
    made.theme.set_theme("dark")
    made.theme.set_text_size(100)
    i18n.set_language("en")


@pytest.fixture
def large_model(tmp_path: Path, tiny_model: Path) -> Path:
    """Return the folder of a 7B model that has a tokenizer and no weights."""
    return seven_billion(tmp_path / "llama-7b", tiny_model)


@pytest.fixture
def going(services: Services) -> Iterator[Services]:
    """Give services with a run queue; whatever still goes on at the end is stopped."""
    from app.workers.run_queue import RunQueue

    services.run_queue = RunQueue(services)
    yield services
    services.run_queue.stop_all()
    services.run_queue.close()
    for watch in services.run_queue.active():
        process.kill(watch.folder)


@pytest.fixture
def monitor(qtbot: QtBot, going: Services) -> QWidget:
    """Give the page of a run, shown."""
    from app.pages.monitor import MonitorPage

    made = MonitorPage(going)
    qtbot.addWidget(made)
    made.resize(1240, 844)
    made.show()
    made.shown()
    return made
