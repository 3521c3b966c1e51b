"""A model drawn as its layers, and which of them get an adapter of what rank."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
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


class RankBars(QWidget):
    """Rank per layer as bars; a press on a bar leaves its layer out or takes it in.

    Signals:
        layer_toggled: the number of the layer pressed.
    """

    layer_toggled = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._ranks: list[float] = []
        self._highest = 64.0
        self._cursor = 0
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Rank per layer")
        current_theme().changed.connect(self.updateGeometry)

    def show_ranks(self, ranks: list[float], highest: float) -> None:
        """Draw other ranks, 0 for a layer without adapter; `highest` fills the height."""
        self._ranks, self._highest = ranks, max(1.0, highest)
        adapted = sum(1 for rank in ranks if rank)
        self.setAccessibleDescription(f"{adapted} of {len(ranks)} layers have an adapter")
        self._cursor = min(self._cursor, max(0, len(ranks) - 1))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(360), current_theme().px(44))

    def _pace(self) -> float:
        return min(float(current_theme().px(14)), self.width() / max(1, len(self._ranks)))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme, pace = current_theme(), self._pace()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for index, rank in enumerate(self._ranks):
            # By doublings: ranks are chosen so, and 16 beside 256 would not be seen otherwise.
            share = max(0.14, math.log2(1 + rank) / math.log2(1 + self._highest)) if rank else 0.08
            height = share * (self.height() - 4)
            bar = QRectF(index * pace + 1, self.height() - 2 - height, max(1.0, pace - 3), height)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("accent" if rank else "edge", 0.55 + 0.45 * share if rank else 1.0))
            painter.drawRoundedRect(bar, 2, 2)
            if self.hasFocus() and index == self._cursor:
                painter.setPen(QPen(theme.color("accent"), 2))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(QRectF(index * pace, 1, pace, self.height() - 2), 3, 3)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        index = int(event.position().x() // self._pace())
        if event.button() == Qt.MouseButton.LeftButton and 0 <= index < len(self._ranks):
            self._cursor = index
            self.layer_toggled.emit(index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        pace = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if pace is not None and self._ranks:
            self._cursor = max(0, min(len(self._ranks) - 1, self._cursor + pace))
            self.update()
        elif event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return) and self._ranks:
            self.layer_toggled.emit(self._cursor)
        else:
            super().keyPressEvent(event)
