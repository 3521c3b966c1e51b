"""The window: pages on demand, navigation, keys, drops, toasts, closing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, QRect, Qt, QTimer, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QPushButton

from app.application import install_excepthook
from app.closing import KEEP, STAY, STOP, ClosingDialog, sentence
from app.drop import classify
from app.notices import RunNotices
from app.pages.page import Page
from app.services import Services
from app.window import ENTRIES, PAGES, MainWindow
from app.workers.run_queue import RunQueue
from engine.errors import EngineError
from engine.jobs.lock import FolderLock
from tests.gui.drawn import give_keyboard, wait_until_nothing_is_cut
from tests.gui.run_folders import make_run


@pytest.fixture
def window(services: Services, qtbot) -> MainWindow:
    made = MainWindow(services)
    # Closed by the test's end with nothing going on, or it would ask.
    qtbot.addWidget(made, before_close_func=lambda _: setattr(services, "run_queue", None))
    made.resize(1440, 900)
    made.navigate("experiments")
    made.show()
    return made


@pytest.fixture
def going(services: Services, qtbot):
    """Give a run that goes on as far as anybody can see: its folder's lock is held."""
    folder = make_run("tickets", "running", 236, 302, age_hours=0.1)
    with FolderLock(folder):
        queue = services.run_queue = RunQueue(services)
        queue.look()
        qtbot.waitUntil(lambda: bool(queue.active()) and queue.active()[0].step == 236, timeout=30_000)
        yield folder
        queue.close()


def test_that_a_page_is_built_on_its_first_visit_only(window: MainWindow) -> None:
    assert set(window.pages) == {"experiments"}
    window.navigate("compare")
    first = window.pages["compare"]
    window.navigate("experiments")
    window.navigate("compare")
    assert window.pages["compare"] is first
    assert window.page is first


def test_that_every_entry_of_the_navigation_names_a_page() -> None:
    assert {page for page, _, _ in ENTRIES} <= set(PAGES)


def test_that_an_unknown_page_is_refused_and_nothing_moves(window: MainWindow) -> None:
    with pytest.raises(ValueError, match="is no page"):
        window.navigate("nowhere")
    assert window.page_name == "experiments"


def test_that_alt_left_returns_to_the_page_before(window: MainWindow) -> None:
    window.navigate("compare")
    window.navigate("evaluate")
    window.go_back()
    assert window.page_name == "compare"
    window.go_back()
    assert window.page_name == "experiments"
    window.go_back()
    assert window.page_name == "experiments"


def test_that_ctrl_and_a_number_opens_a_page(window: MainWindow, qtbot) -> None:
    give_keyboard(window, qtbot)
    qtbot.keyClick(window, Qt.Key.Key_7, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: window.page_name == "settings", timeout=30_000)


def test_that_the_top_bar_shows_what_the_page_says(window: MainWindow) -> None:
    page: Page = window.page
    page.set_heading("Another title", "three facts")
    assert window.topbar.title.text() == "Another title"
    assert window.topbar.facts.text() == "three facts"


def test_that_the_top_bar_shows_the_buttons_of_the_page_in_front_alone(window: MainWindow) -> None:
    held = []
    for page in ("home", "runs", "chat", "home", "runs", "chat"):
        window.navigate(page)
        shown = [w for w in window.topbar.findChildren(QPushButton) if w.isVisible()]
        mine = window.page.top_bar_actions()
        assert all(any(w is m or m.isAncestorOf(w) for m in mine) for w in shown)
        assert all(action.isVisible() for action in mine)
        held.append(len(window.topbar.findChildren(QPushButton)))
    assert held[2] == held[-1], "a second visit makes no second buttons"


def test_that_the_ring_follows_keys_and_leaves_with_the_mouse(window: MainWindow, qtbot) -> None:
    give_keyboard(window, qtbot)
    window.navigate("home")
    window.navigation.buttons["home"].setFocus()
    assert window.focus_ring.isHidden()
    qtbot.keyClick(window.navigation.buttons["home"], Qt.Key.Key_Tab)
    assert window.focus_ring.isVisible()
    focused = QApplication.focusWidget()
    corner = focused.mapTo(window, QPoint(0, 0))
    assert window.focus_ring.geometry().contains(QRect(corner, focused.size()))
    qtbot.mouseClick(window.windowHandle(), Qt.MouseButton.LeftButton, pos=QPoint(4, 400))
    assert window.focus_ring.isHidden()


def test_that_the_navigation_is_narrow_in_a_narrow_window(window: MainWindow, qtbot) -> None:
    assert not window.navigation.narrow
    window.resize(1100, 700)
    qtbot.waitUntil(lambda: window.navigation.narrow, timeout=30_000)
    assert window.navigation.width() == 64
    window.resize(1440, 900)
    qtbot.waitUntil(lambda: not window.navigation.narrow, timeout=30_000)


def test_that_text_size_keys_change_and_remember_the_size(window: MainWindow, services: Services) -> None:
    window.change_text_size(10)
    assert services.theme.text_size == 110
    assert services.settings.value.text_size == 110
    window._set_text_size(100)
    assert services.theme.text_size == 100


def test_that_the_place_and_page_of_the_window_are_remembered(window: MainWindow, services: Services) -> None:
    window.resize(900, 640)  # no larger than the offscreen screen allows
    window.navigate("settings")
    window.close()
    again = MainWindow(services)
    assert (again.width(), again.height()) == (900, 640)
    assert services.settings.value.page == "settings"
    again.deleteLater()


def test_that_the_title_tells_how_far_the_training_is(window, services: Services, going: Path) -> None:
    window.follow_run_queue()
    assert window.windowTitle() == "78 % · tickets - Tunesmith"
    assert window.navigation.buttons["runs"].active


def test_that_closing_during_a_training_says_where_it_stands(services: Services, going: Path) -> None:
    runs = services.run_queue.active()
    assert sentence(runs).startswith("Training goes on: step 236 of 302, ")
    assert sentence(runs).endswith(" left.") or "minute" in sentence(runs)
    assert sentence(runs * 2) == "2 trainings go on."


ANSWERS = [("keep_button", KEEP), ("stop_button", STOP), ("stay_button", STAY)]


@pytest.mark.parametrize(("press", "choice"), ANSWERS)
def test_that_the_closing_question_answers_what_was_pressed(window, services, going, press, choice) -> None:
    dialog = ClosingDialog(services.run_queue.active(), window)
    assert dialog.keep_button.isDefault()
    QTimer.singleShot(0, lambda: getattr(dialog, press).click())
    dialog.exec()
    assert dialog.choice == choice


def _press_when_asked(name: str) -> None:
    def press() -> None:
        dialog = QApplication.activeModalWidget()
        assert isinstance(dialog, ClosingDialog)
        getattr(dialog, name).click()

    QTimer.singleShot(50, press)


def test_that_staying_keeps_the_window_open(window: MainWindow, going: Path) -> None:
    _press_when_asked("stay_button")
    window.close()
    assert window.isVisible()


def test_that_keeping_closes_the_window_and_leaves_the_run_alone(window: MainWindow, going: Path) -> None:
    _press_when_asked("keep_button")
    window.close()
    assert not window.isVisible()
    assert not any((going / "control").iterdir())


def test_that_stop_and_save_asks_the_run_to_stop(window: MainWindow, going: Path) -> None:
    _press_when_asked("stop_button")
    window.close()
    assert not window.isVisible()
    (asked,) = (going / "control").glob("*.json")
    assert json.loads(asked.read_text())["command"] == "stop"


def test_that_the_end_of_a_run_is_told_with_a_way_to_it(window, services, going: Path, qtbot) -> None:
    window.follow_run_queue()
    notices = RunNotices(window, services)
    services.run_queue.changed.emit()
    services.run_queue.run_ended.emit(
        going.name, {"status": "failed", "message": "No memory.", "hint": "Less."}
    )
    toast = window.toasts.toasts[-1]
    assert toast.text == "tickets has failed."
    services.run_queue.run_ended.emit("some-old-run", {"status": "finished"})
    assert window.toasts.toasts[-1] is toast
    notices.deleteLater()


# -- dropping
def _folder(path: Path, *names: str) -> Path:
    path.mkdir(parents=True)
    for name in names:
        (path / name).write_text("{}")
    return path


def test_that_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    cases = {
        _folder(tmp_path / "adapter", "adapter_config.json", "config.json"): ("adapter", "Import adapter"),
        _folder(tmp_path / "model", "config.json"): ("model", "Use as model"),
        _folder(tmp_path / "run", "job.json", "recipe.yaml"): ("run", "Open this run"),
        _folder(tmp_path / "rows", "a.jsonl"): ("data", "Use as data"),
    }
    for name, kind, words in (
        ("x.jsonl", "data", "Use as data"),
        ("x.csv", "data", "Use as data"),
        ("x.parquet", "data", "Use as data"),
        ("x.yaml", "recipe", "Read as recipe"),
        ("x.gguf", "model", "Use as model"),
    ):
        file = tmp_path / name
        file.write_text("x")
        cases[file] = (kind, words)
    for path, (kind, words) in cases.items():
        found = classify(path)
        assert found is not None and (found.kind, found.sentence) == (kind, words), path


def test_that_a_picture_and_an_empty_folder_are_nothing_to_use(tmp_path: Path) -> None:
    picture = tmp_path / "x.png"
    picture.write_bytes(b"x")
    assert classify(picture) is None
    assert classify(_folder(tmp_path / "empty")) is None
    assert classify(tmp_path / "missing.jsonl") is None


def _mime(path: Path) -> QMimeData:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    return mime


def test_that_the_overlay_says_what_a_drop_will_do(window: MainWindow, tmp_path: Path) -> None:
    file = tmp_path / "tickets.jsonl"
    file.write_text("{}\n")
    mime = _mime(file)
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    event = QDragEnterEvent(QPoint(200, 200), Qt.DropAction.CopyAction, mime, buttons, keys)
    window.dragEnterEvent(event)
    assert event.isAccepted()
    assert window.overlay.isVisible()
    assert window.overlay.sentence == "Use as data"


def test_that_a_dropped_run_folder_is_taken_where_the_page_takes_it(
    window, services, tmp_path, qtbot
) -> None:
    taken: list[Path] = []
    window.page.handle_drop = lambda path: taken.append(path) or True
    file = tmp_path / "tickets.jsonl"
    file.write_text("{}\n")
    mime = _mime(file)
    event = QDropEvent(
        QPointF(200, 200),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    window.dropEvent(event)
    qtbot.waitUntil(lambda: taken == [file], timeout=30_000)
    assert not window.overlay.isVisible()


def test_that_dropping_something_unusable_says_what_can_be_used(window: MainWindow, tmp_path: Path) -> None:
    picture = tmp_path / "x.png"
    picture.write_bytes(b"x")
    assert not window.use(picture)
    assert "nothing Tunesmith can use" in window.toasts.toasts[-1].text


# -- toasts
def test_that_at_most_three_toasts_stand_and_errors_stay(window: MainWindow) -> None:
    window.notify("an error", "bad")
    for index in range(4):
        window.notify(f"note {index}")
    texts = [toast.text for toast in window.toasts.toasts]
    assert len(texts) == 3
    assert "an error" in texts


def test_that_toasts_are_as_high_as_their_words_and_lie_inside_the_window(window: MainWindow, qtbot) -> None:
    window.notify("short")
    window.notify("The disk is full. " * 8 + "End.", "bad", hint="Free some space. " * 5 + "Then resume.")
    qtbot.wait(20)
    for toast in window.toasts.toasts:
        assert window.rect().contains(toast.geometry().translated(window.toasts.pos()))
    wait_until_nothing_is_cut(window.toasts, qtbot)
    assert window.toasts.toasts[1].height() > window.toasts.toasts[0].height() >= 32


def test_that_pressing_undo_does_it_and_closes_the_toast(window: MainWindow, qtbot) -> None:
    done: list[bool] = []
    toast = window.notify("gone", "info", ("Undo", lambda: done.append(True)))
    from PySide6.QtWidgets import QPushButton

    undo = next(b for b in toast.findChildren(QPushButton) if b.text() == "Undo")
    qtbot.mouseClick(undo, Qt.MouseButton.LeftButton)
    assert done == [True]
    assert toast not in window.toasts.toasts


def test_that_markup_in_a_toast_is_shown_as_it_is(window: MainWindow) -> None:
    from PySide6.QtWidgets import QLabel

    toast = window.notify("<b>bold</b>", "warn")
    label = next(each for each in toast.findChildren(QLabel) if "bold" in each.text())
    assert label.textFormat() == Qt.TextFormat.PlainText


# -- log, palette
def test_that_ctrl_l_shows_the_log_of_a_run(window: MainWindow, home: Path) -> None:
    folder = make_run("logged", steps=20)
    window.drawer.open_for(folder)
    lines = window.drawer.view.toPlainText()
    assert "Started on cpu" in lines
    assert "Step 20: checkpoint saved" in lines
    window.drawer.filter.setText("checkpoint")
    assert "Started" not in window.drawer.view.toPlainText()
    window.drawer.close_drawer()


def test_that_escape_closes_the_topmost_layer_first(window: MainWindow, qtbot) -> None:
    window.drawer.open_for(None)
    window.notify("a message")
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert not window.toasts.toasts
    assert window.drawer.isVisible()
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert not window.drawer.isVisible()


def test_that_the_palette_finds_pages_and_runs_by_name(window: MainWindow, services, home, qtbot) -> None:
    from app.palette import Palette, commands_of

    make_run("findable-run", steps=5)
    palette = Palette(commands_of(window), services, window)
    qtbot.addWidget(palette)
    palette.field.setText("findable")
    qtbot.waitUntil(lambda: palette.list.count() == 1, timeout=30_000)
    palette.field.setText("settings")
    qtbot.keyClick(palette.field, Qt.Key.Key_Return)
    assert window.page_name == "settings"


def test_that_an_unexpected_error_in_the_window_becomes_a_toast_with_app_01(window, monkeypatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    install_excepthook(window)
    try:
        raise KeyError("a surprise")
    except KeyError:
        sys.excepthook(*sys.exc_info())
    assert "APP-01" in window.toasts.toasts[-1].text


def test_that_a_known_error_in_the_window_is_told_in_its_own_words(window, monkeypatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    install_excepthook(window)
    try:
        raise EngineError("There is no run x.", "Open another.", "RUN-03")
    except EngineError:
        sys.excepthook(*sys.exc_info())
    assert window.toasts.toasts[-1].text == "There is no run x. (RUN-03)"
