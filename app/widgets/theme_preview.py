"""A theme as a small window, to choose by eye."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QEnterEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QSizePolicy

from app.theme.style import current_theme
from app.theme.tokens import SCHEMES
from app.widgets.spark import paint_curve

CURVE = (2.4, 1.9, 1.6, 1.45, 1.2, 1.25, 1.05, 1.0, 0.92, 0.95, 0.9)


class ThemePreview(QAbstractButton):
    """One choice of theme; `system` is drawn half dark and half light."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__()
        self.name = name
        self.setText(words)
        self.setAccessibleName(f"{words} theme")
        self.setCheckable(True)
        self.setAutoExclusive(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        current_theme().changed.connect(self.updateGeometry)

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(176), current_theme().px(136))

    def minimumSizeHint(self) -> QSize:
        return QSize(110, current_theme().px(136))

    def enterEvent(self, event: QEnterEvent) -> None:
        self.update()
        super().enterEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        window = QRectF(2, 2, self.width() - 4, self.height() - theme.px(30))
        outline = QPainterPath()
        outline.addRoundedRect(window, theme.px(8), theme.px(8))
        painter.save()
        painter.setClipPath(outline)
        if self.name == "system":
            self._paint_window(painter, window, "dark")
            painter.setClipRect(window.adjusted(window.width() / 2, 0, 0, 0), Qt.ClipOperation.IntersectClip)
            self._paint_window(painter, window, "light")
        else:
            self._paint_window(painter, window, self.name)
        painter.restore()
        chosen = self.isChecked()
        painter.setBrush(Qt.BrushStyle.NoBrush)
        lit = chosen or self.underMouse()
        painter.setPen(QPen(theme.color("accent" if lit else "edge"), 2.5 if chosen else 1))
        painter.drawPath(outline)
        painter.setFont(theme.font("body", 600 if chosen else 400))
        painter.setPen(theme.color("accent" if chosen else "text"))
        below = self.rect().adjusted(0, self.height() - theme.px(24), 0, 0)
        painter.drawText(below, Qt.AlignmentFlag.AlignCenter, self.text())

    @staticmethod
    def _paint_window(painter: QPainter, window: QRectF, scheme: str) -> None:
        table, unit = SCHEMES[scheme], window.width() / 172
        painter.fillRect(window, QColor(table["bg"]))
        nav = QRectF(window.left(), window.top(), 40 * unit, window.height())
        painter.fillRect(nav, QColor(table["surface"]))
        painter.setPen(Qt.PenStyle.NoPen)
        for row in range(5):
            painter.setBrush(QColor(table["accentbg"] if row == 1 else table["line"]))
            bar = QRectF(nav.left() + 6 * unit, nav.top() + (12 + row * 13) * unit, 28 * unit, 7 * unit)
            painter.drawRoundedRect(bar, 3, 3)
        card = window.adjusted(50 * unit, 26 * unit, -10 * unit, -12 * unit)
        painter.setBrush(QColor(table["surface"]))
        painter.setPen(QPen(QColor(table["line"]), 1))
        painter.drawRoundedRect(card, 5, 5)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(table["text"]))
        painter.drawRoundedRect(QRectF(card.left(), window.top() + 10 * unit, 36 * unit, 6 * unit), 3, 3)
        painter.setBrush(QColor(table["accent"]))
        painter.drawRoundedRect(
            QRectF(card.right() - 26 * unit, window.top() + 8 * unit, 26 * unit, 10 * unit), 3, 3
        )
        paint_curve(
            painter, card.adjusted(8 * unit, 8 * unit, -8 * unit, -8 * unit), CURVE, QColor(table["accent"])
        )
