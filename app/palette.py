"""Commands, runs and settings by name (Ctrl+K)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QDialog, QLineEdit, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from app.services import Services
from app.theme.icons import icon
from app.theme.style import current_theme

MOST_ROWS, MOST_FOUND = 12, 60


@dataclass(frozen=True)
class Command:
    """One thing that can be done: its words, its icon, what it does, its keys."""

    words: str
    icon: str
    act: Callable[[], Any]
    keys: str = ""


def commands_of(window: Any) -> list[Command]:
    """Return what can be done from anywhere in the window."""
    to = window.navigate
    entries = enumerate(window.navigation.buttons.items(), 1)
    found = [
        Command(made.text(), made.icon_name, lambda page=page: to(page), f"Ctrl+{place}")
        for place, (page, made) in entries
    ]
    theme = "light" if current_theme().scheme == "dark" else "dark"
    return [
        *found,
        Command("Compare runs", "chart", lambda: to("compare")),
        Command("Evaluate a run", "table", lambda: to("evaluate")),
        Command("Try the example", "play", lambda: to("wizard", {"example": True})),
        Command("Open or import", "folder", window.open_anything, "Ctrl+O"),
        Command("Show the log", "log", window.toggle_log, "Ctrl+L"),
        Command(f"Use the {theme} theme", "sun", lambda: window.set_theme(theme)),
        Command("Larger text", "text", lambda: window.change_text_size(5), "Ctrl++"),
        Command("Smaller text", "text", lambda: window.change_text_size(-5), "Ctrl+-"),
    ]


class Palette(QDialog):
    """A field and a list; Enter does the chosen line, Esc leaves."""

    def __init__(self, commands: list[Command], services: Services, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self._commands = commands
        self._services = services
        theme = current_theme()
        self.setObjectName("palette")
        self.setFixedWidth(theme.px(520))
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 10, 10, 10)
        column.setSpacing(8)
        self.field = QLineEdit()
        self.field.setPlaceholderText("Find a command, a run or a page")
        self.field.setAccessibleName("Find a command, a run or a page")
        self.field.textChanged.connect(self._fill)
        self.list = QListWidget()
        self.list.setAccessibleName("Commands")
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.itemClicked.connect(self._do)
        column.addWidget(self.field)
        column.addWidget(self.list)
        self._fill("")
        services.background.run(_runs, self._on_runs_listed)

    def open_over(self, window: QWidget) -> None:
        """Open near the top of a window."""
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        corner = window.mapToGlobal(window.rect().topLeft())
        self.move(corner.x() + (window.width() - self.width()) // 2, corner.y() + current_theme().px(90))
        self.show()
        self.field.setFocus()

    def _on_runs_listed(self, runs: list[Any]) -> None:
        to = self._services.navigate
        self._commands = self._commands + [
            Command(f"Run: {run.name}", "chart", lambda folder=run.folder: to("monitor", {"run": folder}))
            for run in runs
        ]
        self._fill(self.field.text())

    def _fill(self, text: str) -> None:
        self.list.clear()
        words = text.lower().split()
        found = [c for c in self._commands if all(word in c.words.lower() for word in words)]
        for command in found[:MOST_FOUND]:
            line = f"{command.words}    {command.keys}" if command.keys else command.words
            item = QListWidgetItem(icon(command.icon, "dim"), line)
            item.setData(Qt.ItemDataRole.UserRole, command)
            self.list.addItem(item)
        self.list.setCurrentRow(0)
        rows = max(1, min(MOST_ROWS, self.list.count()))
        self.list.setFixedHeight(rows * max(self.list.sizeHintForRow(0), 1) + 4)
        self.adjustSize()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        if key in (Qt.Key.Key_Down, Qt.Key.Key_Up):
            step = 1 if key == Qt.Key.Key_Down else -1
            self.list.setCurrentRow((self.list.currentRow() + step) % max(1, self.list.count()))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._do(self.list.currentItem())
        else:
            super().keyPressEvent(event)

    def _do(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            command: Command = item.data(Qt.ItemDataRole.UserRole)
            self.close()
            command.act()


def _runs() -> list[Any]:
    from engine.runs.store import list_runs

    return list_runs()
