"""The window: pages on demand, navigation, keys, drops, toasts, closing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QDialog

from app.closing import KEEP, STAY, STOP, ClosingDialog, sentence
from app.drop import classify
from app.pages.page import Page
from app.services import Services, make_services
from app.window import ENTRIES, PAGES, MainWindow


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def services(home: Path, qapp: QApplication) -> Services:
    made = make_services(qapp, "dark")
    yield made
    made.hardware.stop()
    made.background.finish()


@pytest.fixture
def window(services: Services, qtbot) -> MainWindow:
    made = MainWindow(services)
    qtbot.addWidget(made)
    made.resize(1440, 900)
    made.navigate("experiments")
    made.show()
    return made


class GoingRun:
    """A run that is going on, as the run queue describes it."""

    def __init__(self, folder: Path, step: int = 236, total: int = 302, left: float | None = 36 * 60) -> None:
        self.folder, self.name = folder, "tickets"
        self.step, self.total_steps, self.seconds_left, self.memory_bytes = step, total, left, 0


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
    window.activateWindow()
    qtbot.keyClick(window, Qt.Key.Key_7, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: window.page_name == "settings", timeout=3000)


def test_that_the_top_bar_shows_what_the_page_says(window: MainWindow) -> None:
    page: Page = window.page
    page.set_heading("Another title", "three facts")
    assert window.topbar.title.text() == "Another title"
    assert window.topbar.facts.text() == "three facts"


def test_that_the_navigation_is_narrow_in_a_narrow_window(window: MainWindow, qtbot) -> None:
    assert not window.navigation.narrow
    window.resize(1100, 700)
    qtbot.waitUntil(lambda: window.navigation.narrow, timeout=2000)
    assert window.navigation.width() == 64
    window.resize(1440, 900)
    qtbot.waitUntil(lambda: not window.navigation.narrow, timeout=2000)


def test_that_text_size_keys_change_and_remember_the_size(window: MainWindow, services: Services) -> None:
    window._change_text_size(10)
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


def test_that_the_title_tells_how_far_the_training_is(
    window: MainWindow, services: Services, home: Path
) -> None:
    class Queue:
        def active(self) -> list[GoingRun]:
            return [GoingRun(home)]

    services.run_queue = Queue()
    window.show_activity()
    assert window.windowTitle() == "78 % · tickets - Tunesmith"
    assert window.navigation.buttons["runs"].active
    services.run_queue = None
    window.show_activity()
    assert window.windowTitle() == "Tunesmith"


def test_that_closing_during_a_training_says_where_it_stands(home: Path) -> None:
    assert sentence([GoingRun(home)]) == "Training goes on: step 236 of 302, 36 min left."
    assert sentence([GoingRun(home, 0, 0, None)]) == "Training goes on: it is being prepared."
    assert sentence([GoingRun(home), GoingRun(home)]) == "2 trainings go on."


@pytest.mark.parametrize(
    ("press", "choice"), [("keep_button", KEEP), ("stop_button", STOP), ("stay_button", STAY)]
)
def test_that_the_closing_question_answers_what_was_pressed(window, home, press: str, choice: str) -> None:
    dialog = ClosingDialog([GoingRun(home)], window)
    QTimer.singleShot(0, lambda: getattr(dialog, press).click())
    dialog.exec()
    assert dialog.choice == choice


def test_that_keeping_the_training_is_the_default_answer(window, home) -> None:
    dialog = ClosingDialog([GoingRun(home)], window)
    assert dialog.keep_button.isDefault()
    dialog.deleteLater()


def test_that_staying_keeps_the_window_open(
    window: MainWindow, services: Services, home: Path, qtbot
) -> None:
    class Queue:
        def active(self) -> list[GoingRun]:
            return [GoingRun(home)]

    services.run_queue = Queue()

    def stay() -> None:
        dialog = QApplication.activeModalWidget()
        assert isinstance(dialog, QDialog)
        dialog.reject()

    QTimer.singleShot(50, stay)
    window.close()
    assert window.isVisible()
    services.run_queue = None


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
    qtbot.waitUntil(lambda: taken == [file], timeout=2000)
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
    from tests.gui.run_folders import make_run

    folder = make_run("logged", steps=20)
    window.drawer.open_for(folder)
    lines = window.drawer.view.toPlainText()
    assert "Started on cpu" in lines
    assert "Step 20: checkpoint saved" in lines
    window.drawer.filter.setText("checkpoint")
    assert "Started" not in window.drawer.view.toPlainText()
    window.drawer.close_drawer()


def test_that_the_palette_finds_pages_and_runs_by_name(window: MainWindow, services, home, qtbot) -> None:
    from app.palette import Palette
    from tests.gui.run_folders import make_run

    make_run("findable-run", steps=5)
    palette = Palette(window.commands(), services, window)
    qtbot.addWidget(palette)
    palette.field.setText("findable")
    qtbot.waitUntil(lambda: palette.list.count() == 1, timeout=5000)
    palette.field.setText("settings")
    qtbot.keyClick(palette.field, Qt.Key.Key_Return)
    assert window.page_name == "settings"


# -- the whole program
def test_that_importing_the_window_brings_in_neither_torch_nor_numpy() -> None:
    code = "import sys, app.window, app.pages.home; print([m for m in HEAVY if m in sys.modules])"
    code = code.replace("HEAVY", "('torch', 'numpy', 'pyqtgraph')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_that_a_page_can_be_drawn_from_the_command_line(home: Path, tmp_path: Path) -> None:
    picture = tmp_path / "home.png"
    done = subprocess.run(
        [sys.executable, "-m", "app", "--home", str(home), "--page", "home", "--screenshot", str(picture)]
        + ["--size", "1100x700", "--theme", "light"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    from PySide6.QtGui import QImage

    drawn = QImage(str(picture))
    assert (drawn.width(), drawn.height()) == (1100, 700)
    assert len({drawn.pixel(x, y) for x in range(0, 1100, 25) for y in range(0, 700, 25)}) > 5


def test_that_a_wrong_size_is_refused_with_the_right_form() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "--page", "home", "--screenshot", "x.png", "--size", "big"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "1440x900" in done.stderr
