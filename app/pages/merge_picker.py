"""The button that puts one more adapter on the board: a run's, an added one, or a folder from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QPoint, Signal
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from app.choices import Choice
from app.i18n import tr
from app.widgets.button import button

SHOWN = 18


class MergePicker(QObject):
    """A button with a menu.

    Signals:
        picked: a Choice from the list.
        folder_picked: a folder with an adapter from elsewhere.
    """

    picked = Signal(object)
    folder_picked = Signal(object)

    def __init__(self, known: Callable[[], Sequence[Choice]], parent: QWidget) -> None:
        super().__init__(parent)
        self._known = known
        self.button = button(tr("Add adapter…"), "plus", on_click=self._open)

    def menu(self) -> QMenu:
        """Return the menu: what is here, newest first, then the way to what is not."""
        menu = QMenu(self.button)
        for choice in list(self._known())[:SHOWN]:
            label = f"{choice.label}   ·   {choice.base}" if choice.base else choice.label
            act = menu.addAction(label.replace("&", "&&"))
            act.triggered.connect(lambda _checked=False, choice=choice: self.picked.emit(choice))
        if menu.actions():
            menu.addSeparator()
        menu.addAction(tr("A folder from elsewhere…")).triggered.connect(lambda _checked=False: self.browse())
        return menu

    def browse(self) -> None:
        """Ask for a folder in peft's layout."""
        chosen = QFileDialog.getExistingDirectory(self.button, tr("A folder with adapter_config.json"))
        if chosen:
            self.folder_picked.emit(Path(chosen))

    def _open(self) -> None:
        menu = self.menu()
        menu.exec(self.button.mapToGlobal(QPoint(0, self.button.height() + 4)))
        menu.deleteLater()
