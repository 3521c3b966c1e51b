"""An answer token by token: an underline tells how likely each was, hovering what else could stand there."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt
from PySide6.QtGui import (
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QTextCharFormat,
    QTextCursor,
)
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QSizePolicy, QVBoxLayout, QWidget

from app.i18n import number, tr
from app.theme.style import current_theme
from app.widgets.label import TextLabel
from app.widgets.words_view import height_of

Told = dict[str, Any]
LIKELY, LESS_LIKELY = 0.8, 0.4
# (least chance, token of the colour, underline): a line's shape says it without its colour.
STEPS = (
    (LIKELY, "", QTextCharFormat.UnderlineStyle.NoUnderline),
    (LESS_LIKELY, "warn", QTextCharFormat.UnderlineStyle.DashUnderline),
    (0.0, "bad", QTextCharFormat.UnderlineStyle.SingleUnderline),
)


def percent(chance: float) -> str:
    """Return a chance as a person reads it."""
    if chance < 0.001:
        return f"<{number(0.1, 1)}\u00a0%"
    return f"{number(100 * chance, 1 if chance < 0.9995 else 0)}\u00a0%"


def visible(text: str) -> str:
    """Return a token's text with its spaces and line ends to be seen."""
    return text.replace(" ", "·").replace("\n", "↵").replace("\t", "→") or "∅"


class ChancesView(QPlainTextEdit):
    """The text of an answer with underlines; mouse and arrow keys show the alternatives of a token."""

    def __init__(self) -> None:
        super().__init__(readOnly=True)
        self.setProperty("flat", "true")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName(tr("Answer with the chance of each token"))
        self.setMouseTracking(True)
        self.viewport().setMouseTracking(True)
        self.document().setDocumentMargin(0)
        self._tokens: list[Told] = []
        self._ends: list[int] = []
        self.card = AlternativesCard(self)
        self.cursorPositionChanged.connect(self._on_cursor_moved)
        current_theme().changed.connect(self._draw)

    def show_tokens(self, tokens: list[Told]) -> None:
        """Show tokens with "text", "chance", "place" and "likeliest"."""
        self._tokens = [token for token in tokens if token["text"]]
        self._ends, end = [], 0
        for token in self._tokens:
            end += len(token["text"].encode("utf-16-le")) // 2  # as Qt counts characters
            self._ends.append(end)
        self._draw()

    def token_at(self, position: int) -> int | None:
        """Return the number of the token at a character."""
        return next((place for place, end in enumerate(self._ends) if position < end), None)

    def _draw(self) -> None:
        theme = current_theme()
        self.setFont(theme.font("body"))
        self.clear()
        cursor = QTextCursor(self.document())
        for token in self._tokens:
            _, colour, style = next(step for step in STEPS if token["chance"] >= step[0])
            look = QTextCharFormat()
            look.setUnderlineStyle(style)
            if colour:
                look.setUnderlineColor(theme.color(colour))
            cursor.insertText(token["text"], look)
        self._fit()

    def _fit(self) -> None:
        self.setFixedHeight(height_of(self) + 2)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        self._show_at(self.cursorForPosition(event.position().toPoint()))

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Leave:
            self.card.hide()
        return super().viewportEvent(event)

    def hideEvent(self, event: Any) -> None:
        self.card.hide()
        super().hideEvent(event)

    def _on_cursor_moved(self) -> None:
        if self.hasFocus():
            self._show_at(self.textCursor())

    def _show_at(self, cursor: QTextCursor) -> None:
        found = self.token_at(cursor.position())
        if found is None:
            self.card.hide()
            return
        place = self.viewport().mapTo(self.window(), self.cursorRect(cursor).bottomLeft())
        self.card.show_token(self._tokens[found], place)


class AlternativesCard(QFrame):
    """What else could have stood at a place, as bars; lies over the window and takes no mouse."""

    def __init__(self, owner: QWidget) -> None:
        super().__init__(owner)
        self.setObjectName("toast")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._owner = owner
        theme = current_theme()
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.px(12), theme.px(9), theme.px(12), theme.px(11))
        column.setSpacing(theme.px(5))
        self.head = TextLabel("", "small")
        self.bars = _Bars()
        column.addWidget(self.head)
        column.addWidget(self.bars)
        self.hide()

    def show_token(self, token: Told, place: QPoint) -> None:
        """Show one token's alternatives below a place in the window."""
        window = self._owner.window()
        if self.parentWidget() is not window:
            self.setParent(window)
        text = tr("{token}: {chance}, likeliest no. {place}")
        self.head.setText(
            text.format(token=visible(token["text"]), chance=percent(token["chance"]), place=token["place"])
        )
        self.bars.show_likeliest(token["likeliest"], token["text"])
        self.setAccessibleName(f"{self.head.text()}. {self.bars.accessibleName()}")
        self.adjustSize()
        gap = current_theme().px(8)
        x = min(place.x(), window.width() - self.width() - gap)
        below = place.y() + gap
        y = below if below + self.height() < window.height() else place.y() - self.height() - 3 * gap
        self.move(max(gap, x), max(gap, y))
        self.show()
        self.raise_()


class _Bars(QWidget):
    """One row a token: its text, a bar, its chance; the chosen one in accent."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[str, float, bool]] = []
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def show_likeliest(self, likeliest: list[Told], chosen: str) -> None:
        """Show tokens with their chances."""
        self._rows = [
            (visible(each["text"])[:18], each["chance"], each["text"] == chosen) for each in likeliest
        ]
        self.setAccessibleName(", ".join(f"{text} {percent(chance)}" for text, chance, _ in self._rows))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        theme = current_theme()
        return QSize(theme.px(252), theme.px(20) * max(1, len(self._rows)))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(theme.font("small", mono=True))
        line, words, figure = theme.px(20), theme.px(104), theme.px(54)
        room = self.width() - words - figure - theme.px(12)
        for row, (text, chance, chosen) in enumerate(self._rows):
            top = row * line
            painter.setPen(theme.color("text"))
            left = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, words)
            painter.drawText(QRectF(0, top, words, line), left, shown)
            painter.setPen(Qt.PenStyle.NoPen)
            height = theme.px(8)
            place = QRectF(words + theme.px(6), top + (line - height) / 2, room, height)
            painter.setBrush(theme.color("line"))
            painter.drawRoundedRect(place, height / 2, height / 2)
            place.setWidth(max(height, room * chance))
            painter.setBrush(theme.color("accent" if chosen else "dim"))
            painter.drawRoundedRect(place, height / 2, height / 2)
            painter.setPen(theme.color("text"))
            right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            painter.drawText(QRectF(self.width() - figure, top, figure, line), right, percent(chance))
