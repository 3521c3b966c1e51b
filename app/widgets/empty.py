"""What a page shows while it has nothing: a drawing, a sentence, one thing to do, one example."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app.theme.icons import draw_icon
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import TextLabel


class IconDrawing(QWidget):
    """A drawing made of icons in a row, joined by arrows; the last one stands in accent."""

    def __init__(self, icons: tuple[str, ...]) -> None:
        super().__init__()
        self._icons = icons
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        current_theme().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        theme = current_theme()
        count = len(self._icons)
        return QSize(theme.px(64) * count + theme.px(44) * (count - 1), theme.px(64))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box, gap = theme.px(64), theme.px(44)
        for index, name in enumerate(self._icons):
            left = index * (box + gap)
            last = index == len(self._icons) - 1
            painter.setPen(QPen(theme.color("accent" if last else "line"), 1.5))
            painter.setBrush(theme.color("accentbg" if last else "surface"))
            painter.drawRoundedRect(QRectF(left + 1, 1, box - 2, box - 2), theme.px(14), theme.px(14))
            side = theme.px(28)
            mark = QRectF(left + (box - side) / 2, (box - side) / 2, side, side)
            draw_icon(painter, name, mark, "accent" if last else "dim")
            if not last:
                painter.setPen(QPen(theme.color("edge"), 1.5))
                middle, start, end = box / 2, left + box + theme.px(9), left + box + gap - theme.px(9)
                painter.drawLine(QPointF(start, middle), QPointF(end, middle))
                tip = theme.px(4)
                painter.drawLine(QPointF(end - tip, middle - tip), QPointF(end, middle))
                painter.drawLine(QPointF(end - tip, middle + tip), QPointF(end, middle))


class EmptyState(QWidget):
    """A centred drawing (a widget, or names of icons), a sentence and up to two (text, what it does)."""

    def __init__(
        self,
        drawing: QWidget | str | tuple[str, ...],
        sentence: str,
        primary: tuple[str, Callable[[], object]] | None = None,
        secondary: tuple[str, Callable[[], object]] | None = None,
        title: str = "",
    ) -> None:
        super().__init__()
        if not isinstance(drawing, QWidget):
            drawing = IconDrawing((drawing,) if isinstance(drawing, str) else drawing)
        column = QVBoxLayout(self)
        column.setSpacing(14)
        column.addStretch(2)
        column.addWidget(drawing, 0, Qt.AlignmentFlag.AlignHCenter)
        centre = Qt.AlignmentFlag.AlignHCenter
        if title:
            heading = TextLabel(title, "title", wrap=True)
            heading.setAlignment(centre)
            column.addWidget(heading)
        words = TextLabel(sentence, "dim", wrap=True)
        words.setAlignment(centre)
        words.setMaximumWidth(current_theme().px(480))
        # In a row of its own: a layout that aligns a wrapped label gives it the height of one line.
        line = QHBoxLayout()
        line.addStretch(1)
        line.addWidget(words, 6)
        line.addStretch(1)
        column.addLayout(line)
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addStretch(1)
        for action, kind in ((primary, "primary"), (secondary, "secondary")):
            if action is not None:
                row.addWidget(button(action[0], kind=kind, on_click=action[1]))
        row.addStretch(1)
        column.addLayout(row)
        column.addStretch(3)
