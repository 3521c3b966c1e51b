"""Words of a chat: plain, selectable, as high as they are; a word that is wider than its place is broken."""

from __future__ import annotations

from math import ceil

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent, QTextCharFormat, QTextCursor, QWheelEvent
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QSizePolicy

from app.theme.style import current_theme
from app.widgets.label import LONGEST, ROLES
from engine.paths import show_text

NAMED = 300  # characters of it are its accessible name


class WordsView(QPlainTextEdit):
    """Like a label, with a role of labels; a label makes its whole column as wide as its longest word."""

    def __init__(self, text: str = "", role: str = "body") -> None:
        super().__init__(readOnly=True)
        self._role = role
        self.setProperty("flat", "true")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.document().setDocumentMargin(0)
        self._refresh()
        current_theme().changed.connect(self._refresh)
        self.setText(text)

    def text(self) -> str:
        """Return what is shown."""
        return self.toPlainText()

    def setText(self, text: str) -> None:
        """Show other words; what is only longer than before is added to."""
        shown, before = show_text(text, LONGEST), self.toPlainText()
        if before and shown.startswith(before):
            cursor = QTextCursor(self.document())
            cursor.movePosition(QTextCursor.MoveOperation.End)
            cursor.insertText(shown[len(before) :])
        else:
            self.setPlainText(shown)
            self._colour()
        self.setAccessibleName(shown[:NAMED])
        self._fit()

    def set_role(self, role: str) -> None:
        """Change font and colour to those of another role."""
        self._role = role
        self._refresh()

    def minimumSizeHint(self) -> QSize:
        return QSize(1, self.fontMetrics().lineSpacing())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()  # the conversation around it moves

    def _refresh(self) -> None:
        role, weight, mono, _ = ROLES[self._role]
        self.setFont(current_theme().font(role, weight, mono))
        self._colour()
        self._fit()

    def _colour(self) -> None:
        """Colour the words themselves: the stylesheet has the palette's say."""
        look = QTextCharFormat()
        look.setForeground(current_theme().color(ROLES[self._role][3]))
        cursor = QTextCursor(self.document())
        cursor.select(QTextCursor.SelectionType.Document)
        cursor.mergeCharFormat(look)

    def _fit(self) -> None:
        self.setFixedHeight(height_of(self))


def height_of(view: QPlainTextEdit) -> int:
    """Return the height of all lines; one with a letter of another font is higher than others."""
    block, height = view.document().firstBlock(), 0.0
    while block.isValid():
        height += view.blockBoundingRect(block).height()
        block = block.next()
    return max(view.fontMetrics().lineSpacing(), ceil(height)) + 2
