"""The queue as it is seen: the card on Runs, the line on Home, two windows on one queue, orders to a run."""

from __future__ import annotations

import json

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.pages.home import HomePage
from app.pages.library import LibraryPage
from app.pages.monitor import MonitorPage
from app.workers.run_queue import RunQueue
from engine.errors import EngineError
from engine.events import Awake, Finished, SampleGenerated
from engine.jobs.lock import FolderLock
from engine.runs import queue as engine_queue
from engine.runs.advance import Started
from tests.gui.drawn import nameless_controls
from tests.gui.monitor_runs import Script, made_run


@pytest.fixture(autouse=True)
def no_runner(monkeypatch):
    """Let no process advance the queue beside the window."""
    monkeypatch.setattr("app.workers.run_queue.queue_runner.ensure_running", lambda: False)


@pytest.fixture
def services(services):
    services.run_queue = RunQueue(services)
    yield services
    services.run_queue.close()


@pytest.fixture
def three(services):
    """Three runs that wait in a queue on hold, so that none is started."""
    services.run_queue.hold()
    runs = [made_run(name).resolve() for name in ("first", "second", "third")]
    for folder in runs:
        engine_queue.add(folder)
    services.run_queue.look()
    return runs


def shown(qtbot, page, size=(1240, 844)):
    qtbot.addWidget(page)
    page.resize(*size)
    page.show()
    page.shown()
    qtbot.waitUntil(lambda: page.settled() and not page.services.background.busy, timeout=30_000)
    return page


def names(page):
    return [row.line.name for row in page.queue.rows]


def test_that_without_a_queue_the_card_is_not_there(qtbot, services):
    made_run("alone")
    page = shown(qtbot, LibraryPage(services))
    assert page.queue.isHidden()


def test_that_the_order_is_changed_by_mouse_and_by_keys(qtbot, services, three):
    page = shown(qtbot, LibraryPage(services))
    assert page.queue.isVisible() and names(page) == ["first", "second", "third"]
    assert page.queue.count.text() == "3 runs wait"
    first = page.queue.rows[0]
    assert not first.up.isEnabled() and first.down.isEnabled()
    QTest.mouseClick(first.down, Qt.MouseButton.LeftButton)
    assert names(page) == ["second", "first", "third"]
    last = page.queue.rows[2]
    QTest.keyClick(last, Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
    QTest.keyClick(last, Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
    assert names(page) == ["third", "second", "first"]
    assert page.queue.rows[0] is last  # the row itself moved: it keeps the focus
    assert [folder.name.split("-")[0] for folder in engine_queue.read().queued] == [
        "third",
        "second",
        "first",
    ]
    assert not nameless_controls(page.queue)


def test_that_a_run_leaves_the_queue_and_comes_back_to_its_place(qtbot, services, three):
    page = shown(qtbot, LibraryPage(services))
    QTest.keyClick(page.queue.rows[1], Qt.Key.Key_Delete)
    assert names(page) == ["first", "third"]
    text, _, (word, undo) = services.toasts[-1]
    assert text.startswith("second left the queue") and word == "Undo"
    undo()
    assert names(page) == ["first", "second", "third"]
    assert (three[1] / "recipe.yaml").exists()


def test_that_the_queue_is_held_let_go_and_told_what_follows_a_failure(qtbot, services, three, monkeypatch):
    begun = []
    monkeypatch.setattr("app.workers.run_queue.advance", lambda only=None: begun.append(only) or [])
    page = shown(qtbot, LibraryPage(services))
    assert page.queue.release_button.isVisible() and not page.queue.hold_button.isVisible()
    assert "On hold: You put it on hold." in page.queue.note.text()
    QTest.mouseClick(page.queue.wait, Qt.MouseButton.LeftButton)
    assert engine_queue.read().on_error == "hold" and page.queue.wait.isChecked()
    QTest.mouseClick(page.queue.go_on, Qt.MouseButton.LeftButton)
    assert engine_queue.read().on_error == "continue" and not page.queue.wait.isChecked()
    begun.clear()
    QTest.mouseClick(page.queue.release_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: None in begun, timeout=30_000)
    assert engine_queue.read().held == "" and page.queue.hold_button.isVisible()
    QTest.mouseClick(page.queue.rows[2].now, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: three[2] in begun, timeout=30_000)


def test_that_two_windows_show_one_queue(qtbot, services, three):
    other = RunQueue()
    try:
        told = []
        other.queue_changed.connect(lambda: told.append(other.queued()))
        services.run_queue.move(three[2], 0)
        other.look()
        assert told == [[three[2], three[0], three[1]]]
        other.cancel(three[0])
        with pytest.raises(EngineError, match="does not wait"):
            services.run_queue.move(three[0], 1)
        services.run_queue.look()
        assert services.run_queue.queued() == [three[2], three[1]]
    finally:
        other.close()


def test_that_home_tells_what_waits_and_why_nothing_starts(qtbot, services, three):
    page = shown(qtbot, HomePage(services))
    assert page.queue.isVisible()
    assert page.queue.words.text() == (
        "The queue is on hold: You put it on hold. Waiting: first, second, third"
    )
    going = made_run("going")
    with FolderLock(going):
        services.run_queue.release()
        services.run_queue.look()
        qtbot.waitUntil(lambda: bool(services.run_queue.active()), timeout=30_000)
        page.queue.refresh()
        assert page.queue.words.text() == "Then: first, second, third"
        assert not page.queue.release_button.isVisible()
        services.run_queue.hold()


def test_that_stopping_all_runs_at_closing_starts_none_that_waits(qtbot, services, three):
    services.run_queue.release()
    services.run_queue.stop_all()
    assert "closed" in engine_queue.read().held


# -- orders to a going run ---------------------------------------------------------------------------------
@pytest.fixture
def going(qtbot, services):
    """A run that goes on, with twenty steps and answers, in a monitor."""
    script = Script(made_run("going"))
    script.begin()
    script.say(Awake(kept=True, by="systemd-inhibit"))
    script.steps(1, 60)
    script.write()
    with FolderLock(script.folder):
        page = MonitorPage(services)
        qtbot.addWidget(page)
        page.resize(1240, 844)
        page.show()
        page.shown()
        page.open_with({"run": script.folder})
        qtbot.waitUntil(lambda: page.settled() and page.watch.state == "running", timeout=30_000)
        page.refresh()
        yield page, script


def orders(page):
    found = sorted((page.watch.folder / "control").glob("*.json"))
    return [json.loads(each.read_bytes()) for each in found]


def test_that_save_and_evaluate_are_asked_from_the_menu(qtbot, services, going):
    page, _ = going
    menu = page.actions_bar.menu_of_orders()
    entries = {action.text(): action for action in menu.actions()}
    assert list(entries) == ["Save now", "Evaluate now", "Ask it now…"]
    entries["Save now"].trigger()
    entries["Evaluate now"].trigger()
    assert [order["command"] for order in orders(page)] == ["save", "evaluate"]
    assert [text for text, *_ in services.toasts] == [
        "It saves after this step.",
        "It evaluates after this step.",
    ]


def test_that_a_run_is_asked_in_its_page_and_its_answer_shown(qtbot, going):
    page, script = going
    assert page.side.question.isVisible()
    QTest.keyClicks(page.side.question, "What does the owl say?")
    QTest.keyClick(page.side.question, Qt.Key.Key_Return)
    assert [(o["command"], o["prompt"]) for o in orders(page)] == [("sample", "What does the owl say?")]
    assert not page.side.question.isEnabled()
    for step, text in ((0, "Who?"), (60, "Hoo hoo.")):
        script.say(SampleGenerated(step=step, prompt="What does the owl say?", text=text))
    with open(script.folder / "events.jsonl", "ab") as file:
        file.write(b"".join(script.lines[-2:]))
    qtbot.waitUntil(page.side.question.isEnabled, timeout=30_000)
    asked = page.side.samples.blocks[-1]
    assert [asked.text_of(key) for key in ("prompt", "base", "adapter")] == [
        "What does the owl say?",
        "Who?",
        "Hoo hoo.",
    ]


def test_that_a_going_run_says_that_the_computer_is_kept_awake(going):
    page, _ = going
    assert page.facts.endswith("kept awake")


def test_that_an_early_end_says_why(qtbot, services):
    script = Script(made_run("early"))
    script.begin()
    script.steps(1, 100)
    reason = "Stopped early at step 100 of 302: validation has not improved at 3 evaluations in a row."
    script.say(Finished(steps=100, seconds=10.0, adapter="adapter", reason=reason))
    script.write()
    (script.folder / "exit.json").write_text(json.dumps({"status": "finished", "message": reason}))
    page = MonitorPage(services)
    qtbot.addWidget(page)
    page.show()
    page.shown()
    page.open_with({"run": script.folder})
    qtbot.waitUntil(page.settled, timeout=30_000)
    page.refresh()
    assert page.remark.text() == reason and page.remark.isVisible()
    assert page.strip.bar.value == 1.0


def test_that_resuming_a_paused_run_shows_that_it_loads(qtbot, services, going):
    page, _ = going
    page.actions_bar.show_state("paused")
    page.watch.state = "paused"
    page.actions_bar.resume()
    assert page.actions_bar.buttons["resume"].text() == "Loading…"
    assert not page.actions_bar.buttons["resume"].isEnabled()
    assert [order["command"] for order in orders(page)] == ["resume"]
    page.actions_bar.show_state("running")
    assert page.actions_bar.buttons["resume"].text() == "Resume"


def test_that_a_picture_of_a_page_starts_nothing(qtbot, services, three, monkeypatch):
    services.run_queue.close()
    qtbot.waitUntil(lambda: not services.background.busy, timeout=30_000)
    begun = []
    monkeypatch.setattr("app.workers.run_queue.advance", lambda only=None: begun.append(only) or [])
    engine_queue.release()
    watching = RunQueue(None, advances=False)
    try:
        watching.look()
        assert watching.queued() == three and begun == []
    finally:
        watching.close()


def test_that_a_run_that_does_not_wait_is_not_said_to(qtbot, services, three):
    services.run_queue.cancel(three[1])
    library = shown(qtbot, LibraryPage(services))
    told = {run.name: run.place for run in library.model.runs}
    assert told == {"first": 1, "second": None, "third": 2}
    column = library.model.column("state")
    words = {run.name: library.model.index(row, column).data() for row, run in enumerate(library.model.runs)}
    assert words == {"first": "Queued", "second": "Not started", "third": "Queued"}
    page = MonitorPage(services)
    qtbot.addWidget(page)
    page.show()
    page.shown()
    page.open_with({"run": three[1]})
    qtbot.waitUntil(lambda: page.state_pill.text == "Not started", timeout=30_000)
    assert [button.text() for button in page.top_bar_actions()][0] == "Start"
    page.primary_action()
    assert services.run_queue.queued() == [three[1], three[0], three[2]]
    qtbot.waitUntil(lambda: page.state_pill.text == "Waiting", timeout=30_000)


def test_that_a_small_window_leaves_room_for_the_runs_below_the_queue(qtbot, services, three):
    page = shown(qtbot, LibraryPage(services), (1036, 644))
    assert page.queue.isVisible() and page.preview.isHidden()
    page.resize(1240, 844)
    qtbot.waitUntil(page.preview.isVisible, timeout=30_000)


def test_that_the_wizard_says_that_a_run_will_wait(qtbot, services, three):
    from app.pages.wizard.launch import start_words

    assert start_words(services) == "Add to the queue"
    for folder in three:
        services.run_queue.cancel(folder)
    assert start_words(services) == "Add to the queue"  # on hold
    services.run_queue.release()
    assert start_words(services) == "Start training"


def test_that_the_closing_question_tells_what_becomes_of_those_that_wait():
    from app.closing import afterwards

    assert "2 that wait follow" in afterwards(2) and "one that waits follows" in afterwards(1)
    assert "queue" not in afterwards(0)


def test_that_a_run_cancelled_while_it_is_being_started_is_ended(qtbot, services, monkeypatch):
    """The engine has begun it in the background, and this window does not know yet."""
    folder = made_run("hasty").resolve()
    services.run_queue.hold()
    engine_queue.add(folder)
    services.run_queue.look()
    engine_queue.remove(folder)
    services.run_queue._advancing = True
    ended = []
    watch = services.run_queue.attach(folder)
    monkeypatch.setattr(type(watch), "begin", lambda self, begun=None: None)
    monkeypatch.setattr(type(watch), "cancel", lambda self: ended.append(self.folder))
    services.run_queue.cancel(folder)
    assert ended == [folder] and services.run_queue.queued() == []
    started = Started(folder, None, None)
    services.run_queue._on_advanced(([started], engine_queue.read()))
    assert ended == [folder, folder]
    services.run_queue._on_advanced(([started], engine_queue.read()))
    assert ended == [folder, folder]


def test_that_a_queue_that_holds_by_itself_is_told(qtbot, services, three):
    from PySide6.QtWidgets import QMainWindow

    from app.notices import RunNotices

    services.run_queue.release()
    window = QMainWindow()
    qtbot.addWidget(window)
    RunNotices(window, services)
    engine_queue.hold("first: The GPU ran out of memory.")
    services.run_queue.look()
    text, kind, (word, _) = services.toasts[-1]
    assert (text, kind, word) == ("The queue is on hold.", "warn", "See the queue")
    services.run_queue.release()
    told = len(services.toasts)
    services.run_queue.hold()
    assert len(services.toasts) == told
