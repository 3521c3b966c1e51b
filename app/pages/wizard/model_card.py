"""The press that shows the card of the chosen model, where it has one."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QHBoxLayout, QWidget

from app.services import Services
from app.widgets.button import button
from app.widgets.card_dialog import CardDialog
from engine.errors import EngineError
from engine.models.card_text import has_card, read_card


class ModelCard(QWidget):
    """One link, hidden for a model without a card; the dialog that it opens is `dialog`."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._folder: Path | None = None
        self._name = ""
        self.dialog: CardDialog | None = None
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.press = button("Read its card", "file", kind="link", compact=True, on_click=self.open)
        row.addWidget(self.press)
        row.addStretch(1)
        self.hide()

    def set_model(self, folder: Path, name: str) -> None:
        """Offer the card of another folder."""
        self._folder, self._name = folder, name
        self.setVisible(folder.is_dir() and has_card(folder))

    def open(self) -> None:
        """Read the card and show it."""
        folder = self._folder
        if folder is not None:
            self._services.background.run(lambda: read_card(folder), self._show, self._say)

    def _show(self, text: str) -> None:
        if self.dialog is not None:
            self.dialog.deleteLater()
        self.dialog = CardDialog(self.window(), self._name, text)
        self.dialog.open()

    def _say(self, error: EngineError) -> None:
        self._services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)
