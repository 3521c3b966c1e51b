"""The button that puts one more adapter on the board: a run's, an added one, or a folder from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QPoint, Signal
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from app.choices import Choice, refused_adapters
from app.i18n import tr
from app.widgets.button import button
from app.workers.background import Background
from engine.models.refused import Refused
from engine.paths import show_name

SHOWN, SHOWN_REFUSED = 18, 6
LONGEST = 110  # characters of a reason


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
        self.refused: Sequence[Refused] = ()
        self.button = button(tr("Add adapter…"), "plus", on_click=self._open)

    def look_for_refused(self, background: Background) -> None:
        """Look for adapters that cannot be used, off this thread."""
        background.run(refused_adapters, self._on_refused)

    def _on_refused(self, refused: Sequence[Refused]) -> None:
        self.refused = refused

    def menu(self) -> QMenu:
        """Return the menu: what is here, newest first, what of it cannot be used, the way to what is not."""
        menu = QMenu(self.button)
        for choice in list(self._known())[:SHOWN]:
            label = f"{choice.label}   ·   {choice.base}" if choice.base else choice.label
            act = menu.addAction(label.replace("&", "&&"))
            act.triggered.connect(lambda _checked=False, choice=choice: self.picked.emit(choice))
        for each in self.refused[:SHOWN_REFUSED]:
            why = show_name(f"{each.error.code} {each.error.message} {each.error.hint}", LONGEST)
            menu.addAction(f"{each.name}   ·   {why}".replace("&", "&&")).setEnabled(False)
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
