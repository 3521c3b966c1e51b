"""What lies over a chart's curves: the crosshair, its tooltip, and the words at horizontal lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from app.theme.style import Theme, current_theme


@dataclass
class Pointed:
    """The crosshair: its place in pixels, a heading, (token, words) lines and (y, token) dots."""

    x: float
    heading: str
    lines: list[tuple[str, str]] = field(default_factory=list)
    dots: list[tuple[float, str]] = field(default_factory=list)


class ChartOverlay(QWidget):
    """A see-through layer; painting it costs nothing below it that matters."""

    def __init__(self, over: QWidget) -> None:
        super().__init__(over)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.pointed: Pointed | None = None
        self.plot_area = QRectF()
        self.focused = False
        self.empty_words = ""

    def point(self, pointed: Pointed | None) -> None:
        """Show the crosshair elsewhere, or nowhere."""
        if pointed is not None or self.pointed is not None:
            self.pointed = pointed
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.empty_words:
            painter.setFont(theme.font("small"))
            painter.setPen(theme.color("dim"))
            painter.drawText(self.plot_area, Qt.AlignmentFlag.AlignCenter, self.empty_words)
        if self.focused:
            painter.setPen(QPen(theme.color("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 6, 6)
        if self.pointed is not None:
            self._paint_crosshair(painter, theme, self.pointed)

    def _paint_crosshair(self, painter: QPainter, theme: Theme, pointed: Pointed) -> None:
        area = self.plot_area
        if not area.left() - 1 <= pointed.x <= area.right() + 1:
            return
        painter.setPen(QPen(theme.color("dim"), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(pointed.x, area.top()), QPointF(pointed.x, area.bottom()))
        for y, token in pointed.dots:
            painter.setPen(QPen(theme.color("surface"), 2))
            painter.setBrush(theme.color(token))
            painter.drawEllipse(QPointF(pointed.x, y), 4.5, 4.5)
        self._paint_box(painter, theme, pointed)

    def _paint_box(self, painter: QPainter, theme: Theme, pointed: Pointed) -> None:
        metrics = theme.metrics("least")
        rows = [*([("dim", pointed.heading)] if pointed.heading else []), *pointed.lines]
        if not rows:
            return
        line, margin = theme.px(17), theme.px(9)
        width = max(metrics.horizontalAdvance(words) for _, words in rows) + 2 * margin
        height = line * len(rows) + 2 * theme.px(6)
        left = pointed.x + theme.px(9)
        if left + width > self.width() - 2:
            left = pointed.x - theme.px(9) - width
        left = max(1.0, left)
        top = max(1.0, min(self.plot_area.top() + theme.px(18), self.height() - height - 2.0))
        box = QRectF(left, top, width, height)
        painter.setPen(QPen(theme.color("line"), 1))
        painter.setBrush(theme.color("raised"))
        painter.drawRoundedRect(box, theme.px(6), theme.px(6))
        painter.setFont(theme.font("least"))
        for number, (token, words) in enumerate(rows):
            place = QRectF(left + margin, top + theme.px(6) + number * line, width, line)
            painter.setPen(theme.color(token))
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, words)
