"""The way of a run as a drawing: Model, Data, Run, Chat, each station pressable."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QEnterEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QHBoxLayout, QSizePolicy, QWidget

from app.theme.icons import draw_icon
from app.theme.style import current_theme

STATIONS = (
    ("model", "Model", "chip", "What shall learn"),
    ("data", "Data", "database", "What it learns from"),
    ("run", "Run", "chart", "Watch it learn"),
    ("chat", "Chat", "chat", "Talk to the result"),
)


class _Station(QAbstractButton):
    """A round mark with its word and a sentence below."""

    def __init__(self, word: str, icon: str, sentence: str) -> None:
        super().__init__()
        self.setText(word)
        self.setAccessibleName(f"{word}: {sentence}")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._icon, self._sentence = icon, sentence
        current_theme().changed.connect(self.updateGeometry)

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(140), current_theme().px(136))

    def enterEvent(self, event: QEnterEvent) -> None:
        self.update()
        super().enterEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        lit = self.underMouse() or self.hasFocus()
        side = theme.px(72)
        disc = QRectF((self.width() - side) / 2, 2, side, side)
        painter.setPen(QPen(theme.color("accent" if lit else "edge"), 2))
        painter.setBrush(theme.color("accentbg" if lit else "raised"))
        painter.drawEllipse(disc)
        mark = theme.px(30)
        inside = QRectF(disc.center().x() - mark / 2, disc.center().y() - mark / 2, mark, mark)
        draw_icon(painter, self._icon, inside, "accent")
        centre = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop
        painter.setFont(theme.font("body", 600))
        painter.setPen(theme.color("text"))
        painter.drawText(self.rect().adjusted(0, side + theme.px(12), 0, 0), centre, self.text())
        painter.setFont(theme.font("least"))
        painter.setPen(theme.color("dim"))
        painter.drawText(self.rect().adjusted(0, side + theme.px(33), 0, 0), centre, self._sentence)


class WayDrawing(QWidget):
    """Four stations joined by arrows.

    Signals:
        station_pressed: model, data, run or chat.
    """

    station_pressed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(current_theme().px(18))
        self.stations: list[_Station] = []
        for key, word, icon, sentence in STATIONS:
            station = _Station(word, icon, sentence)
            station.clicked.connect(lambda _checked=False, key=key: self.station_pressed.emit(key))
            row.addWidget(station)
            self.stations.append(station)
        current_theme().changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.color("edge"), 2))
        y, radius, tip = theme.px(38), theme.px(36), theme.px(5)
        for first, second in zip(self.stations, self.stations[1:], strict=False):
            start = first.geometry().center().x() + radius + theme.px(12)
            end = second.geometry().center().x() - radius - theme.px(12)
            painter.drawLine(QPointF(start, y), QPointF(end, y))
            painter.drawLine(QPointF(end - tip, y - tip), QPointF(end, y))
            painter.drawLine(QPointF(end - tip, y + tip), QPointF(end, y))
