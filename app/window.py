"""The window: navigation, top bar, pages built on their first visit, drops, toasts and shortcuts."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, Qt, QTimer, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QKeyEvent,
    QKeySequence,
    QResizeEvent,
    QShortcut,
)
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QMainWindow, QStackedWidget, QVBoxLayout, QWidget

from app.closing import KEEP, STOP, ClosingDialog
from app.drawer import LogDrawer
from app.drop import DropOverlay, Dropped, classify
from app.garbage import keep_what_stands
from app.pages.page import Page
from app.palette import Palette, commands_of
from app.services import Services
from app.widgets.focus_ring import FocusRing
from app.widgets.hardware_strip import HardwarePanel, HardwareStrip
from app.widgets.nav import Navigation
from app.widgets.toast import Toast, ToastStack
from app.widgets.topbar import TopBar
from app.workers.newest_writer import flush_all

# Page: where its class is. Imported on the first visit.
PAGES: dict[str, tuple[str, str]] = {
    "home": ("app.pages.home", "HomePage"),
    "wizard": ("app.pages.wizard.wizard", "WizardPage"),
    "runs": ("app.pages.library", "LibraryPage"),
    "monitor": ("app.pages.monitor", "MonitorPage"),
    "compare": ("app.pages.later", "ComparePage"),
    "evaluate": ("app.pages.evaluate", "EvaluatePage"),
    "experiments": ("app.pages.later", "ExperimentsPage"),
    "merge": ("app.pages.merge", "MergePage"),
    "chat": ("app.pages.chat", "ChatPage"),
    "settings": ("app.pages.preferences", "PreferencesPage"),
}
# Page, word, icon; Ctrl+1 to Ctrl+7 in this order.
ENTRIES = (
    ("home", "Home", "home"),
    ("wizard", "New run", "plus"),
    ("runs", "Runs", "list"),
    ("experiments", "Experiments", "flask"),
    ("merge", "Merge", "merge"),
    ("chat", "Chat", "chat"),
    ("settings", "Settings", "sliders"),
)
# Pages that live under another entry of the navigation.
ENTRY_OF = {"monitor": "runs", "compare": "runs", "evaluate": "runs"}
WIZARD_STEPS = ("model", "data", "method", "training", "review")
NARROW_BELOW = 1180
OPENED = (
    "Data, models, recipes (*.jsonl *.json *.csv *.tsv *.parquet *.arrow *.xlsx *.txt *.gguf *.yaml *.yml)"
)
TEXT_STEP = 5
NOT_KEPT = "The settings are not written: they hold until this window is closed."


class MainWindow(QMainWindow):
    """The one window.

    Signals:
        page_shown: another page is in front, by name.
        painted: the window has been drawn for the first time.
    """

    page_shown = Signal(str)
    painted = Signal()

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        services.navigate, services.notify = self.navigate, self.notify
        self.pages: dict[str, Page] = {}
        self.page_name = ""
        self._history: list[tuple[str, dict[str, Any] | None]] = []
        self._first_paint_seen = False
        self.setWindowTitle("Tunesmith")
        self.setAcceptDrops(True)
        self.setMinimumSize(900, 600)
        self._build()
        self._connect()
        self._restore_geometry()

    # -- making ----------------------------------------------------------------------------------------
    def _build(self) -> None:
        self.strip = HardwareStrip()
        entries = [(page, word, mark, f"Ctrl+{i}") for i, (page, word, mark) in enumerate(ENTRIES, 1)]
        self.navigation = Navigation(entries, self.strip)
        self.topbar = TopBar()
        self.stack = QStackedWidget()
        self.stack.setObjectName("stack")
        self.drawer = LogDrawer()
        right = QWidget()
        column = QVBoxLayout(right)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.topbar)
        column.addWidget(self.stack, 1)
        middle = QWidget()
        row = QHBoxLayout(middle)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.navigation)
        row.addWidget(right, 1)
        row.addWidget(self.drawer)
        self.setCentralWidget(middle)
        self.toasts = ToastStack(self)
        self.overlay = DropOverlay(self)
        self.focus_ring = FocusRing(self)

    def _connect(self) -> None:
        self.navigation.page_chosen.connect(self._on_page_chosen)
        self.services.hardware.probed.connect(self.strip.show_machine)
        self.services.hardware.sampled.connect(self._on_sampled)
        self.services.theme.changed.connect(self._fit_navigation)
        self.services.settings.not_kept.connect(lambda why: self.notify(NOT_KEPT, "warn", hint=why))
        self.strip.pressed.connect(self._on_strip_pressed)
        for index, (page, _, _) in enumerate(ENTRIES, 1):
            self._shortcut(f"Ctrl+{index}", lambda page=page: self.navigate(page))
        self._shortcut("Ctrl+N", lambda: self.navigate("wizard"))
        self._shortcut("Ctrl+O", self.open_anything)
        self._shortcut("Ctrl+K", self.open_palette)
        self._shortcut("Ctrl+F", lambda: self._with_page("find"))
        self._shortcut("Ctrl+Return", lambda: self._with_page("primary_action"))
        self._shortcut("Ctrl+L", self.toggle_log)
        self._shortcut("Ctrl+,", lambda: self.navigate("settings"))
        self._shortcut("Alt+Left", self.go_back)
        for keys in ("Ctrl++", "Ctrl+="):
            self._shortcut(keys, lambda: self.change_text_size(TEXT_STEP))
        self._shortcut("Ctrl+-", lambda: self.change_text_size(-TEXT_STEP))
        self._shortcut("Ctrl+0", lambda: self._set_text_size(100))

    def _shortcut(self, keys: str, act: Any) -> None:
        made = QShortcut(QKeySequence(keys), self)
        made.activated.connect(act)

    # -- going places ------------------------------------------------------------------------------------
    def navigate(self, name: str, argument: dict[str, Any] | None = None) -> None:
        """Go to a page, building it on the first visit; `wizard-data` means the wizard at its data step."""
        if name.startswith("wizard-"):
            name, argument = "wizard", {**(argument or {}), "step": name.removeprefix("wizard-")}
        page = self._page(name)
        if self.page_name and self.page_name != name:
            self.pages[self.page_name].hidden_()
        if not self._history or self._history[-1] != (name, argument):
            self._history.append((name, argument))
        self.page_name = name
        self.stack.setCurrentWidget(page)
        self.navigation.choose(ENTRY_OF.get(name, name))
        if argument:
            page.open_with(argument)
        page.shown()
        self._show_heading()
        self.topbar.show_actions(page.top_bar_actions())
        self.page_shown.emit(name)

    def go_back(self) -> None:
        """Return to the page before."""
        if len(self._history) > 1:
            self._history.pop()
            name, argument = self._history.pop()
            self.navigate(name, argument)

    @property
    def page(self) -> Page | None:
        """Return the page in front."""
        return self.pages.get(self.page_name)

    def _page(self, name: str) -> Page:
        if name not in self.pages:
            if name not in PAGES:
                raise ValueError(f"{name} is no page; known are {', '.join(PAGES)}")
            module, class_name = PAGES[name]
            page: Page = getattr(import_module(module), class_name)(self.services)
            page.navigate_requested.connect(self.navigate)
            page.heading_changed.connect(self._on_heading_changed)
            page.actions_changed.connect(self._on_actions_changed)
            self.stack.addWidget(page)
            self.pages[name] = page
            keep_what_stands()
        return self.pages[name]

    def _with_page(self, method: str) -> None:
        if self.page is not None:
            getattr(self.page, method)()

    def _show_heading(self) -> None:
        page = self.page
        if page is not None:
            self.topbar.show_heading(page.title, page.facts, page.state_pill)

    def _on_page_chosen(self, name: str) -> None:
        self.navigate(name)

    def _on_heading_changed(self) -> None:
        if self.sender() is self.page:
            self._show_heading()

    def _on_actions_changed(self) -> None:
        if self.sender() is self.page and self.page is not None:
            self.topbar.show_actions(self.page.top_bar_actions())

    # -- what is going on --------------------------------------------------------------------------------
    def follow_run_queue(self) -> None:
        """Show what the run queue is doing, from now on; called once the queue exists."""
        self.services.run_queue.changed.connect(self.show_activity)
        self.show_activity()

    def active_runs(self) -> list[Any]:
        """Return the trainings that are going on."""
        queue = self.services.run_queue
        return list(queue.active()) if queue is not None else []

    def show_activity(self) -> None:
        """Put what is going on into the title and the navigation."""
        runs = self.active_runs()
        self.navigation.buttons["runs"].set_active(bool(runs))
        self.strip.set_own_bytes(sum(getattr(run, "memory_bytes", 0) or 0 for run in runs))
        run = runs[0] if runs else None
        share = f"{100 * run.step // run.total_steps} % · " if run and run.total_steps else ""
        self.setWindowTitle(f"{share}{run.name} - Tunesmith" if run else "Tunesmith")

    def notify(self, text: str, kind: str = "info", action: Any = None, hint: str = "") -> Toast:
        """Show a toast; an error stays until it is read."""
        return self.toasts.show_message(text, kind, action, hint)

    def _on_sampled(self, sample: object) -> None:
        self.strip.show_sample(sample)

    def _on_strip_pressed(self) -> None:
        hardware = self.services.hardware
        panel = HardwarePanel(lambda: hardware.history, hardware.machine, self)
        panel.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        hardware.sampled.connect(panel.refresh)
        panel.adjustSize()
        corner = self.strip.mapToGlobal(self.strip.rect().topRight())
        panel.move(corner.x() + 14, corner.y() + self.strip.height() - panel.height())
        panel.show()

    # -- layers ------------------------------------------------------------------------------------------
    def toggle_log(self) -> None:
        """Open the log of the run in front, or of the one that is going; close it when it is open."""
        if self.drawer.isVisible():
            self.drawer.close_drawer()
            return
        folder = self.page.log_folder() if self.page is not None else None
        runs = self.active_runs()
        self.drawer.open_for(folder or (runs[0].folder if runs else None))

    def open_palette(self) -> None:
        """Find a command, a run or a page by name."""
        Palette(commands_of(self), self.services, self).open_over(self)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc closes the topmost layer: a message, then the log."""
        if event.key() == Qt.Key.Key_Escape and self.toasts.toasts:
            self.toasts.toasts[-1].close_now()
        elif event.key() == Qt.Key.Key_Escape and self.drawer.isVisible():
            self.drawer.close_drawer()
        else:
            super().keyPressEvent(event)

    def open_anything(self) -> None:
        """Ask for a file and use it for what it is."""
        chosen, _ = QFileDialog.getOpenFileName(
            self,
            "Open or import",
            "",
            OPENED,
        )
        if chosen:
            path = Path(chosen)
            # A folder cannot be picked beside files: one of its own files stands for it.
            stands_for = ("adapter_config.json", "config.json", "job.json", "recipe.yaml")
            self.use(path.parent if path.name in stands_for and classify(path.parent) else path)

    # -- dropping ----------------------------------------------------------------------------------------
    def use(self, path: Path) -> bool:
        """Do with a file or folder what the overlay said, and return whether that was possible."""
        if self.page is not None and self.page.handle_drop(path):
            return True
        found = classify(path)
        if found is None:
            self.notify(
                f"{path.name} is nothing Tunesmith can use.",
                "warn",
                hint="Data: jsonl, json, csv, xlsx, parquet, txt. Folders: data, a model, an adapter, a run. "
                "Recipes: yaml.",
            )
            return False
        if found.kind == "adapter":
            self._import_adapter(path, found)
        else:
            self.navigate(found.page, dict(found.argument))
        return True

    def _import_adapter(self, path: Path, found: Dropped) -> None:
        def add() -> Any:
            from engine.models.library import add_adapter

            return add_adapter(path)

        def added(_: Any) -> None:
            chat = ("Chat with it", lambda: self.navigate(found.page, dict(found.argument)))
            self.notify(f"Adapter {path.name} is imported.", "ok", chat)

        self.services.background.run(add, added, self.notify_error)

    def notify_error(self, error: Any) -> None:
        """Show an EngineError as a toast that stays."""
        self.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            self.overlay.show_for(paths, self.page.drop_words(paths[0]) if self.page is not None else "")
            event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.overlay.hide()

    def dropEvent(self, event: QDropEvent) -> None:
        self.overlay.hide()
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        event.acceptProposedAction()
        # After the drop has ended: what follows may open a dialog, which must not hold the other program.
        QTimer.singleShot(0, self, lambda: [self.use(path) for path in paths[:1]])

    # -- look --------------------------------------------------------------------------------------------
    def set_theme(self, name: str) -> None:
        """Switch the theme and remember it."""
        self.services.theme.set_theme(name)
        self.services.settings.change(theme=name)

    def change_text_size(self, step: int) -> None:
        """Make text larger or smaller by some percent."""
        self._set_text_size(self.services.theme.text_size + step)

    def _set_text_size(self, percent: int) -> None:
        self.services.theme.set_text_size(percent)
        self.services.settings.change(text_size=self.services.theme.text_size)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_navigation()

    def _fit_navigation(self) -> None:
        """Large text leaves the room to the page."""
        self.navigation.set_narrow(self.width() < NARROW_BELOW * max(1.0, self.services.theme.scale))

    def paintEvent(self, event: Any) -> None:
        super().paintEvent(event)
        if not self._first_paint_seen:
            self._first_paint_seen = True
            QTimer.singleShot(0, self.painted.emit)

    # -- remembering and closing -------------------------------------------------------------------------
    def _restore_geometry(self) -> None:
        kept = self.services.settings.value.geometry
        if not (kept and self.restoreGeometry(QByteArray.fromBase64(kept.encode("ascii", "ignore")))):
            self.resize(1440, 900)

    def closeEvent(self, event: QCloseEvent) -> None:
        choice = self.ask_closing()
        if choice not in (KEEP, STOP):
            event.ignore()
            return
        if choice == STOP:
            self.services.run_queue.stop_all()
        if self.page is not None:
            self.page.hidden_()
        geometry = bytes(self.saveGeometry().toBase64().data()).decode("ascii")
        self.services.settings.change(geometry=geometry, page=self.page_name, last_seen=time.time())
        flush_all()
        event.accept()

    def ask_closing(self) -> str:
        """Return "keep", "stop" or "stay"; asks only while a training goes on."""
        runs = self.active_runs()
        if not runs:
            return KEEP
        dialog = ClosingDialog(runs, self, len(self.services.run_queue.queued()))
        dialog.exec()
        return dialog.choice
