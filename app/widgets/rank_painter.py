"""The painter: a grid of modules by layers whose cells are painted with a rank, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QSizePolicy

from app.theme.style import current_theme
from app.widgets.rank_drawing import GridDrawing

Cell = tuple[int, int]
RANKS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


@dataclass(frozen=True)
class PainterGrid:
    """What can be painted: the words of rows and columns, and the cells that exist."""

    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    cells: frozenset[Cell] = frozenset()


@dataclass(frozen=True)
class Spot:
    """A place in the grid: a cell, a whole row (column -1), a whole column (row -1), or all of it."""

    row: int = -1
    column: int = -1


class RankPainter(QAbstractScrollArea):
    """Cells tinted by their rank, with the number; headers paint whole rows and columns.

    Signals:
        painted: a stroke is done: the rank of every cell, 0 for none.
        stroked: the same while the stroke goes on.
        pointed: the Spot under the pointer or the cursor, or None.
        picked: a rank was taken from a cell to paint with.
    """

    painted = Signal(object)
    stroked = Signal(object)
    pointed = Signal(object)
    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.grid = PainterGrid()
        self.ranks: dict[Cell, int] = {}
        self.brush, self.numbers = 16, True
        self.cursor_cell: Cell = (0, 0)
        self._before: dict[Cell, int] | None = None
        self._value, self._last = 0, Spot()
        self._hover: Spot | None = None
        self.drawing = GridDrawing(self)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.viewport().setMouseTracking(True)
        self.viewport().setAutoFillBackground(False)
        self.setAccessibleName("Rank of each module in each layer")
        current_theme().changed.connect(self._on_theme_changed)

    # -- what is shown -------------------------------------------------------------------------------------
    def show_grid(self, grid: PainterGrid) -> None:
        """Show the cells of another model."""
        self.grid, self.ranks, self._before = grid, {}, None
        self.cursor_cell = min(grid.cells, default=(0, 0))
        self._measure()

    def show_ranks(self, ranks: Mapping[Cell, int], numbers: bool = True) -> None:
        """Show other ranks; without `numbers` a cell is only on or off."""
        if self._before is not None:
            return  # a stroke is going on; it will be told when it is done
        self.ranks, self.numbers = dict(ranks), numbers
        self._measure()
        self._describe()

    def show_costs(self, costs: Mapping[int, float]) -> None:
        """Draw above each column what it costs, as a share of the costliest."""
        self.drawing.set_costs(costs)
        self.viewport().update()

    def set_brush(self, rank: int) -> None:
        """Paint with another rank from now on; 0 leaves cells out."""
        self.brush = rank
        self._measure()

    def sizeHint(self) -> QSize:
        bar = self.horizontalScrollBar()
        more = bar.sizeHint().height() if bar.maximum() else 0
        return QSize(current_theme().px(420), self.drawing.height() + more)

    def minimumSizeHint(self) -> QSize:
        return QSize(current_theme().px(200), self.sizeHint().height())

    def _measure(self) -> None:
        """Lay the grid out anew: the cells get as wide as room and the longest number ask for."""
        self.drawing.measure()
        bar = self.horizontalScrollBar()
        before = bar.maximum()
        bar.setRange(0, self.drawing.overflow())
        bar.setPageStep(self.viewport().width())
        bar.setSingleStep(round(self.drawing.pitch))
        if bool(before) != bool(bar.maximum()) or self.height() != self.sizeHint().height():
            self.updateGeometry()
        self.viewport().update()

    def _on_theme_changed(self) -> None:
        self._measure()
        self.updateGeometry()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._measure()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        self.viewport().update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        self.drawing.paint(painter, event.rect(), self._hover)

    def cells_of(self, spot: Spot) -> list[Cell]:
        """Return the cells that exist at a place."""
        if spot.row >= 0 and spot.column >= 0:
            return [(spot.row, spot.column)] if (spot.row, spot.column) in self.grid.cells else []
        return [
            cell
            for cell in sorted(self.grid.cells)
            if spot.row in (-1, cell[0]) and spot.column in (-1, cell[1])
        ]

    # -- a stroke ------------------------------------------------------------------------------------------
    def begin(self, spot: Spot, rank: int | None = None) -> None:
        """Begin a stroke at a place with a rank, the brush's where none is given."""
        cells = self.cells_of(spot)
        if not cells:
            return
        self._before, self._last = dict(self.ranks), spot
        self._value = self.brush if rank is None else rank
        if not self.numbers and rank is None:
            # On or off: a stroke takes everything it touches to the other state than where it began.
            self._value = 0 if all(self.ranks.get(cell) for cell in cells) else max(1, self.brush)
        self._put(cells)

    def go_on(self, spot: Spot) -> None:
        """Carry the stroke on to a place; what the pointer jumped over is painted too."""
        if self._before is None or spot == self._last:
            return
        touched: list[Cell] = []
        for between in _way(self._last, spot):
            touched += self.cells_of(between)
        self._last = spot
        self._put(touched)

    def end(self) -> None:
        """End the stroke and tell it, unless it changed nothing."""
        before, self._before = self._before, None
        if before is not None and before != self.ranks:
            self._describe()
            self.painted.emit(dict(self.ranks))

    def cancel(self) -> None:
        """Take the stroke back that is going on."""
        if self._before is not None:
            self.ranks, self._before = self._before, None
            self.stroked.emit(dict(self.ranks))
            self.viewport().update()

    def paint(self, spot: Spot, rank: int | None = None) -> None:
        """Make a whole stroke of one place."""
        self.begin(spot, rank)
        self.end()

    def _put(self, cells: Iterable[Cell]) -> None:
        changed = [cell for cell in cells if self.ranks.get(cell, 0) != self._value]
        for cell in changed:
            self.ranks[cell] = self._value
            self.viewport().update(self.drawing.rect(cell).toAlignedRect())
        if changed:
            self.stroked.emit(self.ranks)

    # -- mouse ---------------------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        spot = self.drawing.spot(event.position())
        if spot is None or event.button() not in (Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton):
            super().mousePressEvent(event)
            return
        self._move_cursor(spot)
        if event.modifiers() & Qt.KeyboardModifier.AltModifier:
            self._pick()
        else:
            self.begin(spot, 0 if event.button() == Qt.MouseButton.RightButton else None)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        spot = self.drawing.spot(event.position(), inside=self._before is not None)
        if self._before is not None and spot is not None:
            spot = _same_kind(spot, self._last)
            self.go_on(spot)
            self._move_cursor(spot)
        self._point(spot)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.end()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        event.accept()  # the right button leaves cells out

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Leave:
            self._point(None)
        return super().viewportEvent(event)

    def _point(self, spot: Spot | None) -> None:
        if spot != self._hover:
            self._hover = spot
            self.viewport().update()
            self.pointed.emit(spot or (Spot(*self.cursor_cell) if self.hasFocus() else None))

    # -- keyboard ------------------------------------------------------------------------------------------
    def keyPressEvent(self, event: QKeyEvent) -> None:
        ways = {
            Qt.Key.Key_Left: (0, -1),
            Qt.Key.Key_Right: (0, 1),
            Qt.Key.Key_Up: (-1, 0),
            Qt.Key.Key_Down: (1, 0),
        }
        key, row, column = Qt.Key(event.key()), *self.cursor_cell
        spots = {Qt.Key.Key_R: Spot(row, -1), Qt.Key.Key_C: Spot(-1, column), Qt.Key.Key_A: Spot()}
        paces = {Qt.Key.Key_Plus: 1, Qt.Key.Key_Equal: 1, Qt.Key.Key_Minus: -1}
        control = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
        if event.modifiers() & control:
            super().keyPressEvent(event)
        elif key in ways:
            self._walk(*ways[key], bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End):
            columns = sorted(c for r, c in self.grid.cells if r == row)
            if columns:
                self._move_cursor(Spot(row, columns[0 if key == Qt.Key.Key_Home else -1]))
        elif key in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.paint(Spot(row, column))
        elif key in (Qt.Key.Key_0, Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.paint(Spot(row, column), 0)
        elif key in spots:
            self.paint(spots[key])
        elif key in paces and self.numbers:
            self.paint(Spot(row, column), next_rank(self.ranks.get((row, column), 0), paces[key]))
        elif key == Qt.Key.Key_P:
            self._pick()
        elif key == Qt.Key.Key_Escape and self._before is not None:
            self.cancel()
        else:
            super().keyPressEvent(event)

    def _walk(self, down: int, right: int, painting: bool) -> None:
        """Go to the next cell that exists; with Shift it takes the rank of the cell before."""
        row, column = self.cursor_cell
        rank = self.ranks.get(self.cursor_cell, 0)
        while True:
            row, column = row + down, column + right
            if not (0 <= row < len(self.grid.rows) and 0 <= column < len(self.grid.columns)):
                return
            if (row, column) in self.grid.cells:
                break
        self._move_cursor(Spot(row, column))
        if painting:
            self.paint(Spot(row, column), rank)

    def _move_cursor(self, spot: Spot) -> None:
        cells = self.cells_of(spot)
        if not cells:
            return
        self.cursor_cell = cells[0]
        if spot.row >= 0 and spot.column >= 0:
            bar = self.horizontalScrollBar()
            bar.setValue(self.drawing.scrolled_to(spot.column, bar.value()))
        self.viewport().update()
        self._describe()
        self.pointed.emit(spot)

    def _pick(self) -> None:
        if self.numbers:
            self.picked.emit(self.ranks.get(self.cursor_cell, 0))

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.viewport().update()
        self.pointed.emit(Spot(*self.cursor_cell))

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.end()
        self.viewport().update()
        self.pointed.emit(self._hover)

    def _describe(self) -> None:
        """Say the cursor's cell to those who do not see it."""
        if not self.grid.cells:
            self.setAccessibleDescription("No model is chosen yet.")
            return
        row, column = self.cursor_cell
        rank = self.ranks.get(self.cursor_cell, 0)
        state = (f"rank {rank}" if self.numbers else "adapted") if rank else "left out"
        where = f"layer {self.grid.columns[column]}" if self.grid.columns[column] else "outside the layers"
        used = sum(1 for each in self.ranks.values() if each)
        self.setAccessibleDescription(
            f"{self.grid.rows[row]}, {where}: {state}. {used} of {len(self.grid.cells)} modules are adapted."
        )


def next_rank(rank: int, pace: int) -> int:
    """Return the next usual rank above or below; below the least is 0."""
    if pace > 0:
        return next((each for each in RANKS if each > rank), RANKS[-1])
    return next((each for each in reversed(RANKS) if each < rank), 0)


def _same_kind(spot: Spot, first: Spot) -> Spot:
    """Keep a stroke that began on a header on the headers, and one that began on a cell on cells."""
    return Spot(spot.row if first.row >= 0 else -1, spot.column if first.column >= 0 else -1)


def _way(start: Spot, end: Spot) -> list[Spot]:
    """Return the places from `start` to `end`, both included, none left out."""
    down, right = end.row - start.row, end.column - start.column
    count = max(abs(down), abs(right), 1)
    return [
        Spot(start.row + round(n * down / count), start.column + round(n * right / count))
        for n in range(count + 1)
    ]
