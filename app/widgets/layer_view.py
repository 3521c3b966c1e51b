"""A model drawn as its layers."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.theme.style import current_theme


class LayerStrip(QWidget):
    """Embedding, layers and head of a model as blocks, as wide as their share of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self._layers, self._embedding, self._head = 0, 0.0, 0.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Layers of the model")
        current_theme().changed.connect(self.updateGeometry)

    def show_model(self, layers: int, embedding: float, head: float) -> None:
        """Draw another model; `embedding` and `head` are shares of all weights, 0 to 1."""
        self._layers, self._embedding, self._head = layers, embedding, head
        self.setAccessibleDescription(f"{layers} layers, embedding {embedding:.0%} of the weights")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(300), current_theme().px(52))

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self._layers:
            return
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        height, gap = theme.px(24), theme.px(5)
        ends = [
            max(theme.px(10), share * self.width()) if share else 0.0
            for share in (self._embedding, self._head)
        ]
        room = self.width() - sum(ends) - gap * sum(1 for end in ends if end)
        x = 0.0
        painter.setBrush(theme.color("series4"))
        painter.drawRoundedRect(QRectF(x, 0, ends[0], height), 3, 3)
        x += ends[0] + (gap if ends[0] else 0)
        start, pace = x, room / self._layers
        painter.setBrush(theme.color("accent"))
        for _ in range(self._layers):
            painter.drawRoundedRect(QRectF(x, 0, max(1.0, pace - (2 if pace > 5 else 1)), height), 2, 2)
            x += pace
        if ends[1]:
            painter.setBrush(theme.color("series2"))
            painter.drawRoundedRect(QRectF(x + gap - 2, 0, ends[1], height), 3, 3)
        self._paint_words(painter, ends, start, room, height)

    def _paint_words(
        self, painter: QPainter, ends: list[float], start: float, room: float, height: int
    ) -> None:
        theme = current_theme()
        painter.setFont(theme.font("least"))
        painter.setPen(theme.color("dim"))
        metrics = theme.metrics("least")
        y = height + theme.px(4) + metrics.ascent()
        words = f"embedding {self._embedding:.0%}"
        painter.drawText(QPointF(0, y), words)
        middle = f"{self._layers} layers"
        width = metrics.horizontalAdvance(middle)
        left = max(metrics.horizontalAdvance(words) + theme.px(14), start + (room - width) / 2)
        painter.drawText(QPointF(left, y), middle)
        if ends[1]:
            last = f"head {self._head:.0%}"
            painter.drawText(QPointF(self.width() - metrics.horizontalAdvance(last), y), last)
