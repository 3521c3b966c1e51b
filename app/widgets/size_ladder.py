"""Well-known sizes of model as rungs: what training each needs by method, against this machine's memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import i18n
from app.theme.style import Theme, current_theme

ROW, HEAD, FOOT, LEFT, RIGHT = 26, 20, 20, 76, 14
VERDICT_TOKENS = {"fits": "ok", "tight": "warn", "too_large": "bad"}
VERDICT_WORDS = {"fits": "fits", "tight": "tight", "too_large": "does not fit"}
TICKS = (1e9, 2e9, 4e9, 8e9, 16e9, 32e9, 64e9, 128e9, 256e9, 512e9, 1024e9, 2048e9)


@dataclass(frozen=True)
class Need:
    """What training with one method needs (bytes), and whether that fits."""

    method: str
    memory_bytes: float
    verdict: str


@dataclass(frozen=True)
class Rung:
    """One size of model; `own` is the model that is chosen now."""

    name: str
    needs: tuple[Need, ...]
    own: bool = False

    @property
    def words(self) -> str:
        """Return the rung as a sentence."""
        told = (
            f"{need.method} {i18n.size(need.memory_bytes)}, {VERDICT_WORDS[need.verdict]}"
            for need in self.needs
        )
        return f"{self.name}: {'; '.join(told)}"


class SizeDrawing(QWidget):
    """The rungs over a scale that doubles, the machine's memory as a line through them.

    Signals:
        pointed: the words of the rung under pointer or keyboard, empty when it is left.
    """

    pointed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.rungs: tuple[Rung, ...] = ()
        self.memory = 0.0
        self._at = -1
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Sizes of model against this machine's memory")
        current_theme().changed.connect(self.updateGeometry)

    def show_rungs(self, rungs: Sequence[Rung], memory: float) -> None:
        """Draw other rungs against a memory in bytes."""
        self.rungs, self.memory = tuple(rungs), memory
        self.setAccessibleDescription(". ".join(rung.words for rung in rungs))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        theme = current_theme()
        return QSize(theme.px(420), theme.px(HEAD + FOOT + ROW * len(self.rungs)))

    def minimumSizeHint(self) -> QSize:
        return QSize(current_theme().px(260), self.sizeHint().height())

    # -- places --------------------------------------------------------------------------------------------
    @property
    def _ends(self) -> tuple[float, float]:
        amounts = [need.memory_bytes for rung in self.rungs for need in rung.needs] + [self.memory]
        return math.log2(max(1e6, min(amounts)) / 1.3), math.log2(max(amounts) * 1.25)

    def x_of(self, amount: float) -> float:
        """Return where an amount of memory (bytes) stands, in pixels."""
        theme = current_theme()
        low, high = self._ends
        room = self.width() - theme.px(LEFT) - theme.px(RIGHT)
        return theme.px(LEFT) + room * (math.log2(max(amount, 1.0)) - low) / (high - low)

    def _y_of(self, row: int) -> float:
        theme = current_theme()
        return theme.px(HEAD) + theme.px(ROW) * (row + 0.5)

    # -- painting ------------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        if not self.rungs:
            return
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_scale(painter, theme)
        for row, rung in enumerate(self.rungs):
            self._paint_rung(painter, row, rung, theme)

    def _paint_scale(self, painter: QPainter, theme: Theme) -> None:
        top, bottom = theme.px(HEAD), self.height() - theme.px(FOOT)
        edge = self.x_of(self.memory)
        painter.fillRect(QRectF(edge, top, self.width() - edge, bottom - top), theme.color("bad", 0.08))
        painter.setFont(theme.font("least", mono=True))
        metrics, end = theme.metrics("least"), -1.0
        for amount in TICKS:
            x, words = self.x_of(amount), _round_size(amount)
            width = metrics.horizontalAdvance(words) + theme.px(10)
            if not theme.px(LEFT) <= x <= self.width() - theme.px(RIGHT):
                continue
            painter.setPen(QPen(theme.color("line"), 1))
            painter.drawLine(QPointF(x, top), QPointF(x, bottom))
            if x - width / 2 > end and x + width / 2 < self.width() + theme.px(6):
                painter.setPen(theme.color("dim"))
                place = QRectF(x - width / 2, bottom, width, theme.px(FOOT))
                painter.drawText(place, Qt.AlignmentFlag.AlignCenter, words)
                end = x + width / 2
        painter.setPen(QPen(theme.color("text"), theme.px(2)))
        painter.drawLine(QPointF(edge, top - theme.px(3)), QPointF(edge, bottom))
        words = f"this machine {i18n.size(self.memory)}"
        painter.setFont(theme.font("least", 600))
        width = theme.metrics("least", 600).horizontalAdvance(words)
        left = min(max(0.0, edge - width / 2), self.width() - width - 2.0)
        painter.setPen(theme.color("text"))
        painter.drawText(QPointF(left, theme.px(HEAD) - theme.px(7)), words)

    def _paint_rung(self, painter: QPainter, row: int, rung: Rung, theme: Theme) -> None:
        y = self._y_of(row)
        if row == self._at:
            band = QRectF(0, y - theme.px(ROW) / 2, self.width(), theme.px(ROW))
            painter.fillRect(band, theme.color("accent", 0.12))
        painter.setFont(theme.font("least", 700 if rung.own else None, mono=True))
        painter.setPen(theme.color("accent" if rung.own else "text"))
        name = painter.fontMetrics().elidedText(rung.name, Qt.TextElideMode.ElideRight, theme.px(LEFT - 12))
        middle = QRectF(0, y - theme.px(ROW) / 2, theme.px(LEFT - 8), theme.px(ROW))
        painter.drawText(middle, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, name)
        xs = [self.x_of(need.memory_bytes) for need in rung.needs]
        painter.setPen(QPen(theme.color("edge"), theme.px(2)))
        painter.drawLine(QPointF(min(xs), y), QPointF(max(xs), y))
        for need, x in zip(rung.needs, xs, strict=True):
            paint_method(painter, need.method, QPointF(x, y), theme.color(VERDICT_TOKENS[need.verdict]))

    # -- looking -------------------------------------------------------------------------------------------
    @property
    def at(self) -> int:
        """Return which rung is looked at, -1 for none."""
        return self._at

    def look(self, row: int) -> None:
        """Look at a rung, or at none."""
        row = row if 0 <= row < len(self.rungs) else -1
        if row != self._at:
            self._at = row
            self.pointed.emit(self.rungs[row].words if row >= 0 else "")
            self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        theme = current_theme()
        self.look(int((event.position().y() - theme.px(HEAD)) // theme.px(ROW)))

    def leaveEvent(self, event: QEvent) -> None:
        self.look(-1)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self.look(-1)
        super().focusOutEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        pace = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        if pace is None:
            super().keyPressEvent(event)
        else:
            self.look(max(0, min(len(self.rungs) - 1, self._at + pace)))


def _round_size(amount: float) -> str:
    """Return a power of two of GB: 64 GB, 1 TB."""
    return f"{amount / 1.024e12:.0f}\u00a0TB" if amount > 1e12 else f"{amount / 1e9:.0f}\u00a0GB"


def paint_method(painter: QPainter, method: str, middle: QPointF, color: QColor) -> None:
    """Paint the mark of a method: a disc for QLoRA, a diamond for LoRA, a square for full."""
    side = current_theme().px(5)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color)
    x, y = middle.x(), middle.y()
    if method == "QLoRA":
        painter.drawEllipse(middle, side, side)
    elif method == "LoRA":
        reach = side * 1.25
        corners = ((0, -reach), (reach, 0), (0, reach), (-reach, 0))
        painter.drawPolygon([QPointF(x + dx, y + dy) for dx, dy in corners])
    else:
        painter.drawRect(QRectF(x - side * 0.9, y - side * 0.9, side * 1.8, side * 1.8))


class MethodMark(QWidget):
    """The mark of a method, for the legend."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self._method = method
        side = current_theme().px(14)
        self.setFixedSize(side, side)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = QPointF(self.width() / 2, self.height() / 2)
        paint_method(painter, self._method, middle, current_theme().color("dim"))
