"""Each method as a small drawing: what stays is outlined, what is trained is filled."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.theme.style import current_theme

WIDE, HIGH = 62, 30


class MethodDrawing(QWidget):
    """One of: lora, qlora, full, dora, adalora, vera, ia3, oft; the words beside it say the same."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        current_theme().changed.connect(self.updateGeometry)

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(WIDE), current_theme().px(HIGH))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.scale(self.width() / WIDE, self.height() / HIGH)
        getattr(self, f"_draw_{self.name}")(painter)

    # -- pieces --------------------------------------------------------------------------------------------
    def _frozen(self, painter: QPainter) -> None:
        painter.setPen(QPen(current_theme().color("edge"), 1.2))
        painter.setBrush(current_theme().color("raised"))

    def _trained(self, painter: QPainter, strength: float = 1.0) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(current_theme().color("accent", strength))

    def _base(self, painter: QPainter) -> QRectF:
        box = QRectF(1, 1, 28, 28)
        self._frozen(painter)
        painter.drawRoundedRect(box, 3, 3)
        return box

    def _pair(self, painter: QPainter) -> None:
        """A narrows the inputs to the rank, B widens them again."""
        painter.drawPolygon(QPolygonF([QPointF(36, 29), QPointF(60, 29), QPointF(53, 16), QPointF(43, 16)]))
        painter.drawPolygon(QPolygonF([QPointF(43, 14), QPointF(53, 14), QPointF(60, 1), QPointF(36, 1)]))

    # -- methods -------------------------------------------------------------------------------------------
    def _draw_lora(self, painter: QPainter) -> None:
        self._base(painter)
        self._trained(painter)
        self._pair(painter)

    def _draw_qlora(self, painter: QPainter) -> None:
        box = self._base(painter)
        painter.setPen(QPen(current_theme().color("edge"), 1.0))
        for share in (0.25, 0.5, 0.75):
            x, y = box.left() + share * box.width(), box.top() + share * box.height()
            painter.drawLine(QPointF(x, box.top()), QPointF(x, box.bottom()))
            painter.drawLine(QPointF(box.left(), y), QPointF(box.right(), y))
        self._trained(painter)
        self._pair(painter)

    def _draw_full(self, painter: QPainter) -> None:
        self._trained(painter)
        painter.drawRoundedRect(QRectF(33, 1, 28, 28), 3, 3)

    def _draw_dora(self, painter: QPainter) -> None:
        self._draw_lora(painter)
        self._trained(painter)
        painter.drawRoundedRect(QRectF(31.5, 1, 2.5, 28), 1, 1)

    def _draw_adalora(self, painter: QPainter) -> None:
        self._base(painter)
        self._trained(painter, 0.55)
        self._pair(painter)
        self._trained(painter)
        for index, tall in enumerate((9, 6.5, 3.5, 1.5)):
            painter.drawRect(QRectF(40 + index * 4.6, 15 - tall / 2, 3, tall))

    def _draw_vera(self, painter: QPainter) -> None:
        self._base(painter)
        self._frozen(painter)
        self._pair(painter)
        self._trained(painter)
        painter.drawRoundedRect(QRectF(42, 13.2, 12, 3), 1, 1)
        painter.drawRoundedRect(QRectF(36, 0, 24, 3), 1, 1)

    def _draw_ia3(self, painter: QPainter) -> None:
        self._base(painter)
        self._trained(painter)
        for index in range(5):
            painter.drawRoundedRect(QRectF(33, 1.5 + index * 5.7, 4, 4), 1, 1)

    def _draw_oft(self, painter: QPainter) -> None:
        self._base(painter)
        painter.setPen(QPen(current_theme().color("edge"), 1.0))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(QRectF(36, 3, 24, 24))
        self._trained(painter)
        for index in range(3):
            painter.drawRect(QRectF(36 + 8 * index, 3 + 8 * index, 8, 8))
