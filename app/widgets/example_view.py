"""One example as the model gets it: what is trained is tinted, the rest dim, marks stand in boxes."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFont, QKeyEvent, QResizeEvent, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QTextEdit

from app.theme.style import current_theme

MOST_CHARACTERS = 20_000


class ExampleView(QTextEdit):
    """Read-only text that can be selected and copied.

    Signals:
        paged: -1 or 1, when Page Up or Page Down was pressed.
    """

    paged = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setProperty("flat", "true")
        self.setAccessibleName("The example as the model gets it")
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self._segments: list[tuple[str, bool]] = []
        self._marks: frozenset[str] = frozenset()
        current_theme().changed.connect(self._draw)

    def show_example(self, segments: Sequence[tuple[str, bool]], marks: frozenset[str] = frozenset()) -> None:
        """Show (text, is it trained) pieces; words in `marks` are the model's own special tokens."""
        self._segments, self._marks = list(segments), marks
        self._draw()
        self.moveCursor(QTextCursor.MoveOperation.Start)

    def _draw(self) -> None:
        self.clear()
        self.document().setDocumentMargin(2)
        cursor = self.textCursor()
        left = MOST_CHARACTERS
        for text, trained in self._segments:
            for piece, is_mark in split_marks(text[:left], self._marks):
                cursor.insertText(piece, self._format(trained, is_mark))
            left -= len(text)
            if left <= 0:
                cursor.insertText(" … ", self._format(False, False))
                break
        self._fit()

    def _fit(self) -> None:
        """Take the height of the text, between a few lines and a third of a page."""
        theme = current_theme()
        wanted = round(self.document().size().height()) + 6
        most = theme.px(300)
        off, needed = Qt.ScrollBarPolicy.ScrollBarAlwaysOff, Qt.ScrollBarPolicy.ScrollBarAsNeeded
        self.setVerticalScrollBarPolicy(needed if wanted > most else off)
        self.setFixedHeight(max(theme.px(64), min(most, wanted)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _format(self, trained: bool, is_mark: bool) -> QTextCharFormat:
        theme = current_theme()
        made = QTextCharFormat()
        made.setFont(theme.font("least" if is_mark else "small", mono=True))
        if trained:
            made.setBackground(theme.color("accentbg"))
            made.setForeground(theme.color("accent" if is_mark else "text"))
        elif is_mark:
            made.setBackground(theme.color("surface"))
            made.setForeground(theme.color("dim"))
        else:
            made.setForeground(theme.color("dim"))
        if is_mark:
            made.setFontWeight(QFont.Weight.Medium)
        return made

    def keyPressEvent(self, event: QKeyEvent) -> None:
        pace = {Qt.Key.Key_PageUp: -1, Qt.Key.Key_PageDown: 1}.get(Qt.Key(event.key()))
        if pace is None:
            super().keyPressEvent(event)
        else:
            self.paged.emit(pace)


def split_marks(text: str, marks: frozenset[str]) -> list[tuple[str, bool]]:
    """Cut `text` into pieces and say of each whether it is one of `marks`."""
    pieces: list[tuple[str, bool]] = []
    start = 0
    while marks and start < len(text):
        places = [(text.find(mark, start), mark) for mark in marks]
        found = [(at, mark) for at, mark in places if at >= 0]
        if not found:
            break
        at, mark = min(found, key=lambda pair: (pair[0], -len(pair[1])))
        if at > start:
            pieces.append((text[start:at], False))
        pieces.append((mark, True))
        start = at + len(mark)
    if start < len(text):
        pieces.append((text[start:], False))
    return pieces
