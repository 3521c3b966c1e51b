"""The painter alone: what mouse and keyboard do to the grid, and what it costs to draw."""

from __future__ import annotations

import time
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QPixmap
from PySide6.QtTest import QTest

from app.widgets.rank_brush import RankBrush
from app.widgets.rank_painter import Cell, PainterGrid, RankPainter, Spot, next_rank

LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton


def make(qtbot: Any, rows: int = 3, columns: int = 4, missing: set[Cell] = frozenset()) -> RankPainter:
    """Return a painter that is shown, every cell at rank 16."""
    painter = RankPainter()
    qtbot.addWidget(painter)
    cells = frozenset((r, c) for r in range(rows) for c in range(columns)) - missing
    names = ("query", "key", "value", "output", "gate", "up", "down")[:rows]
    painter.show_grid(PainterGrid(names, tuple(str(c) for c in range(columns)), cells))
    painter.show_ranks(dict.fromkeys(cells, 16))
    painter.resize(600, 240)
    painter.show()
    return painter


def at(painter: RankPainter, row: int, column: int) -> QPoint:
    """Return the middle of a cell."""
    return painter.drawing.rect((row, column)).center().toPoint()


def drag(painter: RankPainter, start: QPoint, end: QPoint, which: Qt.MouseButton = LEFT) -> None:
    """Press, go straight to the end in one move, let go."""
    QTest.mousePress(painter.viewport(), which, pos=start)
    QTest.mouseMove(painter.viewport(), end)
    QTest.mouseRelease(painter.viewport(), which, pos=end)


def changed(painter: RankPainter) -> dict[Cell, int]:
    """Return the cells whose rank is not 16 any more."""
    return {cell: rank for cell, rank in painter.ranks.items() if rank != 16}


def test_that_a_drag_paints_every_cell_on_its_way_and_is_one_stroke(qtbot):
    painter, told = make(qtbot, columns=12), []
    painter.painted.connect(told.append)
    painter.set_brush(64)
    drag(painter, at(painter, 1, 2), at(painter, 1, 9))
    assert changed(painter) == {(1, column): 64 for column in range(2, 10)}
    assert len(told) == 1
    assert told[0] == painter.ranks


def test_that_the_right_button_leaves_out_and_alt_takes_the_rank_of_a_cell(qtbot):
    painter, picked = make(qtbot), []
    painter.picked.connect(picked.append)
    drag(painter, at(painter, 0, 0), at(painter, 2, 0), RIGHT)
    assert changed(painter) == {(0, 0): 0, (1, 0): 0, (2, 0): 0}
    painter.paint(Spot(1, 1), 48)
    QTest.mouseClick(painter.viewport(), LEFT, Qt.KeyboardModifier.AltModifier, at(painter, 1, 1))
    assert picked == [48]


def test_that_headers_paint_whole_rows_layers_and_everything(qtbot):
    painter = make(qtbot)
    painter.set_brush(8)
    QTest.mouseClick(painter.viewport(), LEFT, pos=QPoint(4, at(painter, 2, 0).y()))
    assert changed(painter) == {(2, column): 8 for column in range(4)}
    painter.set_brush(32)
    QTest.mouseClick(painter.viewport(), LEFT, pos=QPoint(at(painter, 0, 3).x(), painter.drawing.top - 5))
    assert {cell for cell, rank in painter.ranks.items() if rank == 32} == {(0, 3), (1, 3), (2, 3)}
    QTest.mouseClick(painter.viewport(), LEFT, pos=QPoint(4, 4))
    assert set(painter.ranks.values()) == {32}


def test_that_a_drag_that_began_on_a_header_stays_on_headers(qtbot):
    painter = make(qtbot)
    painter.set_brush(8)
    drag(painter, QPoint(4, at(painter, 0, 0).y()), at(painter, 1, 2))
    assert changed(painter) == {(row, column): 8 for row in (0, 1) for column in range(4)}


def test_that_the_keyboard_does_what_the_mouse_does(qtbot):
    painter = make(qtbot)
    painter.set_brush(64)
    painter.setFocus()
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Right, Qt.Key.Key_Space):
        QTest.keyClick(painter, key)
    assert changed(painter) == {(1, 1): 64}
    QTest.keyClick(painter, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert changed(painter) == {(1, 1): 64, (1, 2): 64}
    QTest.keyClick(painter, Qt.Key.Key_Minus)
    assert painter.ranks[1, 2] == 48
    QTest.keyClick(painter, Qt.Key.Key_Plus)
    QTest.keyClick(painter, Qt.Key.Key_Plus)
    assert painter.ranks[1, 2] == 96
    QTest.keyClick(painter, Qt.Key.Key_0)
    assert painter.ranks[1, 2] == 0
    QTest.keyClick(painter, Qt.Key.Key_Home)
    QTest.keyClick(painter, Qt.Key.Key_C)
    assert [painter.ranks[row, 0] for row in range(3)] == [64, 64, 64]
    QTest.keyClick(painter, Qt.Key.Key_R)
    assert [painter.ranks[1, column] for column in range(4)] == [64, 64, 64, 64]
    QTest.keyClick(painter, Qt.Key.Key_A)
    assert set(painter.ranks.values()) == {64}
    assert "rank 64" in painter.accessibleDescription()


def test_that_escape_takes_back_a_stroke_that_is_going_on(qtbot):
    painter, told = make(qtbot), []
    painter.painted.connect(told.append)
    painter.set_brush(4)
    QTest.mousePress(painter.viewport(), LEFT, pos=at(painter, 0, 0))
    QTest.mouseMove(painter.viewport(), at(painter, 0, 3))
    assert changed(painter)
    QTest.keyClick(painter, Qt.Key.Key_Escape)
    QTest.mouseRelease(painter.viewport(), LEFT, pos=at(painter, 0, 3))
    assert changed(painter) == {}
    assert told == []


def test_that_cells_which_do_not_exist_are_neither_painted_nor_walked_on(qtbot):
    painter = make(qtbot, missing={(1, 1), (1, 2)})
    painter.set_brush(8)
    drag(painter, at(painter, 1, 0), at(painter, 1, 3))
    assert changed(painter) == {(1, 0): 8, (1, 3): 8}
    painter.setFocus()
    painter.cursor_cell = (1, 0)
    QTest.keyClick(painter, Qt.Key.Key_Right)
    assert painter.cursor_cell == (1, 3)


def test_that_without_ranks_a_stroke_switches_on_or_off_as_it_began(qtbot):
    painter = make(qtbot)
    painter.show_ranks(painter.ranks, numbers=False)
    drag(painter, at(painter, 0, 0), at(painter, 0, 2))
    assert [bool(painter.ranks[0, c]) for c in range(4)] == [False, False, False, True]
    drag(painter, at(painter, 0, 0), at(painter, 0, 3))
    assert all(painter.ranks[0, c] for c in range(4))


def test_that_cells_grow_with_the_number_and_scroll_when_they_are_many(qtbot):
    painter = make(qtbot, rows=7, columns=80)
    assert painter.horizontalScrollBar().maximum() > 0
    narrow = painter.drawing.pitch
    painter.set_brush(128)
    assert painter.drawing.pitch > narrow
    painter.setFocus()
    QTest.keyClick(painter, Qt.Key.Key_End)
    assert painter.cursor_cell == (0, 79)
    assert painter.drawing.rect((0, 79)).right() <= painter.viewport().width()
    QTest.keyClick(painter, Qt.Key.Key_Home)
    assert painter.horizontalScrollBar().value() == 0


def test_that_drawing_a_large_model_takes_milliseconds(qtbot):
    painter = make(qtbot, rows=7, columns=80)
    picture = QPixmap(painter.size())
    painter.render(picture)
    took = []
    for _ in range(5):
        start = time.perf_counter()
        painter.viewport().render(picture)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.02
    took = []
    for rank in (32, 24, 32, 24, 32):
        painter.set_brush(rank)
        start = time.perf_counter()
        painter.paint(Spot(3, -1))
        took.append(time.perf_counter() - start)
    assert min(took) < 0.02


def test_that_the_usual_ranks_follow_one_another():
    assert next_rank(16, 1) == 24
    assert next_rank(16, -1) == 12
    assert next_rank(1, -1) == 0
    assert next_rank(0, 1) == 1
    assert next_rank(20, 1) == 24


@pytest.mark.parametrize(
    ("text", "rank"), [("12", 12), ("1,000", 1000), ("1025", None), ("0", None), ("x", None)]
)
def test_that_a_typed_brush_is_taken_within_its_bounds(qtbot, text, rank):
    brush, told = RankBrush(), []
    qtbot.addWidget(brush)
    brush.chosen.connect(told.append)
    brush.line.setText(text)
    brush.line.textEdited.emit(text)
    assert told == ([] if rank is None else [rank])
    assert (brush.line.property("invalid") == "true") == (rank is None)
    brush.chips[0].click()
    assert told[-1] == 0
