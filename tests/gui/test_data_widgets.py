"""The data step's own widgets on plain values: text, lengths, mapping, shares, names, a table."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QTextCursor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from app.services import make_services
from app.widgets.count_bars import CountBar, CountBars
from app.widgets.example_view import ExampleView
from app.widgets.length_histogram import LengthHistogram
from app.widgets.length_plan import LengthPlan
from app.widgets.mapping_view import UNUSED, ColumnLine, MappingView
from app.widgets.names_editor import NamesEditor
from app.widgets.pair_table import PairTable, pasted_cells
from app.widgets.remark_list import Remark, RemarkList
from app.widgets.share_editor import ShareEditor
from app.widgets.visible_text import LONGEST_LINE, hidden_name, is_right_to_left, pieces_of

MARKS = frozenset({"<|im_start|>", "<|im_end|>"})


@pytest.fixture(autouse=True)
def themed(qapp: QApplication) -> None:
    make_services(qapp, "dark")


# -- text --------------------------------------------------------------------------------------------------
def test_d09_that_special_tokens_hidden_characters_and_the_cut_are_told_apart():
    found = pieces_of([("<|im_start|>a\u202eb\u200b", False), ("c", True)], MARKS, [("d", True)], "cut at 4")
    assert [(p.kind, p.name or p.text) for p in found] == [
        ("token", "im_start"),
        ("text", "a"),
        ("hidden", "RLO"),
        ("text", "b"),
        ("hidden", "ZWSP"),
        ("text", "c"),
        ("cut", "cut at 4"),
        ("text", "d"),
    ]
    assert [p.trained for p in found if p.text in ("a", "c")] == [False, True]
    assert found[-1].cut


def test_that_joiners_at_their_usual_work_are_no_hidden_characters():
    family, persian = "\U0001f468\u200d\U0001f469", "می\u200cخواهم"
    assert [p.kind for p in pieces_of([(family, False)])] == ["text"]
    assert [p.kind for p in pieces_of([(persian, False)])] == ["text"]
    assert [p.name for p in pieces_of([("pay\u200dpal", False)])] == ["", "ZWJ", ""]


def test_that_tags_and_control_characters_have_names():
    assert hidden_name("\U000e0061") == "TAG a"
    assert hidden_name("\x07") == "U+0007"


def test_d16_that_a_megabyte_on_one_line_is_drawn_at_once_and_nothing_of_it_is_lost(qtbot):
    view = ExampleView()
    qtbot.addWidget(view)
    view.resize(600, 300)
    view.show()
    text = "x" * 1_000_000 + "\nend"
    view.show_example([(text, True)])
    assert view.whole_text() == text
    lines = view.toPlainText().split("\n")
    assert max(len(line) for line in lines) <= LONGEST_LINE + 8
    assert sum(len(line) for line in lines) < 20_000


def test_that_copying_gives_what_the_boxes_stand_for(qtbot):
    view = ExampleView()
    qtbot.addWidget(view)
    text = "<|im_start|>user\nHello\u200b<|im_end|>"
    view.show_example([(text, False)], MARKS)
    view.selectAll()
    view.copy()
    assert QApplication.clipboard().text() == text
    cursor = view.textCursor()
    cursor.setPosition(1)
    cursor.setPosition(5, QTextCursor.MoveMode.KeepAnchor)
    view.setTextCursor(cursor)
    view.copy()
    assert QApplication.clipboard().text() == "user"


def test_that_a_line_runs_as_its_first_letter_says(qtbot):
    assert is_right_to_left("؟ ما هي")
    assert not is_right_to_left("12 France فرنسا")
    view = ExampleView()
    qtbot.addWidget(view)
    view.show_example([("<|im_start|>user\nما هي عاصمة فرنسا؟<|im_end|>", False)], MARKS)
    first, second = view.document().begin(), view.document().begin().next()
    assert first.textDirection() == Qt.LayoutDirection.LeftToRight
    assert second.textDirection() == Qt.LayoutDirection.RightToLeft


# -- lengths -----------------------------------------------------------------------------------------------
@pytest.fixture
def histogram(qtbot) -> LengthHistogram:
    made = LengthHistogram()
    qtbot.addWidget(made)
    made.resize(600, 180)
    made.show_lengths(np.array([10, 100, 100, 300, 800]), 500)
    made.show()
    return made


def test_that_dragging_the_line_tells_each_length_and_the_last(histogram):
    pulled, released = [], []
    histogram.cut_pulled.connect(pulled.append)
    histogram.cut_released.connect(released.append)
    at = QPoint(round(histogram._x(500)), 90)
    QTest.mousePress(histogram, Qt.MouseButton.LeftButton, pos=at)
    QTest.mouseMove(histogram, at - QPoint(100, 0))
    QTest.mouseMove(histogram, at - QPoint(200, 0))
    QTest.mouseRelease(histogram, Qt.MouseButton.LeftButton, pos=at - QPoint(200, 0))
    assert len(pulled) == 2 and pulled[1] < pulled[0] < 500
    assert released == [pulled[-1]]
    assert histogram.cut_count(200) == 2


def test_that_escape_ends_the_pulling_where_it_began(histogram):
    left = []
    histogram.cut_left.connect(lambda: left.append(True))
    at = QPoint(round(histogram._x(500)), 90)
    QTest.mousePress(histogram, Qt.MouseButton.LeftButton, pos=at)
    QTest.mouseMove(histogram, at - QPoint(120, 0))
    assert histogram.cut < 500
    QTest.keyClick(histogram, Qt.Key.Key_Escape)
    assert (histogram.cut, left) == (500, [True])


def test_that_arrow_keys_move_the_line(histogram):
    released = []
    histogram.cut_released.connect(released.append)
    QTest.keyClick(histogram, Qt.Key.Key_Left)
    QTest.keyClick(histogram, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert released == [492, 572]


def test_that_the_hatched_part_says_what_more_would_need(qtbot):
    plan = LengthPlan()
    qtbot.addWidget(plan)
    plan.show_memory(14.2e9, 24e9, 16.1e9, "hatched: +1.9 GB if the limit goes to 1,304")
    assert plan.memory.text() == "14.2\u00a0GB"
    assert plan.bar.value == pytest.approx(14.2 / 24)
    assert plan.bar.more == pytest.approx(16.1 / 24)


# -- lines -------------------------------------------------------------------------------------------------
def test_that_a_role_can_be_chosen_with_the_keyboard(qtbot):
    view = MappingView()
    qtbot.addWidget(view)
    lines = [ColumnLine("question", "prompt", False, "Where?"), ColumnLine("id", UNUSED, False, "7")]
    view.show_columns(lines, ("prompt", "completion"), {"prompt": "user"})
    view.show()
    chosen = []
    view.role_chosen.connect(lambda column, role: chosen.append((column, role)))
    assert view.combos["question"].currentText() == "user"
    combo = view.combos["id"]
    combo.setFocus()
    QTest.keyClick(combo, Qt.Key.Key_Up)
    assert chosen == [("id", "completion")]


def test_that_a_remark_is_pressed_by_its_id_and_keeps_the_focus(qtbot):
    view = RemarkList()
    qtbot.addWidget(view)
    view.show()
    view.show_remarks([Remark("duplicates", "warn", "31 duplicate rows", "rows 88 and 1,204", "Remove")])
    with qtbot.waitSignal(view.pressed) as pressed:
        view.buttons["duplicates"].click()
    assert pressed.args == ["duplicates"]
    assert view.buttons["duplicates"].accessibleName() == "Remove: 31 duplicate rows"


def test_that_a_filter_is_on_or_off_and_only_one_at_a_time(qtbot):
    bars = CountBars()
    qtbot.addWidget(bars)
    told = []
    bars.filtered.connect(told.append)
    bars.show_counts(
        [CountBar("a", "Duplicates", 3), CountBar("b", "Empty", 1), CountBar("c", "Near", 0)], 60
    )
    bars.chips["a"].click()
    bars.chips["b"].click()
    assert (told, bars.chosen) == (["a", "b"], "b")
    bars.chips["b"].click()
    assert told[-1] == ""
    assert not bars.chips["c"].isEnabled()


def test_that_a_share_is_pulled_typed_or_taken_back(qtbot):
    editor = ShareEditor("a.jsonl")
    qtbot.addWidget(editor)
    told = []
    editor.edited.connect(told.append)
    editor.show_share(None)
    assert told == []
    editor.slider.setValue(30)
    editor.field.setText("12,5 %")
    editor.field.editingFinished.emit()
    editor.all.click()
    assert told == [0.3, 0.125, None]


def test_that_names_get_meanings_by_field_or_list(qtbot):
    fields, lists = NamesEditor(), NamesEditor(("user", "assistant"))
    for editor in (fields, lists):
        qtbot.addWidget(editor)
    told = []
    fields.edited.connect(told.append)
    lists.edited.connect(told.append)
    fields.show_names(["0", "1"], {"0": "no"}, {"0": "41 rows"})
    fields.editors["1"].setText("yes")
    fields.editors["1"].editingFinished.emit()
    lists.show_names(["customer"], {}, {})
    combo = lists.editors["customer"]
    combo.setCurrentIndex(1)
    combo.activated.emit(1)
    assert told == [{"0": "no", "1": "yes"}, {"customer": "user"}]


# -- a table by hand ---------------------------------------------------------------------------------------
def test_that_cells_of_a_spreadsheet_keep_their_lines():
    assert pasted_cells('a\t"one\ntwo"\r\nb\tthree\n') == [["a", "one\ntwo"], ["b", "three"]]
    assert pasted_cells("only\none column") == [["only"], ["one column"]]
    assert pasted_cells("") == []


def test_that_a_pasted_table_fills_rows_and_leaves_room_for_one_more(qtbot):
    table = PairTable()
    qtbot.addWidget(table)
    QApplication.clipboard().setText("Where?\tHere.\nWhen?\tNow.\nHalf?\t\n")
    QTest.keyClick(table, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert table.pairs() == [("Where?", "Here."), ("When?", "Now.")]
    assert table.halves() == 1
    assert table.rowCount() == 4
