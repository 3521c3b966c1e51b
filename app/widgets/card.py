"""A card: a titled place with a border, the unit every page is made of."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.theme.tokens import CARD_PADDING
from app.widgets.label import TextLabel
from engine.paths import show_text


class Card(QFrame):
    """A frame with an optional title row; put things into `.body`.

    Signals:
        pressed: a card made pressable was clicked, or Enter or Space was pressed on it.
    """

    pressed = Signal()

    def __init__(self, title: str = "", trailing: QWidget | None = None, emphasis: bool = False) -> None:
        super().__init__()
        self.setObjectName("card")
        self.setAccessibleName(show_text(title))
        self._pressable = False
        outer = QVBoxLayout(self)
        outer.setContentsMargins(CARD_PADDING, CARD_PADDING, CARD_PADDING, CARD_PADDING)
        outer.setSpacing(10)
        self.title_label = TextLabel(title, "heading")
        self.header = QHBoxLayout()
        self.header.setSpacing(8)
        self.header.addWidget(self.title_label)
        self.header.addStretch(1)
        if trailing is not None:
            self.header.addWidget(trailing)
        if title or trailing is not None:
            outer.addLayout(self.header)
        self.body = QVBoxLayout()
        self.body.setSpacing(8)
        outer.addLayout(self.body, 1)
        self.set_emphasis(emphasis)

    def set_title(self, title: str) -> None:
        """Change the title; a card made without one shows none."""
        self.title_label.setText(title)
        self.setAccessibleName(self.title_label.text())

    def set_emphasis(self, emphasis: bool) -> None:
        """Draw the border in accent, for the one card that matters now."""
        self.setProperty("emphasis", "true" if emphasis else "false")
        self.style().unpolish(self)
        self.style().polish(self)

    def make_pressable(self, name: str) -> None:
        """Let mouse, Enter and Space press the whole card."""
        self._pressable = True
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if (
            self._pressable
            and event.button() == Qt.MouseButton.LeftButton
            and self.rect().contains(event.position().toPoint())
        ):
            self.pressed.emit()
        super().mouseReleaseEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if self._pressable and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.pressed.emit()
            return
        super().keyPressEvent(event)


class Inset(QFrame):
    """A raised area inside a card, for drawings, code and samples; put things into `.body`."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("inset")
        self.body = QVBoxLayout(self)
        margin = current_theme().px(10)
        self.body.setContentsMargins(margin, margin, margin, margin)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
