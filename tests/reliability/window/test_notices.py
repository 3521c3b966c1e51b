"""Who looks away is called once: over a real bus with a desktop of the test on it, never that of a person."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import pytest
from jeepney import Parser, new_method_call
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QApplication, QMainWindow

from app.desktop import Desktop
from app.notices import Call, RunNotices, job_over
from app.pages.preferences_notices import NONE_HERE, NoticesSection
from app.told import claim, told_dir
from app.workers import notice_bus, run_watch
from app.workers.notice_bus import sockets_of
from engine.events import Heartbeat, Paused, Warned
from engine.jobs.lock import FolderLock
from tests.gui.fake_desktop import FakeDesktop, fake_desktop
from tests.gui.monitor_runs import Script, made_run
from tests.reliability.harness.audit import ROOT

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")
NAME = "<b>tickets</b> & co"


class Place:
    """A window that is not looked at, its notices, and where it was led to."""

    def __init__(self, qtbot, services, sockets: list[str]) -> None:
        self.qtbot, self.services = qtbot, services
        self.window = QMainWindow()
        qtbot.addWidget(self.window)
        self.led: list[tuple[str, object]] = []
        services.navigate = lambda page, argument=None: self.led.append((page, argument))
        self.notices = RunNotices(self.window, services, Desktop(self.window, sockets))

    def calm(self) -> None:
        """Wait until nothing is on the way to the disk."""
        self.qtbot.waitUntil(lambda: not self.services.background.busy, timeout=30_000)

    def going(self, folder: Path, state: str = "running"):
        """Return the watch of a run once it is read."""
        watch = self.services.run_queue.attach(folder)
        self.qtbot.waitUntil(lambda: watch.whole and watch.state == state, timeout=30_000)
        self.services.run_queue.changed.emit()
        self.calm()
        return watch


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[FakeDesktop]:
    with fake_desktop(tmp_path) as made:
        yield made


@pytest.fixture
def alerts(monkeypatch) -> list[object]:
    called: list[object] = []
    monkeypatch.setattr(QApplication, "alert", lambda window: called.append(window))
    return called


def a_run(steps: int = 10, name: str = NAME) -> Script:
    script = Script(made_run("tickets"))
    (script.folder / "name.txt").write_text(name)
    script.begin()
    script.steps(1, steps)
    script.write()
    return script


# -- what calls --------------------------------------------------------------------------------------------
def test_that_a_run_that_ends_calls_once_and_a_press_opens_it(
    qtbot, going, desktop, alerts, monkeypatch
) -> None:
    monkeypatch.setenv(notice_bus.TOKEN, "")
    place, script = Place(qtbot, going, desktop.sockets), a_run()
    with FolderLock(script.folder):
        place.going(script.folder)
        script.end("failed", code="GPU-01", message="No room for <i>x</i>.", hint="Use 4 bits.")
    qtbot.waitUntil(lambda: bool(desktop.shown), timeout=30_000)
    title, body = desktop.shown[0]
    assert title == f"{NAME} has failed." and body == "No room for &lt;i&gt;x&lt;/i&gt;. Use 4 bits. (GPU-01)"
    assert desktop.last[5] == ["default", "Open"] and desktop.last[6]["suppress-sound"] is True
    assert alerts == [place.window]
    desktop.press(1)
    qtbot.waitUntil(lambda: bool(place.led), timeout=10_000)
    assert place.led == [("monitor", {"run": script.folder})]
    assert place.window.isVisible() and os.environ[notice_bus.TOKEN] == "leave-1"
    desktop.press(7)  # somebody else's
    place.notices.close()
    place.window.hide()
    # A window that is opened later, or stands beside it, says nothing of it again.
    later = Place(qtbot, going, desktop.sockets)
    (event,) = [key for key in place.notices._called if "ended" in key]
    later.notices.call(Call(event, "Again"))
    later.calm()
    later.notices.call(Call("another event", "Something else."))
    qtbot.waitUntil(lambda: len(desktop.shown) == 2, timeout=10_000)
    assert desktop.shown[1] == ("Something else.", "")
    later.notices.close()


def test_f08_f18_that_a_run_that_waits_or_is_silent_calls_once(
    qtbot, going, desktop, alerts, monkeypatch
) -> None:
    place, script = Place(qtbot, going, desktop.sockets), a_run(name="tickets")
    script.say(Heartbeat(phase="train"))
    script.write()
    with FolderLock(script.folder):
        watch = place.going(script.folder)
        monkeypatch.setattr(watch, "_moved_at", run_watch.time.monotonic() - 900)
        for _ in range(3):
            place.notices.look_for_silence()
        qtbot.waitUntil(lambda: len(desktop.shown) == 1, timeout=10_000)
        script.say(Warned(code="DISK-01", message="480 MB needed, 61 MB free.", hint="Free some."))
        script.say(Paused(step=10))
        script.write()
        qtbot.waitUntil(lambda: watch.marks.waits is not None, timeout=30_000)
        for _ in range(3):
            going.run_queue.changed.emit()
        qtbot.waitUntil(lambda: len(desktop.shown) == 2, timeout=10_000)
        place.calm()
    titles = [title for title, _ in desktop.shown]
    assert titles == ["tickets gives no sign of life.", "tickets waits: the disk is full."]
    assert "RUN-11" in desktop.shown[0][1] and "DISK-01" in desktop.shown[1][1]
    assert len(alerts) == 2
    place.notices.close()


def test_that_a_job_calls_only_when_it_took_long(qtbot, going, tmp_path, monkeypatch) -> None:
    place, called = Place(qtbot, going, []), []
    monkeypatch.setattr(place.notices, "_show", called.append)
    job = tmp_path / "job"
    job.mkdir()
    (job / "job.json").write_text("{}")
    job_over(going, job, ("Ready: merged", ""), False, "merge")
    os.utime(job / "job.json", (time.time() - 90, time.time() - 90))
    job_over(going, job, ("tickets is measured.", ""), False, "evaluate", run=job)
    place.calm()
    assert [(each.title, each.page, each.argument) for each in called] == [
        ("tickets is measured.", "evaluate", {"run": job})
    ]


def test_that_the_last_run_of_a_queue_tells_how_all_ended(qtbot, going, monkeypatch) -> None:
    place, called = Place(qtbot, going, []), []
    monkeypatch.setattr(place.notices, "_show", called.append)
    runs = [type("Run", (), {"folder": Path(f"/runs/{name}"), "name": name})() for name in "ab"]
    queued = [[runs[1].folder], []]
    for run, waiting in zip(runs, queued, strict=True):
        monkeypatch.setattr(going.run_queue, "active", lambda run=run: [run])
        going.run_queue.changed.emit()
        monkeypatch.setattr(going.run_queue, "active", list)
        monkeypatch.setattr(going.run_queue, "queued", lambda waiting=waiting: waiting)
        going.run_queue.run_ended.emit(run.name, {"status": "finished"})
    place.calm()
    assert {each.text for each in called} == {"", "The queue is done: 2 of 2 runs finished."}


# -- who is called, and for what ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "calls"),
    [({}, "ab"), ({"notify": False}, ""), ({"notify_finished": False}, "b"), ({"notify_needs": False}, "a")],
)
def test_that_each_setting_has_its_effect(qtbot, going, monkeypatch, alerts, changes, calls) -> None:
    place, shown = Place(qtbot, going, []), []
    monkeypatch.setattr(place.notices.desktop, "show", lambda key, *_: shown.append(key))
    going.settings.change(**changes)
    place.notices.call(Call("a", "Finished."))
    place.notices.call(Call("b", "Failed.", needs=True))
    place.calm()
    assert sorted(shown) == sorted(calls) and len(alerts) == len(calls)


def test_that_nobody_is_called_who_uses_the_window(qtbot, going, monkeypatch, alerts) -> None:
    place, shown = Place(qtbot, going, []), []
    monkeypatch.setattr(place.notices.desktop, "show", lambda *given: shown.append(given))
    monkeypatch.setattr(QApplication, "activeWindow", lambda: place.window)
    place.notices.call(Call("a", "Finished."))
    place.calm()
    assert (shown, alerts) == ([], [])
    monkeypatch.setattr(QApplication, "activeWindow", lambda: None)
    place.notices.call(Call("a", "Finished."))  # it was told there: not once more when they look away
    place.calm()
    assert (shown, alerts) == ([], [])


def test_that_a_call_is_noted_once_and_a_full_disk_keeps_no_word_back(home, monkeypatch) -> None:
    assert [claim("a"), claim("a"), claim("b")] == [True, False, True]
    assert len(list(told_dir().iterdir())) == 2
    monkeypatch.setattr("app.told.create_exclusive", _full)
    assert claim("c")
    monkeypatch.undo()


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_that_the_settings_hold_at_once_and_say_where_no_notice_can_be_shown(qtbot, going) -> None:
    place = Place(qtbot, going, [])
    section = NoticesSection(going)
    qtbot.addWidget(section)
    section.boxes["notify_finished"].click()
    section.boxes["notify"].click()
    value = going.settings.value
    assert (value.notify, value.notify_finished, value.notify_needs) == (False, False, True)
    assert not section.boxes["notify_needs"].isEnabled()
    section.try_button.click()
    assert section.answer.text() == NONE_HERE
    place.notices.close()


class Tray(QObject):
    """The tray icon of a desktop of the test, as Qt publishes it."""

    messageClicked, activated = Signal(), Signal(int)
    isSystemTrayAvailable = supportsMessages = staticmethod(lambda: True)

    def __init__(self, *_: object) -> None:
        super().__init__()
        self.told: list[tuple[str, str]] = []
        self.seen = False

    def show(self) -> None:
        self.seen = True

    def hide(self) -> None:
        self.seen = False

    def showMessage(self, title: str, text: str, *_: object) -> None:
        self.told.append((title, text))


def test_that_a_tray_shows_notices_where_there_is_no_bus_and_goes_once_the_window_is_used(
    qtbot, going, monkeypatch
) -> None:
    monkeypatch.setattr("app.desktop.BY_BUS", False)
    monkeypatch.setattr("app.desktop.QSystemTrayIcon", Tray)
    place = Place(qtbot, going, [])
    place.notices.call(Call("a", "Finished.", "12 steps.", page="monitor", argument={"run": Path("a")}))
    qtbot.waitUntil(lambda: place.notices.desktop._tray is not None, timeout=10_000)
    tray = place.notices.desktop._tray
    assert tray.told == [("Finished.", "12 steps.")] and tray.seen
    tray.messageClicked.emit()
    assert place.led == [("monitor", {"run": Path("a")})]
    place.notices.desktop._on_state(Qt.ApplicationState.ApplicationActive)
    assert not tray.seen
    place.notices.close()


# -- the way to the desktop --------------------------------------------------------------------------------
def test_s4_that_only_a_socket_of_this_computer_is_connected_to() -> None:
    address = (
        "tcp:host=example.org,port=1;autolaunch:;unix:path=/run/user/1000/bus%20a;unix:abstract=/tmp/b,guid=1"
    )
    assert sockets_of(address) == ["/run/user/1000/bus a", "\0/tmp/b"]
    assert sockets_of("tcp:host=localhost,port=4") == [] and sockets_of("nonsense") == []


def _connect(place: str) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.suppress(OSError):
        made.connect(place)


def test_s4_that_no_other_part_of_the_window_connects_even_to_this_computer(audited, tmp_path) -> None:
    before = len(audited.offences)
    code = _connect.__code__.replace(co_filename=str(ROOT / "app" / "made-up.py"))
    FunctionType(code, globals())(str(tmp_path / "no-bus"))
    told = audited.offences[before:]
    del audited.offences[before:]
    assert len(told) == 1 and "socket.connect" in told[0]


def test_that_a_test_or_a_picture_calls_nobody(qtbot, services, monkeypatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/0/bus")
    window = QMainWindow()
    qtbot.addWidget(window)
    assert notice_bus.places() and Desktop(window).way == ""


def test_that_a_desktop_without_markup_gets_the_text_as_it_is(qtbot, services, tmp_path) -> None:
    with fake_desktop(tmp_path, marks=False) as desktop:
        made = notice_bus.NoticeBus(desktop.sockets)
        for key in ("a", "b"):
            made.show(key, "1 < 2", "a & b\nc")
        qtbot.waitUntil(lambda: len(desktop.shown) == 2, timeout=10_000)
        assert desktop.shown == [("1 < 2", "a & b\nc")] * 2
        made.close()


def test_that_a_bus_without_notices_or_without_answer_keeps_nobody_waiting(qtbot, services, tmp_path) -> None:
    with fake_desktop(tmp_path, nobody=True) as desktop:
        made = notice_bus.NoticeBus(desktop.sockets)
        with qtbot.waitSignal(made.failed, timeout=10_000):
            made.show("a", "Nobody", "")
    made = notice_bus.NoticeBus([str(tmp_path / "no-bus")])
    with qtbot.waitSignal(made.failed, timeout=1000):
        made.show("a", "Nobody", "")


def test_that_bytes_that_are_no_message_end_the_talk_and_nothing_else() -> None:
    call = new_method_call(notice_bus.DESKTOP, "F", "asu", (["x", "yz"], 7))
    whole = call.serialise(serial=1)
    for place in range(len(whole)):
        for value in (0, 1, 255):
            parser = Parser()
            parser.add_data(whole[:place] + bytes([value]) + whole[place + 1 :])
            with contextlib.suppress(*notice_bus.BROKEN):
                parser.get_next_message()


def test_that_what_is_kept_of_calls_does_not_grow_for_ever(home, monkeypatch) -> None:
    monkeypatch.setattr("app.told.MOST", 5)
    monkeypatch.setattr("app.told.GONE_AT_ONCE", 4)
    assert all(claim(f"event {number}") for number in range(20))
    assert len(list(told_dir().iterdir())) <= 6
