"""A disk that runs full under a run is told before it is full (F10), with what gives room back."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QMainWindow

from app.desktop import Desktop
from app.notices import RunNotices
from app.pages.home_room import RoomNote
from app.room import actions_of
from app.workers.room_watch import LEAST_HOME_BYTES, RoomWatch, Writer, find_low
from engine import durable, paths
from engine.jobs.lock import FolderLock
from engine.runs import store, trash
from tests.gui.monitor_runs import finished_run
from tests.reliability.window.test_faults_seen import going_run, offers, opened, press, words

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")
SAVE_BYTES = 160_000_000  # of the runs that tests write


class Disk(durable.Disk):
    """A disk with as much room as a test says."""

    def __init__(self) -> None:
        self.room = 2 * LEAST_HOME_BYTES

    def free(self, folder: Path) -> int:
        return self.room


@pytest.fixture
def disk():
    with durable.using(Disk()) as made:
        yield made


def test_f10_that_room_is_measured_in_saves_and_for_the_home(home, disk) -> None:
    run = Writer(paths.runs_dir(), "tickets", SAVE_BYTES)
    assert find_low([run]) is None
    disk.room = 2 * SAVE_BYTES - 1
    low = find_low([run])
    assert low is not None and low.saves and low.needed_bytes == 2 * SAVE_BYTES
    disk.room = LEAST_HOME_BYTES - 1
    low = find_low([run])
    assert low is not None and low.place == paths.home() and low.needed_bytes == LEAST_HOME_BYTES
    assert (
        find_low([Writer(Path("/no/such/folder"), "gone", SAVE_BYTES)]) is not None
    )  # the home is asked too


def test_f10_that_a_run_with_little_room_is_told_on_its_page_on_home_and_to_who_looks_away(
    qtbot, going, disk, monkeypatch
) -> None:
    going.room = RoomWatch(going, going.run_queue)
    window = QMainWindow()
    qtbot.addWidget(window)
    notices, called = RunNotices(window, going, Desktop(window, [])), []
    monkeypatch.setattr(notices, "_show", called.append)
    from app.pages.monitor import MonitorPage

    monkeypatch.setattr("app.room.WORTH_BYTES", 0)
    page, note = MonitorPage(going), RoomNote(going)
    for each in (page, note):
        qtbot.addWidget(each)
    page.shown()
    store.delete_run(finished_run(steps=20))
    script = going_run(steps=60)
    with FolderLock(script.folder):
        opened(qtbot, page, script.folder, "running")
        disk.room = SAVE_BYTES + 1
        going.room.look()
        qtbot.waitUntil(lambda: bool(called), timeout=30_000)
        page.show_notice()
        note.refresh()
        assert "two more saves of tickets-qlora-r16 need 320\xa0MB" in words(page)
        assert "DISK-01" in words(page)
        assert offers(page)[0].startswith("Empty the trash (") and offers(page)[1] == "Open the trash"
        assert not note.isHidden()
        assert [(each.title, each.page) for each in called] == [
            ("Little room is left on the disk.", "monitor")
        ]
        press(page, "Not now")
        assert words(page) == ""
        monkeypatch.setattr("app.room.ask", lambda *_: True)
        disk.room = 2 * LEAST_HOME_BYTES
        actions_of(going.room.low, going, page)[0][1]()
        qtbot.waitUntil(lambda: going.room.low is None, timeout=30_000)
        note.refresh()
        assert trash.everything() == [] and note.isHidden()
        assert [text for text, _, _ in going.toasts][-1] == "The trash is empty."
        disk.room = SAVE_BYTES
        going.room.look()
        qtbot.waitUntil(lambda: going.room.low is not None and not going.background.busy, timeout=30_000)
        assert len(called) == 1  # once of each attempt
    going.room.close()
    notices.close()
