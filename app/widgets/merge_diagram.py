"""The chain of a merge as a drawing: base and adapters flow into the result, and on into its format."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.theme.style import current_theme

ROW, ROW_GAP = 54, 12


@dataclass(frozen=True)
class Station:
    """One box: its name, a line of facts, its colour, whether it takes part, and how often it counts.

    A curve is as thick as its weight is large; one below nought is dashed.
    """

    name: str
    facts: str
    token: str
    active: bool = True
    weight: float = 1.0


class MergeDiagram(QWidget):
    """Boxes in three columns joined by curves, as wide as the page."""

    def __init__(self) -> None:
        super().__init__()
        self._sources: list[Station] = []
        self._merged = Station("", "", "line", False)
        self._formats: list[Station] = []
        self._share = 0.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        current_theme().changed.connect(self.updateGeometry)
        current_theme().changed.connect(self.update)

    def show_chain(self, sources: list[Station], merged: Station, formats: list[Station]) -> None:
        """Draw another chain."""
        self._sources, self._merged, self._formats = sources, merged, formats
        words = ", ".join(f"{s.name} ({s.facts})" for s in sources)
        ways = ", ".join(s.name for s in formats if s.active)
        self.setAccessibleName(f"{words} → {merged.name} ({merged.facts}) → {ways}")
        self.updateGeometry()
        self.update()

    def set_share(self, share: float) -> None:
        """Fill the merged box as far as the work has come, 0 to 1."""
        self._share = max(0.0, min(1.0, share))
        self.update()

    def _rows(self) -> int:
        return max(len(self._sources), len(self._formats), 1)

    def sizeHint(self) -> QSize:
        theme = current_theme()
        return QSize(theme.px(760), self._rows() * theme.px(ROW) + (self._rows() - 1) * theme.px(ROW_GAP) + 4)

    def minimumSizeHint(self) -> QSize:
        return QSize(current_theme().px(560), self.sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        width = min(theme.px(230), (self.width() - 2 * theme.px(70)) / 3)
        lefts = (1.0, (self.width() - width) / 2, self.width() - width - 1)
        sources = self._places(lefts[0], width, len(self._sources))
        middle = self._places(lefts[1], width, 1)[0]
        formats = self._places(lefts[2], width, len(self._formats))
        for station, box in zip(self._sources, sources, strict=True):
            self._curve(painter, box, middle, station)
        for station, box in zip(self._formats, formats, strict=True):
            self._curve(painter, middle, box, station)
        for station, box in zip(self._sources, sources, strict=True):
            self._box(painter, box, station)
        self._box(painter, middle, self._merged, self._share)
        for station, box in zip(self._formats, formats, strict=True):
            self._box(painter, box, station)

    def _places(self, left: float, width: float, count: int) -> list[QRectF]:
        """Stack `count` boxes around the middle of the drawing."""
        theme = current_theme()
        height, gap = theme.px(ROW), theme.px(ROW_GAP)
        top = (self.height() - count * height - (count - 1) * gap) / 2
        return [QRectF(left, top + i * (height + gap), width, height) for i in range(count)]

    def _curve(self, painter: QPainter, start: QRectF, end: QRectF, station: Station) -> None:
        theme = current_theme()
        begin, stop = QPointF(start.right(), start.center().y()), QPointF(end.left(), end.center().y())
        bend = (stop.x() - begin.x()) / 2
        path = QPainterPath(begin)
        path.cubicTo(begin + QPointF(bend, 0), stop - QPointF(bend, 0), stop)
        active = station.active and station.weight != 0
        token = station.token if active else "line"
        painter.setBrush(Qt.BrushStyle.NoBrush)
        wide = 1.0 + 2.5 * abs(station.weight) if active else 1.5
        pen = QPen(theme.color(token, 0.85 if active else 1.0), wide)
        if station.weight < 0:
            pen.setDashPattern([3.0, 2.0])
        painter.setPen(pen)
        painter.drawPath(path)

    def _box(self, painter: QPainter, box: QRectF, station: Station, share: float = 0.0) -> None:
        theme = current_theme()
        radius = theme.px(8)
        shape = QPainterPath()
        shape.addRoundedRect(box, radius, radius)
        painter.fillPath(shape, theme.color("surface"))
        if share > 0:
            painter.save()
            painter.setClipPath(shape)
            filled = QRectF(box.left(), box.top(), box.width() * share, box.height())
            painter.fillRect(filled, theme.color(station.token, 0.22))
            painter.restore()
        painter.setPen(QPen(theme.color(station.token if station.active else "line"), 1.5))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(shape)
        inner = box.adjusted(theme.px(13), theme.px(8), -theme.px(11), -theme.px(7))
        half = inner.height() / 2
        rows = (
            (station.name, "body", 600, "text" if station.active else "dim"),
            (station.facts, "least", None, "dim"),
        )
        for index, (text, role, weight, token) in enumerate(rows):
            font = theme.font(role, weight)
            painter.setFont(font)
            painter.setPen(theme.color(token))
            place = QRectF(inner.left(), inner.top() + index * half, inner.width(), half)
            shown = QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideRight, int(inner.width()))
            painter.drawText(place, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), shown)
