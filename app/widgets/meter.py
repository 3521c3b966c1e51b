"""Bars: one value against a whole, and parts that make up a whole."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QHelpEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app.theme.style import Theme, current_theme


class Meter(QWidget):
    """One bar; `value` and `second` (stacked after it, in dim) are shares of the whole, 0 to 1."""

    def __init__(self, value: float = 0.0, token: str = "accent", height: int = 8, name: str = "") -> None:
        super().__init__()
        self._value, self._second, self._token, self._height = 0.0, 0.0, token, height
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(name)
        self.set(value, token)
        current_theme().changed.connect(self.update)

    @property
    def value(self) -> float:
        """Return the share shown, 0 to 1."""
        return self._value

    def set(self, value: float, token: str | None = None, second: float = 0.0) -> None:
        """Show another share, colour and second share."""
        self._value = max(0.0, min(1.0, value))
        self._second = max(0.0, min(1.0 - self._value, second))
        self._token = token or self._token
        self.setAccessibleDescription(f"{self._value:.0%}")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(120), current_theme().px(self._height))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        height = min(self.height(), theme.px(self._height))
        bar = QRectF(0, (self.height() - height) / 2, self.width(), height)
        parts = [(self._value, theme.color(self._token)), (self._second, theme.color("dim"))]
        _paint_bar(QPainter(self), bar, parts, theme)


@dataclass(frozen=True)
class Part:
    """One part of a stacked bar: its name, its amount and the token of its colour."""

    name: str
    value: float
    token: str
    text: str = ""


class StackedBar(QWidget):
    """Parts of a whole with a legend below; `ghost` marks where the end would be after a change."""

    def __init__(
        self,
        parts: list[Part] | list[tuple[str, float, str]] | None = None,
        total: float = 1.0,
        ghost: float | None = None,
        legend: bool = True,
        height: int = 12,
    ) -> None:
        super().__init__()
        self._parts: list[Part] = []
        self._total, self._ghost, self._legend, self._height = total, ghost, legend, height
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setMouseTracking(True)
        self.set(parts or [], total, ghost)
        current_theme().changed.connect(self._on_theme_changed)

    def set(
        self, parts: list[Part] | list[tuple[str, float, str]], total: float, ghost: float | None = None
    ) -> None:
        """Show other parts (Part, or name, value, token) of another total; what exceeds it is cut off."""
        self._parts = [part if isinstance(part, Part) else Part(*part) for part in parts]
        self._total = max(total, 1e-12)
        self._ghost = ghost
        self.setAccessibleDescription(", ".join(self._words(part) for part in self._parts))
        self._on_theme_changed()

    def set_ghost(self, ghost: float | None) -> None:
        """Mark where the end of the bar would be, or nothing."""
        self._ghost = ghost
        self.update()

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        theme = current_theme()
        return theme.px(self._height) + (self._legend_places(width)[1] if self._legend and self._parts else 0)

    def sizeHint(self) -> QSize:
        width = max(self.width(), current_theme().px(200))
        return QSize(width, self.heightForWidth(width))

    def minimumSizeHint(self) -> QSize:
        return QSize(current_theme().px(80), self.heightForWidth(max(self.width(), current_theme().px(160))))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        bar = QRectF(0, 0, self.width(), theme.px(self._height))
        shares = [(part.value / self._total, theme.color(part.token)) for part in self._parts]
        _paint_bar(painter, bar, shares, theme)
        if self._ghost is not None:
            self._paint_ghost(painter, bar, theme)
        if self._legend and self._parts:
            self._paint_legend(painter, theme)

    def _paint_ghost(self, painter: QPainter, bar: QRectF, theme: Theme) -> None:
        assert self._ghost is not None
        x = min(1.0, self._ghost / self._total) * bar.width()
        used = min(1.0, sum(part.value for part in self._parts) / self._total) * bar.width()
        painter.fillRect(QRectF(min(x, used), 0, abs(x - used), bar.height()), theme.color("text", 0.28))
        painter.setPen(QPen(theme.color("text"), 2))
        painter.drawLine(
            QPoint(round(min(x, bar.width() - 1)), 0),
            QPoint(round(min(x, bar.width() - 1)), round(bar.height())),
        )

    def _paint_legend(self, painter: QPainter, theme: Theme) -> None:
        painter.setFont(theme.font("least"))
        side = theme.px(8)
        for part, place in zip(self._parts, self._legend_places(self.width())[0], strict=True):
            square = QRectF(place.x(), place.y() + (place.height() - side) / 2, side, side)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color(part.token))
            painter.drawRoundedRect(square, 1.5, 1.5)
            painter.setPen(theme.color("dim"))
            words = place.adjusted(side + theme.px(5), 0, 0, 0)
            painter.drawText(
                words, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, self._words(part)
            )

    def _legend_places(self, width: int) -> tuple[list[QRect], int]:
        """Return a place for each legend entry, wrapped to `width`, and the height they need."""
        theme = current_theme()
        metrics, line = theme.metrics("least"), theme.px(18)
        places: list[QRect] = []
        x, y = 0, theme.px(self._height) + theme.px(7)
        for part in self._parts:
            need = theme.px(8) + theme.px(5) + metrics.horizontalAdvance(self._words(part)) + 2
            if x and x + need > width:
                x, y = 0, y + line
            places.append(QRect(x, y, need, line))
            x += need + theme.px(10)
        return places, y + line - theme.px(self._height)

    @staticmethod
    def _words(part: Part) -> str:
        return f"{part.name} {part.text}".strip()

    def _on_theme_changed(self) -> None:
        self.updateGeometry()
        self.update()

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            x, start = event.pos().x() / max(1, self.width()), 0.0
            for part in self._parts:
                start += part.value / self._total
                if x <= start:
                    QToolTip.showText(event.globalPos(), self._words(part), self)
                    return True
            QToolTip.hideText()
            return True
        return super().event(event)


def _paint_bar(painter: QPainter, bar: QRectF, parts: list[tuple[float, QColor]], theme: Theme) -> None:
    """Paint a rounded track and the parts inside it; what does not fit ends at the edge."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    radius = min(bar.height() / 2, theme.px(3))
    track = QPainterPath()
    track.addRoundedRect(bar, radius, radius)
    painter.fillPath(track, theme.color("raised"))
    painter.save()
    painter.setClipPath(track)
    left = bar.left()
    for share, color in parts:
        width = min(bar.right() - left, max(0.0, share) * bar.width())
        if width > 0:
            painter.fillRect(QRectF(left, bar.top(), width, bar.height()), color)
        left += width
    painter.restore()
