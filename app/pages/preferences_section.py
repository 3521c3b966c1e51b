"""What every section of the settings is: a card of labelled controls that the search can find."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app.services import Services
from app.widgets.card import Card
from app.widgets.label import text_label

LABEL_WIDTH = 150


class Section(Card):
    """One card of settings; `words` is what the search looks through, `short` its title in the index."""

    key = ""
    short = ""

    def __init__(self, services: Services, title: str, words: str) -> None:
        super().__init__(title)
        self.services = services
        self.words = f"{title} {words}".lower()
        self.body.setSpacing(12)

    def refresh(self) -> None:
        """Show what holds now."""

    def add_row(self, label: str, control: QWidget, hint: str = "") -> None:
        """Add a label at the left, a control, and a hint below in dim."""
        row = QHBoxLayout()
        row.setSpacing(12)
        words = text_label(label)
        words.setFixedWidth(self.services.theme.px(LABEL_WIDTH))
        words.setBuddy(control)
        if not control.accessibleName():
            control.setAccessibleName(label)
        control.setAccessibleDescription(hint)
        # Beside the control, not beside control and hint together.
        words.setMinimumHeight(min(control.sizeHint().height(), self.services.theme.px(32)) if hint else 0)
        row.addWidget(words, 0, Qt.AlignmentFlag.AlignTop if hint else Qt.AlignmentFlag.AlignVCenter)
        right = QVBoxLayout()
        right.setSpacing(4)
        right.addWidget(control)
        if hint:
            right.addWidget(text_label(hint, "small", wrap=True))
        row.addLayout(right, 1)
        self.body.addLayout(row)
