"""Planned against measured, a dot a run, on logarithmic axes: on the diagonal both agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFocusEvent,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app.theme.style import current_theme

LEAST_SPAN = 4.0  # of the largest value to the smallest, so that a few alike runs do not fill the plane
MARGIN = 1.25
RADIUS = 4.5
REACH = 12  # pixels around a dot in which the pointer is at it
FACTORS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Dot:
    """One run: what was planned and measured, in the same unit, and its words; `tried` is a trial's."""

    planned: float
    measured: float
    words: str
    tried: bool = False


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values within low..high, 1-2-5 where there is room, else whole decades."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in (FACTORS, (1.0, 3.0), (1.0,)):
        found = [f * 10.0**d for d in range(first, last + 1) for f in factors]
        found = [value for value in found if low * 0.999 <= value <= high * 1.001]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


class AgreementPlot(QWidget):
    """A plane of dots; arrow keys walk over them, the pointer finds them.

    Signals:
        told: the words of the dot that keys or pointer are at, empty when they are at none.
    """

    told = Signal(str)

    def __init__(self, name: str, unit: str, wording: Callable[[float], str]) -> None:
        super().__init__()
        self._name, self._unit, self._wording = name, unit, wording
        self._dots: tuple[Dot, ...] = ()
        self._band = (1.0, 1.0)
        self._factor = 1.0
        self._range = (1.0, 10.0)
        self._chosen: int | None = None
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        current_theme().changed.connect(self._on_theme_changed)

    def show_dots(
        self, dots: Sequence[Dot], factor: float, low: float, high: float, summary: str = ""
    ) -> None:
        """Show runs with the band low..high around `factor` (all times planned); `summary` is spoken."""
        self._dots = tuple(sorted(dots, key=lambda dot: dot.planned))
        self._factor, self._band, self._chosen = factor, (low, high), None
        values = [value for dot in self._dots for value in (dot.planned, dot.measured)]
        if values:
            least, most = min(values) / MARGIN, max(values) * MARGIN
            middle, half = math.sqrt(least * most), math.sqrt(max(LEAST_SPAN, most / least))
            self._range = (middle / half, middle * half)
        self.setAccessibleDescription(summary)
        self.update()

    @property
    def chosen(self) -> Dot | None:
        """Return the dot that keys or pointer are at."""
        return None if self._chosen is None else self._dots[self._chosen]

    def place_of(self, dot: Dot) -> QPointF:
        """Return where a dot is drawn."""
        return self._point(dot.planned, dot.measured)

    def _on_theme_changed(self) -> None:
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(360), current_theme().px(280))

    def minimumSizeHint(self) -> QSize:
        return QSize(current_theme().px(240), current_theme().px(280))

    def _area(self) -> QRectF:
        theme = current_theme()
        metrics = theme.metrics("least")
        wide = max((metrics.horizontalAdvance(self._wording(v)) for v in self._ticks(False)), default=30)
        left, below = wide + theme.px(10), 2 * metrics.height() + theme.px(8)
        above = metrics.height() + theme.px(8)
        return QRectF(
            left,
            above,
            max(10.0, self.width() - left - theme.px(14)),
            max(10.0, self.height() - above - below),
        )

    def _ticks(self, across: bool) -> list[float]:
        room = (self.width() / 74) if across else (self.height() / 40)
        return ticks(*self._range, max(2, min(7, int(room / current_theme().scale))))

    def _point(self, planned: float, measured: float) -> QPointF:
        area, (low, high) = self._area(), self._range
        span = math.log(high / low)
        x = area.left() + area.width() * math.log(planned / low) / span
        y = area.bottom() - area.height() * math.log(measured / low) / span
        return QPointF(x, y)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme, area = current_theme(), self._area()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_axes(painter, area)
        painter.save()
        painter.setClipRect(area)
        self._paint_band(painter)
        low, high = self._range
        painter.setPen(QPen(theme.color("dim"), 1.5, Qt.PenStyle.DashLine))
        painter.drawLine(self._point(low, low), self._point(high, high))
        painter.restore()
        for index, dot in enumerate(self._dots):
            self._paint_dot(painter, dot, index == self._chosen)

    def _paint_axes(self, painter: QPainter, area: QRectF) -> None:
        theme = current_theme()
        metrics = theme.metrics("least")
        painter.setFont(theme.font("least"))
        for across in (True, False):
            for value in self._ticks(across):
                place = self._point(value, value)
                painter.setPen(QPen(theme.color("line"), 1))
                if across:
                    painter.drawLine(QPointF(place.x(), area.top()), QPointF(place.x(), area.bottom()))
                else:
                    painter.drawLine(QPointF(area.left(), place.y()), QPointF(area.right(), place.y()))
                painter.setPen(theme.color("dim"))
                words = self._wording(value)
                wide = metrics.horizontalAdvance(words)
                if across:
                    left = max(area.left() - wide / 2, min(place.x() - wide / 2, self.width() - wide - 1.0))
                    painter.drawText(QPointF(left, area.bottom() + metrics.ascent() + theme.px(5)), words)
                else:
                    foot = place.y() + metrics.ascent() / 2 - 1
                    painter.drawText(QPointF(area.left() - wide - theme.px(7), foot), words)
        painter.setPen(theme.color("dim"))
        bottom = self.height() - metrics.descent() - 1.0
        along, up = f"planned, {self._unit}", f"measured, {self._unit}"
        painter.drawText(QPointF(area.right() - metrics.horizontalAdvance(along), bottom), along)
        painter.drawText(QPointF(0.0, float(metrics.ascent())), up)

    def _paint_band(self, painter: QPainter) -> None:
        theme, (low, high) = current_theme(), self._range
        if not self._dots or self._band[1] <= self._band[0]:
            return
        far = math.sqrt(high / low)
        ends = [(low / far, self._band[1]), (high * far, self._band[1]), (high * far, self._band[0])]
        ends.append((low / far, self._band[0]))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("accent", 0.16))
        painter.drawPolygon(QPolygonF([self._point(x, x * factor) for x, factor in ends]))
        painter.setPen(QPen(theme.color("accent", 0.7), 1.5))
        painter.drawLine(
            self._point(low / far, low / far * self._factor),
            self._point(high * far, high * far * self._factor),
        )

    def _paint_dot(self, painter: QPainter, dot: Dot, chosen: bool) -> None:
        theme, place = current_theme(), self.place_of(dot)
        odd = not self._band[0] <= dot.measured / dot.planned <= self._band[1]
        color = theme.color("warn" if odd else "accent")
        radius = theme.px(RADIUS) + (1.5 if chosen else 0.0)
        painter.setPen(QPen(color if dot.tried else theme.color("surface"), 2 if dot.tried else 1))
        painter.setBrush(theme.color("surface") if dot.tried else color)
        if odd:  # another form too: colour alone is not enough
            tips = [(-1.3 * radius, radius), (1.3 * radius, radius), (0.0, -1.4 * radius)]
            painter.drawPolygon(QPolygonF([place + QPointF(x, y) for x, y in tips]))
        else:
            painter.drawEllipse(place, radius, radius)
        if chosen:
            painter.setPen(QPen(theme.color("text"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(place, radius + 4, radius + 4)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            near = self._nearest(QPointF(event.pos()))
            if near is None:
                QToolTip.hideText()
            else:
                QToolTip.showText(event.globalPos(), self._dots[near].words, self)
            return True
        return super().event(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._choose(self._nearest(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        if not self.hasFocus():
            self._choose(None)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self._choose(None)
        super().focusOutEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        count = len(self._dots)
        steps = {Qt.Key.Key_Right: 1, Qt.Key.Key_Up: 1, Qt.Key.Key_Left: -1, Qt.Key.Key_Down: -1}
        ends = {Qt.Key.Key_Home: 0, Qt.Key.Key_End: count - 1}
        key = Qt.Key(event.key())
        if not count or key not in steps.keys() | ends.keys():
            super().keyPressEvent(event)
            return
        at = -1 if self._chosen is None else self._chosen
        self._choose(ends[key] if key in ends else max(0, min(count - 1, at + steps[key])))

    def _choose(self, index: int | None) -> None:
        if index == self._chosen:
            return
        self._chosen = index
        words = "" if index is None else self._dots[index].words
        self.setAccessibleName(f"{self._name}: {words}".replace("\n", ", ") if words else self._name)
        self.told.emit(words)
        self.update()

    def _nearest(self, at: QPointF) -> int | None:
        def distance(index: int) -> float:
            gap = self.place_of(self._dots[index]) - at
            return math.hypot(gap.x(), gap.y())

        found = min(range(len(self._dots)), key=distance, default=None)
        return found if found is not None and distance(found) <= current_theme().px(REACH) else None
