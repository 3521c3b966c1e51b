"""The wizard's last line: back, what is kept, and the one way on."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import ElidedLabel

KEPT = "Everything is kept as you type"


class WizardFooter(QFrame):
    """58 px under the steps.

    Signals:
        back_pressed: to the step before.
        next_pressed: to the next step, or start.
    """

    back_pressed = Signal()
    next_pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("footer")
        row = QHBoxLayout(self)
        row.setContentsMargins(24, 0, 24, 0)
        row.setSpacing(12)
        self.back = button("Back", on_click=self.back_pressed.emit)
        self.note = ElidedLabel(KEPT, "small")
        self.note.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.next = button("Next", kind="primary", on_click=self.next_pressed.emit, tip="Ctrl+Enter")
        row.addWidget(self.back)
        row.addWidget(self.note, 1)
        row.addWidget(self.next)
        self._fix_height()
        current_theme().changed.connect(self._fix_height)

    def _fix_height(self) -> None:
        self.setFixedHeight(current_theme().px(58))

    def show_step(self, words: str, first: bool) -> None:
        """Name the way on, and the way back."""
        self.next.setText(words)
        self.next.setAccessibleName(words)
        self.back.setAccessibleName("Back to Home" if first else "Back")

    def say(self, words: str = KEPT, bad: bool = False) -> None:
        """Say something beside the way on; `bad` for what stands in the way."""
        self.note.setText(words)
        self.note.set_token("bad" if bad else "dim")
        self.note.setAccessibleName(words)
