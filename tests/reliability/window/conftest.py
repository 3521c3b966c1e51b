"""A home, services and a monitor of the test's own, as the tests of the window have them."""

from __future__ import annotations

import pytest

from app.pages.monitor import MonitorPage
from app.workers.run_queue import RunQueue
from engine.jobs import process
from tests.gui.conftest import collected_here, home, loose_keys, services, settled_heap

__all__ = ["collected_here", "home", "loose_keys", "services", "settled_heap"]


@pytest.fixture
def going(services):
    """Give services with a run queue; whatever still goes on at the end is stopped."""
    services.run_queue = RunQueue(services)
    yield services
    services.run_queue.stop_all()
    services.run_queue.close()
    for watch in services.run_queue.active():
        process.kill(watch.folder)


@pytest.fixture
def monitor(qtbot, going):
    """Give the page of a run, shown."""
    made = MonitorPage(going)
    qtbot.addWidget(made)
    made.resize(1240, 844)
    made.show()
    made.shown()
    return made
