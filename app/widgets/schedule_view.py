"""The learning rate over the run as a curve whose warm-up can be pulled."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import i18n
from app.theme.style import current_theme


class ScheduleView(QWidget):
    """Draws (step, rate) points over `total` steps; the handle stands where the warm-up ends.

    Signals:
        warmup_pulled: the share of the run, 0 to 1, to which the handle was drawn.
    """

    warmup_pulled = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self._points: list[tuple[int, float]] = []
        self._other: list[tuple[int, float]] = []
        self._total, self._warm, self._pullable = 1, 0, True
        self._holding = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Learning rate over the run")
        current_theme().changed.connect(self.updateGeometry)

    def show_schedule(
        self, points: Sequence[tuple[int, float]], total: int, warm: int, pullable: bool = True
    ) -> None:
        """Draw another curve; `warm` is the number of warm-up steps."""
        self._points, self._total, self._warm, self._pullable = list(points), max(1, total), warm, pullable
        peak = max((rate for _, rate in self._points), default=0.0)
        last = self._points[-1][1] if self._points else 0.0
        self.setAccessibleDescription(
            f"rises over {warm} steps to {i18n.small(peak)}, ends at {i18n.small(last)} after {total} steps"
        )
        self.update()

    def show_other(self, points: Sequence[tuple[int, float]]) -> None:
        """Draw another curve dashed beside the present one, to compare; no points take it away."""
        self._other = list(points)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(420), current_theme().px(150))

    def _area(self) -> QRectF:
        theme = current_theme()
        least = theme.metrics("least", mono=True)
        left = least.horizontalAdvance("2.0e-04") + theme.px(10)
        return QRectF(
            left,
            theme.px(12),
            self.width() - left - theme.px(10),
            self.height() - theme.px(16) - least.height(),
        )

    def _x(self, step: float) -> float:
        area = self._area()
        return area.left() + area.width() * (step - 1) / max(1, self._total - 1)

    def _handle_x(self) -> float:
        return self._x(min(self._warm + 1, self._total))

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self._points:
            return
        theme, area = current_theme(), self._area()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        peak = max(rate for _, rate in [*self._points, *self._other]) or 1.0
        self._paint_axes(painter, area, peak)
        line = self._line(self._points, area, peak)
        filled = QPolygonF(line)
        filled.append(QPointF(line.last().x(), area.bottom()))
        filled.append(QPointF(line.first().x(), area.bottom()))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("accent", 0.14))
        painter.drawPolygon(filled)
        painter.setPen(QPen(theme.color("accent"), 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawPolyline(line)
        if self._other:
            painter.setPen(QPen(theme.color("text", 0.7), 1.5, Qt.PenStyle.DashLine))
            painter.drawPolyline(self._line(self._other, area, peak))
        if self._pullable:
            self._paint_handle(painter, area, peak)

    def _line(self, points: Sequence[tuple[int, float]], area: QRectF, peak: float) -> QPolygonF:
        pace, scale = area.width() / max(1, self._total - 1), area.height() / peak
        return QPolygonF(
            [QPointF(area.left() + (s - 1) * pace, area.bottom() - rate * scale) for s, rate in points]
        )

    def _paint_axes(self, painter: QPainter, area: QRectF, peak: float) -> None:
        theme = current_theme()
        painter.setFont(theme.font("least", mono=True))
        metrics = theme.metrics("least", mono=True)
        for share in (0.0, 0.5, 1.0):
            y = area.bottom() - share * area.height()
            painter.setPen(QPen(theme.color("line"), 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(theme.color("dim"))
            words = i18n.small(peak * share) if share else "0"
            place = QRectF(0, y - metrics.height() / 2, area.left() - theme.px(8), metrics.height())
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, words)
        y = area.bottom() + theme.px(4)
        for step in sorted({1, max(1, self._total // 2), self._total}):
            words = i18n.number(step) + (" steps" if step == self._total else "")
            width = metrics.horizontalAdvance(words) + 4
            x = min(max(area.left(), self._x(step) - width / 2), area.right() - width)
            painter.drawText(QRectF(x, y, width, metrics.height()), Qt.AlignmentFlag.AlignCenter, words)

    def _paint_handle(self, painter: QPainter, area: QRectF, peak: float) -> None:
        theme = current_theme()
        x = self._handle_x()
        held = min(self._points, key=lambda point: abs(point[0] - self._warm - 1))
        y = area.bottom() - held[1] * area.height() / peak
        painter.setPen(QPen(theme.color("text", 0.5), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(x, y), QPointF(x, area.bottom()))
        radius = theme.px(6)
        painter.setPen(QPen(theme.color("surface"), 2))
        painter.setBrush(theme.color("accent"))
        painter.drawEllipse(QPointF(x, y), radius, radius)
        if self.hasFocus():
            painter.setPen(QPen(theme.color("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(QPointF(x, y), radius + 4, radius + 4)
        words = f"warm-up {i18n.number(self._warm)} {'step' if self._warm == 1 else 'steps'}"
        metrics = theme.metrics("least")
        width = metrics.horizontalAdvance(words)
        left = x + theme.px(14) if x + theme.px(14) + width < area.right() else x - theme.px(14) - width
        painter.setFont(theme.font("least"))
        painter.setPen(theme.color("text"))
        painter.drawText(QPointF(left, area.bottom() - theme.px(7)), words)

    # -- pulling -------------------------------------------------------------------------------------------
    def _near(self, event: QMouseEvent) -> bool:
        return self._pullable and abs(event.position().x() - self._handle_x()) <= current_theme().px(10)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._holding = event.button() == Qt.MouseButton.LeftButton and self._near(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        held = self._holding or self._near(event)
        self.setCursor(Qt.CursorShape.SizeHorCursor if held else Qt.CursorShape.ArrowCursor)
        if self._holding:
            area = self._area()
            share = (event.position().x() - area.left()) / max(1.0, area.width())
            self.warmup_pulled.emit(max(0.0, min(0.9, round(share, 2))))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._holding = False

    def keyPressEvent(self, event: QKeyEvent) -> None:
        pace = {Qt.Key.Key_Left: -0.01, Qt.Key.Key_Right: 0.01}.get(Qt.Key(event.key()))
        if pace is None or not self._pullable:
            super().keyPressEvent(event)
            return
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            pace *= 10
        share = self._warm / self._total + pace
        self.warmup_pulled.emit(max(0.0, min(0.9, round(share, 2))))
