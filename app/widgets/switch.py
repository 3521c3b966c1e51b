"""A sliding switch."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QSizePolicy

from app.theme.style import current_theme


class Switch(QAbstractButton):
    """A sliding switch, drawn by hand: the knob stands right and the track in accent when on."""

    def __init__(self) -> None:
        super().__init__()
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        current_theme().changed.connect(self.updateGeometry)

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(40), current_theme().px(32))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        height = theme.px(18)
        track = QRectF(2, (self.height() - height) / 2, self.width() - 4, height)
        painter.setPen(QPen(theme.color("accent" if self.isChecked() else "edge"), 1))
        painter.setBrush(theme.color("accent" if self.isChecked() else "raised"))
        painter.drawRoundedRect(track, height / 2, height / 2)
        side = height - 6
        x = track.right() - side - 3 if self.isChecked() else track.left() + 3
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("onaccent" if self.isChecked() else "dim"))
        painter.drawEllipse(QRectF(x, track.top() + 3, side, side))
