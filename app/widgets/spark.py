"""A small curve without axes, for tables and cards."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.theme.style import current_theme

LARGEST = 1e30  # the span of larger values may be no number any more


class Sparkline(QWidget):
    """A curve of a few hundred values at most; gaps where a value is no number."""

    def __init__(
        self, values: Sequence[float] = (), token: str = "accent", width: int = 110, height: int = 28
    ) -> None:
        super().__init__()
        self._values: list[float] = []
        self._token, self._width, self._height = token, width, height
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.set(values, token)
        current_theme().changed.connect(self.update)

    def set(self, values: Sequence[float], token: str | None = None) -> None:
        """Show other values, in another colour."""
        self._values = list(values)
        self._token = token or self._token
        self.setAccessibleName(spoken(self._values))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(self._width), current_theme().px(self._height))

    def paintEvent(self, event: QPaintEvent) -> None:
        paint_curve(QPainter(self), QRectF(self.rect()).adjusted(1, 3, -1, -3), self._values, self._token)


def paint_curve(
    painter: QPainter,
    area: QRectF,
    values: Sequence[float],
    token: str | QColor,
    width: float = 1.5,
    bounds: tuple[float, float] | None = None,
) -> None:
    """Paint the curve of `values` into `area`, from lowest to highest or within `bounds`.

    The colour is a token, or a QColor where a theme other than the present one is drawn.
    """
    values = [math.nan if value is None or not abs(value) <= LARGEST else value for value in values]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return
    color = token if isinstance(token, QColor) else current_theme().color(token)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    pen = QPen(color, width)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    low, high = bounds or (min(finite), max(finite))
    span = (high - low) or 1.0
    pace = area.width() / max(1, len(values) - 1)
    piece: list[QPointF] = []
    for index, value in enumerate(values):
        if math.isfinite(value):
            y = area.bottom() - (value - low) / span * area.height() if high > low else area.center().y()
            piece.append(QPointF(area.left() + index * pace, y))
        else:
            _paint_piece(painter, piece)
            piece = []
    _paint_piece(painter, piece)
    painter.restore()


def _paint_piece(painter: QPainter, piece: list[QPointF]) -> None:
    if len(piece) == 1:
        painter.drawPoint(piece[0])
    elif piece:
        painter.drawPolyline(QPolygonF(piece))


def spoken(values: Sequence[float]) -> str:
    """Return the curve in words, for a screen reader."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return "no values yet"
    way = "falling" if finite[-1] < finite[0] else "rising" if finite[-1] > finite[0] else "level"
    return f"from {finite[0]:.3g} to {finite[-1]:.3g}, {way}"
