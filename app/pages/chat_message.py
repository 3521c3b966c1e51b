"""The message field of Chat: Enter sends, Shift+Enter breaks the line, Up brings the last message back."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit

from app.i18n import tr
from app.theme.style import current_theme

MOST_LINES = 5


class MessageField(QPlainTextEdit):
    """Grows with its lines, up to five.

    Signals:
        sent: Enter was pressed.
        last_asked_for: Up was pressed in the empty field.
    """

    sent = Signal()
    last_asked_for = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._editing = False
        self.setPlaceholderText(tr("Write a message · Enter sends, Shift+Enter breaks the line"))
        self.setAccessibleName(tr("Message"))
        self.setTabChangesFocus(True)
        self.textChanged.connect(self._fit)
        current_theme().changed.connect(self._fit)
        self._fit()

    def edit(self, text: str) -> None:
        """Take a message that was sent; what is sent next stands in its place."""
        self.setPlainText(text)
        self.moveCursor(QTextCursor.MoveOperation.End)
        self._editing = True

    def take_edited(self) -> bool:
        """Return whether what is sent now replaces the last message, and forget it."""
        editing, self._editing = self._editing, False
        return editing

    def keyPressEvent(self, event: QKeyEvent) -> None:
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and plain:
            self.sent.emit()
        elif event.key() == Qt.Key.Key_Up and not self.toPlainText():
            self.last_asked_for.emit()
        elif event.key() == Qt.Key.Key_Escape and self._editing:
            self._editing = False
            self.clear()
        else:
            super().keyPressEvent(event)

    def _fit(self) -> None:
        lines = min(MOST_LINES, max(1, self.document().blockCount()))
        self.setFixedHeight(current_theme().px(26) + lines * self.fontMetrics().lineSpacing())
