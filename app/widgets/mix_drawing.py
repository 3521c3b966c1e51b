"""Each way to put adapters together as a small drawing: the first in accent, the second in orange."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.theme.style import current_theme

WIDE, HIGH = 84, 30
# Values of two adapters, as the thinning methods see them: they keep the large, draw lots, or let signs vote.
FIRST = (0.9, 0.25, -0.6, 0.15, 0.7, -0.2)
SECOND = (0.7, -0.5, -0.8, 0.3, -0.25, 0.6)
KEPT = {
    "magnitude_prune": ((0, 2, 4), (0, 2, 5)),
    "dare_linear": ((1, 2, 5), (0, 3, 5)),
    "dare_ties": ((0, 2, 5), (0, 2, 3)),
    "ties": ((0, 2, 4), (0, 2)),
}


class MixDrawing(QWidget):
    """One of the methods of a merge; the words beside it say the same."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self._faint = name, False
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        current_theme().changed.connect(self.updateGeometry)

    def set_faint(self, faint: bool) -> None:
        """Draw it as one that cannot be used."""
        self._faint = faint
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(WIDE), current_theme().px(HIGH))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.scale(self.width() / WIDE, self.height() / HIGH)
        painter.setOpacity(0.4 if self._faint else 1.0)
        if self.name in KEPT:
            self._draw_thinned(painter)
        else:
            getattr(self, f"_draw_{self.name}")(painter)

    def _fill(self, painter: QPainter, token: str, strength: float = 1.0) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(current_theme().color(token, strength))

    def _pair(self, painter: QPainter, x: float, wide: float, token: str, strength: float = 1.0) -> None:
        """B, tall, and A, flat, of so many columns and rows."""
        self._fill(painter, token, strength)
        painter.drawRect(QRectF(x, 1, wide, 28))

    def _arrow(self, painter: QPainter, x: float) -> None:
        painter.setPen(QPen(current_theme().color("dim"), 1.4))
        painter.drawLine(QPointF(x, 15), QPointF(x + 10, 15))
        painter.drawLine(QPointF(x + 7, 12), QPointF(x + 10, 15))
        painter.drawLine(QPointF(x + 7, 18), QPointF(x + 10, 15))

    def _draw_linear(self, painter: QPainter) -> None:
        """Two of one width lie upon one another."""
        self._pair(painter, 4, 12, "accent")
        self._pair(painter, 22, 12, "series2")
        self._arrow(painter, 41)
        self._pair(painter, 60, 14, "accent")
        self._pair(painter, 60, 14, "series2", 0.55)

    def _draw_cat(self, painter: QPainter) -> None:
        """Of any widths, side by side."""
        self._pair(painter, 4, 14, "accent")
        self._pair(painter, 24, 7, "series2")
        self._arrow(painter, 38)
        self._pair(painter, 56, 14, "accent")
        self._pair(painter, 70, 7, "series2")

    def _draw_svd(self, painter: QPainter) -> None:
        """Of the sum, the largest directions."""
        self._pair(painter, 4, 14, "accent")
        self._pair(painter, 20, 7, "series2")
        self._arrow(painter, 33)
        for index, tall in enumerate((26, 17, 11, 7, 4, 2)):
            self._fill(painter, "accent" if index < 3 else "dim", 1.0 if index < 3 else 0.5)
            painter.drawRect(QRectF(50 + index * 5.6, 29 - tall, 4, tall))

    def _draw_thinned(self, painter: QPainter) -> None:
        """Values up and down from a line; what is dropped is outlined."""
        kept = KEPT[self.name]
        lines = ((FIRST, kept[0], "accent", 2), (SECOND, kept[1], "series2", 46))
        for values, chosen, token, left in lines:
            painter.setPen(QPen(current_theme().color("dim"), 1))
            painter.drawLine(QPointF(left, 15), QPointF(left + 36, 15))
            for index, value in enumerate(values):
                tall = abs(value) * 14
                box = QRectF(left + 1 + index * 6, 15 - tall if value > 0 else 15, 4, tall)
                if index in chosen:
                    self._fill(painter, token)
                else:
                    painter.setPen(QPen(current_theme().color("edge"), 0.9))
                    painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRect(box)
