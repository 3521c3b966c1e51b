"""No file freezes the window or kills it: hostile and malformed ones are used as if somebody dropped them."""

from __future__ import annotations

import pytest

from app.window import MainWindow
from app.workers.run_queue import RunQueue
from tests.reliability.outside import hostile_files
from tests.reliability.window.lateness import Lateness, malformed, through

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


@pytest.fixture
def window(qtbot, services):
    services.run_queue = RunQueue(services, advances=False)
    made = MainWindow(services)
    qtbot.addWidget(made)
    made.resize(1240, 844)
    made.follow_run_queue()
    made.show()
    yield made
    services.run_queue.close()


def test_s06_that_files_of_a_stranger_leave_the_window_alive(qtbot, window, tiny_model, tmp_path) -> None:
    canary = tmp_path / "canary"
    made = hostile_files.make(tmp_path / "hostile", tiny_model, canary)
    chosen = [file for files in made.values() for file in files[:2]]
    chosen += malformed(tmp_path / "malformed")
    lateness = Lateness()
    lateness.start()

    def wait(calm, seconds):
        qtbot.waitUntil(calm, timeout=int(seconds * 1000) * 3)

    took = through(window, chosen, wait)
    lateness.stop()
    assert len(took) == len(chosen)
    assert not canary.exists()
    assert len(lateness.late) > len(chosen), "the window answered between them"
    window.navigate("home")
    assert window.page_name == "home"
