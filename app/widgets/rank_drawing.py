"""How the painter's grid is laid out and drawn: headers that stay, cells that scroll, costs above."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QBrush, QPainter, QPen

from app.theme.style import current_theme

if TYPE_CHECKING:
    from app.widgets.rank_painter import Cell, RankPainter, Spot

COSTS, NUMBERS, ROW = 22, 16, 24  # heights: the strip of costs, the layers' numbers, a row of cells
WIDEST, MOST_TINT, LEAST_TINT = 30, 0.62, 0.10
HIGHEST = 256


class GridDrawing:
    """Geometry and paint of a RankPainter; nothing is computed in the paint event but what is seen."""

    def __init__(self, painter: RankPainter) -> None:
        self._owner = painter
        self.pitch, self.left = 20.0, 60
        self._costs: dict[int, float] = {}
        self._tints: dict[int, QBrush] = {}

    # -- layout --------------------------------------------------------------------------------------------
    def measure(self) -> None:
        """Find the width of headers and cells for what is shown now."""
        theme, owner = current_theme(), self._owner
        words = theme.metrics("small")
        self.left = max((words.horizontalAdvance(row) for row in owner.grid.rows), default=0) + theme.px(12)
        most = max([owner.brush, *owner.ranks.values()], default=0) if owner.numbers else 0
        digits = theme.metrics("least", mono=True).horizontalAdvance(str(most)) if most else theme.px(8)
        room = owner.viewport().width() - self.left - 2
        even = room / max(1, len(owner.grid.columns))
        self.pitch = max(float(digits + theme.px(3)), min(float(theme.px(WIDEST)), even))
        self._tints = {}

    def set_costs(self, costs: Mapping[int, float]) -> None:
        """Keep what each column costs."""
        self._costs = dict(costs)

    @property
    def top(self) -> int:
        """Return where the first row of cells begins."""
        return current_theme().px(COSTS + NUMBERS)

    def height(self) -> int:
        """Return the height of headers and rows together."""
        return self.top + len(self._owner.grid.rows) * current_theme().px(ROW) + 2

    def overflow(self) -> int:
        """Return by how many pixels the cells are wider than the room for them."""
        whole = self.left + self.pitch * len(self._owner.grid.columns) + 2
        return max(0, math.ceil(whole - self._owner.viewport().width()))

    def _x(self, column: int) -> float:
        return self.left + column * self.pitch - self._owner.horizontalScrollBar().value()

    def rect(self, cell: Cell) -> QRectF:
        """Return where a cell stands in the viewport."""
        height = current_theme().px(ROW)
        return QRectF(self._x(cell[1]), self.top + cell[0] * height, self.pitch, height)

    def scrolled_to(self, column: int, now: int) -> int:
        """Return the scroll position at which a column is seen whole."""
        start = column * self.pitch
        room = self._owner.viewport().width() - self.left
        return round(min(start, max(now, start + self.pitch + 2 - room)))

    def spot(self, place: QPointF, inside: bool = False) -> Spot | None:
        """Return what stands at a point; with `inside` the nearest thing for a point beside the grid."""
        from app.widgets.rank_painter import Spot

        grid, height = self._owner.grid, current_theme().px(ROW)
        if not grid.rows:
            return None
        shift = self._owner.horizontalScrollBar().value()
        row = math.floor((place.y() - self.top) / height)
        column = math.floor((place.x() - self.left + shift) / self.pitch)
        if inside:
            return Spot(min(max(row, 0), len(grid.rows) - 1), min(max(column, 0), len(grid.columns) - 1))
        if row >= len(grid.rows) or column >= len(grid.columns):
            return None
        return Spot(-1 if place.y() < self.top else row, -1 if place.x() < self.left else column)

    # -- paint ---------------------------------------------------------------------------------------------
    def paint(self, painter: QPainter, dirty: QRect, hover: Spot | None) -> None:
        """Draw what lies in `dirty`."""
        owner, theme = self._owner, current_theme()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.save()
        painter.setClipRect(QRectF(self.left, 0, owner.viewport().width() - self.left, self.height()))
        painter.setFont(theme.font("least", mono=True))
        shift = owner.horizontalScrollBar().value()
        first = max(0, math.floor((dirty.left() - self.left + shift) / self.pitch))
        last = min(len(owner.grid.columns) - 1, math.floor((dirty.right() - self.left + shift) / self.pitch))
        if dirty.top() < self.top:
            self._paint_head(painter, first, last)
        for cell in owner.ranks:
            if first <= cell[1] <= last and self.rect(cell).intersects(QRectF(dirty)):
                self._paint_cell(painter, cell, owner.ranks[cell])
        self._paint_marks(painter, hover)
        painter.restore()
        if dirty.left() < self.left:
            self._paint_rows(painter, hover)

    def _paint_cell(self, painter: QPainter, cell: Cell, rank: int) -> None:
        theme = current_theme()
        box = self.rect(cell).adjusted(0.5, 0.5, -0.5, -0.5)
        if not rank:
            painter.setPen(QPen(theme.color("edge", 0.75), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), 2, 2)
            return
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._tint(rank))
        painter.drawRoundedRect(box, 3, 3)
        if self._owner.numbers:
            painter.setPen(theme.color("text"))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(rank))

    def _tint(self, rank: int) -> QBrush:
        """By doublings: ranks are chosen so, and 16 beside 256 would not be seen otherwise."""
        if rank not in self._tints:
            share = min(1.0, math.log2(1 + rank) / math.log2(1 + HIGHEST)) if self._owner.numbers else 0.75
            tint = LEAST_TINT + (MOST_TINT - LEAST_TINT) * share**1.6
            self._tints[rank] = QBrush(current_theme().color("accent", tint))
        return self._tints[rank]

    def _paint_head(self, painter: QPainter, first: int, last: int) -> None:
        theme = current_theme()
        most = max(self._costs.values(), default=0.0) or 1.0
        room, base = theme.px(COSTS) - 4, theme.px(COSTS)
        painter.setPen(Qt.PenStyle.NoPen)
        for column in range(first, last + 1):
            share = self._costs.get(column, 0.0) / most
            height = max(2.0 if share else 1.0, share * room)
            painter.setBrush(theme.color("series2" if share else "edge", 0.9))
            width = min(self.pitch - 3, theme.px(14))
            left = self._x(column) + (self.pitch - width) / 2
            painter.drawRoundedRect(QRectF(left, base - height, width, height), 1.5, 1.5)
        painter.setPen(theme.color("dim"))
        words = self._owner.grid.columns
        widest = max((painter.fontMetrics().horizontalAdvance(word) for word in words), default=1)
        pace = 1
        while pace * self.pitch < widest + 3:
            pace = {1: 2, 2: 4, 4: 8}.get(pace, pace + 8)
        for column in range(first - first % pace, last + 1, pace):
            place = QRectF(self._x(column) - 20, base, self.pitch + 40, theme.px(NUMBERS))
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, words[column])

    def _paint_rows(self, painter: QPainter, hover: Spot | None) -> None:
        theme, height = current_theme(), current_theme().px(ROW)
        painter.setFont(theme.font("small"))
        for number, words in enumerate(self._owner.grid.rows):
            pointed = hover is not None and hover.row in (number, -1) and hover.column == -1
            painter.setPen(theme.color("accent" if pointed else "text"))
            place = QRectF(0, self.top + number * height, self.left - theme.px(8), height)
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, words)
        painter.setFont(theme.font("least"))
        painter.setPen(theme.color("accent" if hover and hover.row == hover.column == -1 else "dim"))
        place = QRectF(0, 0, self.left - theme.px(8), theme.px(COSTS))
        painter.drawText(place, Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignLeft, "cost")
        place = QRectF(0, theme.px(COSTS), self.left - theme.px(8), theme.px(NUMBERS))
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, "layer")

    def _paint_marks(self, painter: QPainter, hover: Spot | None) -> None:
        """Outline what a press would paint, and the cursor."""
        theme, owner = current_theme(), self._owner
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if hover is not None:
            painter.setPen(QPen(theme.color("dim"), 1))
            for cell in owner.cells_of(hover):
                painter.drawRoundedRect(self.rect(cell).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
        if owner.hasFocus() and owner.grid.cells:
            painter.setPen(QPen(theme.color("accent"), 2))
            painter.drawRoundedRect(self.rect(owner.cursor_cell).adjusted(1, 1, -1, -1), 3, 3)
