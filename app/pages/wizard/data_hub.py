"""A data set of the hub by its id: its files and sizes first, then, after a press, the download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout

from app.services import Services
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.editors import LineField
from app.widgets.label import TextLabel
from app.widgets.notice import Notice


class HubSet(Card):
    """The field, what the set holds, and the press that brings it.

    Signals:
        made: the folder that was downloaded.
    """

    made = Signal(object)

    def __init__(self, services: Services) -> None:
        super().__init__("A data set of the hub")
        self._services = services
        row = QHBoxLayout()
        row.setSpacing(8)
        self.field = LineField()
        self.field.setAccessibleName("Hub id of the data set")
        self.field.setPlaceholderText("name/name, or a link to it")
        self.look = button("Show its files", on_click=self.on_look_pressed)
        row.addWidget(self.field, 1)
        row.addWidget(self.look)
        self.body.addLayout(row)
        self.words = TextLabel("The network is asked only after you press.", "small", wrap=True)
        self.body.addWidget(self.words)
        self.error = Notice("bad")
        self.error.hide()
        self.body.addWidget(self.error)
        self.field.returnPressed.connect(self.on_look_pressed)

    def focus_field(self) -> None:
        """Put the cursor into the field."""
        self.field.setFocus(Qt.FocusReason.OtherFocusReason)

    def on_look_pressed(self) -> None:
        """Ask the hub what the set holds."""

    def _on_made(self, folder: Path) -> None:
        self.made.emit(folder)

    def _on_failed(self, error: Any) -> None:
        self.error.show_error(error, [("Try again", self.on_look_pressed)])
        self.error.show()
