"""A run's loss as a curve with just enough numbers to read it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.i18n import loss, number
from app.theme.style import current_theme
from app.widgets.spark import paint_curve, spoken


class LossCurve(QWidget):
    """The training loss with its highest and lowest value and the steps at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self._values: Sequence[float] = ()
        self._step, self._token = 0, "accent"
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        current_theme().changed.connect(self.update)

    def show_curve(self, values: Sequence[float], step: int, token: str) -> None:
        """Draw another run: its losses in order, its last step, and the colour of its state."""
        self._values, self._step, self._token = values, step, token
        self.setAccessibleName(f"Loss {spoken(values)}")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(420), current_theme().px(150))

    def paintEvent(self, event: QPaintEvent) -> None:
        values, theme = self._values, current_theme()
        painter = QPainter(self)
        painter.setFont(theme.font("least", mono=True))
        if not values:
            painter.setPen(theme.color("dim"))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "No step has been made yet")
            return
        left, bottom = theme.px(52), theme.px(20)
        area = QRectF(left, theme.px(6), self.width() - left - 2, self.height() - bottom - theme.px(8))
        low, high = min(values), max(values)
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for share in (0.0, 0.5, 1.0):
            y = area.bottom() - share * area.height()
            painter.setPen(QPen(theme.color("line"), 1))
            painter.drawLine(round(area.left()), round(y), round(area.right()), round(y))
            painter.setPen(theme.color("dim"))
            place = QRectF(0, y - theme.px(8), left - theme.px(8), theme.px(16))
            painter.drawText(place, flags, loss(low + share * (high - low)))
        paint_curve(painter, area, values, self._token, 1.8, (low, high))
        painter.setPen(theme.color("dim"))
        below = QRectF(area.left(), area.bottom() + theme.px(4), area.width(), theme.px(16))
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "step 1")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"step {number(self._step)}")
