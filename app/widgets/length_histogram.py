"""How long the rows are, with the line where they are cut; the line can be pulled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import i18n
from app.theme.style import current_theme

MOST_BINS = 56
LOWEST_CUT = 8
FARTHEST_CUT = 4


def nice_step(value: float) -> int:
    """Return 1, 2 or 5 times a power of ten that is not below `value`."""
    power = 10 ** math.floor(math.log10(max(1.0, value)))
    return int(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value))


class LengthHistogram(QWidget):
    """Bars of how many rows have each length; those beyond the cut stand in `bad`.

    Signals:
        cut_pulled: the line is being drawn to this length (tokens).
        cut_released: the line was let go, or moved by a key.
        cut_left: the pulling was ended by Esc; the line is where it was.
    """

    cut_pulled = Signal(int)
    cut_released = Signal(int)
    cut_left = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._lengths = np.zeros(0, dtype=np.int64)
        self._counts: list[int] = []
        self._bin, self._upper, self._cut = 1, 1, 1
        self._holding, self._before = False, 1
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.MinimumExpanding)
        self.setAccessibleName("Tokens per row; arrow keys move the longest length")
        current_theme().changed.connect(self.updateGeometry)

    def show_lengths(self, lengths: Any, cut: int) -> None:
        """Draw other lengths (tokens, any array of numbers)."""
        self._lengths = np.sort(np.asarray(lengths, dtype=np.int64))
        if not self._holding:
            self._cut = cut
        self._sort_into_bins()
        self._describe()
        self.update()

    def set_cut(self, cut: int) -> None:
        """Move the line."""
        self._cut = cut
        if not self._holding:
            self._sort_into_bins()
        self._describe()
        self.update()

    @property
    def cut(self) -> int:
        """Return where the line is (tokens)."""
        return self._cut

    def cut_count(self, cut: int) -> int:
        """Return how many rows are longer than `cut`."""
        return int(len(self._lengths) - np.searchsorted(self._lengths, cut, side="right"))

    def _sort_into_bins(self) -> None:
        longest = int(self._lengths[-1]) if len(self._lengths) else 1
        wanted = max(longest * 1.12, min(self._cut * 1.06, longest * FARTHEST_CUT))
        self._bin = nice_step(wanted / MOST_BINS)
        bins = max(8, math.ceil(wanted / self._bin))
        self._upper = bins * self._bin
        places = np.minimum(bins - 1, self._lengths // self._bin)
        self._counts = np.bincount(places, minlength=bins).tolist() if len(places) else []

    def _describe(self) -> None:
        if len(self._lengths):
            low, high = int(self._lengths[0]), int(self._lengths[-1])
            self.setAccessibleDescription(
                f"from {low} to {high} tokens, median {int(self._lengths[len(self._lengths) // 2])}; "
                f"{self.cut_count(self._cut)} longer than {self._cut}"
            )

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(420), current_theme().px(150))

    def minimumSizeHint(self) -> QSize:
        return QSize(current_theme().px(200), current_theme().px(130))

    def _area(self) -> QRectF:
        theme = current_theme()
        below = theme.metrics("least", mono=True).height() + theme.px(6)
        return QRectF(
            theme.px(2), theme.px(26), self.width() - theme.px(4), self.height() - theme.px(26) - below
        )

    def _x(self, length: float) -> float:
        area = self._area()
        return area.left() + area.width() * min(1.0, length / self._upper)

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self._counts:
            return
        theme, area = current_theme(), self._area()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        peak = max(self._counts) or 1
        width = area.width() / len(self._counts)
        painter.setPen(Qt.PenStyle.NoPen)
        for index, count in enumerate(self._counts):
            if not count:
                continue
            beyond = index * self._bin >= self._cut
            painter.setBrush(theme.color("bad" if beyond else "accent", 0.9))
            # One row in a thousand is still to be seen.
            height = max(theme.px(2), count / peak * area.height())
            gap = 1 if width > 4 else 0
            bar = QRectF(area.left() + index * width + gap / 2, area.bottom() - height, width - gap, height)
            painter.drawRoundedRect(bar, 1.5, 1.5)
        painter.setPen(QPen(theme.color("line"), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        self._paint_axis(painter, area)
        self._paint_cut(painter, area)

    def _paint_axis(self, painter: QPainter, area: QRectF) -> None:
        theme = current_theme()
        painter.setFont(theme.font("least", mono=True))
        painter.setPen(theme.color("dim"))
        metrics = theme.metrics("least", mono=True)
        pace = nice_step(self._upper / 5)
        for length in range(0, self._upper + 1, pace):
            words = i18n.number(length) + (" tokens" if length + pace > self._upper else "")
            width = metrics.horizontalAdvance(words) + 2
            x = min(max(area.left(), self._x(length) - width / 2), area.right() - width)
            place = QRectF(x, area.bottom() + theme.px(4), width, metrics.height())
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, words)

    def _paint_cut(self, painter: QPainter, area: QRectF) -> None:
        theme = current_theme()
        x = min(self._x(self._cut), area.right() - 1)
        painter.setPen(QPen(theme.color("text"), 2))
        painter.drawLine(QPointF(x, area.top() - theme.px(6)), QPointF(x, area.bottom()))
        metrics = theme.metrics("least", 600)
        words = f"max {i18n.number(self._cut)}" + (", further right" if self._cut > self._upper else "")
        width, height = metrics.horizontalAdvance(words) + theme.px(14), theme.px(20)
        left = min(max(area.left(), x - width / 2), area.right() - width)
        flag = QRectF(left, theme.px(1), width, height)
        painter.setPen(
            QPen(theme.color("accent" if self.hasFocus() else "edge"), 2 if self.hasFocus() else 1)
        )
        painter.setBrush(theme.color("raised"))
        painter.drawRoundedRect(flag, theme.px(5), theme.px(5))
        painter.setPen(theme.color("text"))
        painter.setFont(theme.font("least", 600))
        painter.drawText(flag, Qt.AlignmentFlag.AlignCenter, words)

    # -- pulling -------------------------------------------------------------------------------------------
    def _near(self, x: float) -> bool:
        return abs(x - min(self._x(self._cut), self._area().right())) <= current_theme().px(12)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        near = self._near(event.position().x()) or event.position().y() < current_theme().px(24)
        self._holding = event.button() == Qt.MouseButton.LeftButton and near and len(self._lengths) > 0
        self._before = self._cut

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        held = self._holding or self._near(event.position().x())
        self.setCursor(Qt.CursorShape.SizeHorCursor if held else Qt.CursorShape.ArrowCursor)
        if self._holding:
            area = self._area()
            share = (event.position().x() - area.left()) / max(1.0, area.width())
            self._cut = max(LOWEST_CUT, round(min(1.0, share) * self._upper / 8) * 8)
            self.update()
            self.cut_pulled.emit(self._cut)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._holding:
            self._holding = False
            self.cut_released.emit(self._cut)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        pace = {Qt.Key.Key_Left: -8, Qt.Key.Key_Right: 8}.get(Qt.Key(event.key()))
        if self._holding and event.key() == Qt.Key.Key_Escape:
            self._holding = False
            self.set_cut(self._before)
            self.cut_left.emit()
            return
        if pace is None or not len(self._lengths):
            super().keyPressEvent(event)
            return
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            pace *= 10
        self._cut = max(LOWEST_CUT, self._cut + pace)
        self.cut_released.emit(self._cut)
