"""The form made from the schema: every kind of field, faults beside them, ways back, search."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from app.pages.wizard.fields import fault_of, is_offered, offered_choices, offered_fields
from app.theme.style import apply_theme
from app.widgets.editors import ComboEditor, ParagraphEditor, SegmentsEditor, SwitchEditor, make_editor
from app.widgets.field_help import HelpCard
from app.widgets.field_text import write_number
from app.widgets.form import FAULT_DELAY_MS, FieldRow, Form, FormRules, find_fields
from app.widgets.rank_editor import RankEditor
from app.widgets.typed_editors import PathEditor, StepsEditor, TypedEditor
from engine.recipe.codec import UNSUPPORTED_FIELDS
from engine.recipe.fields import field_spec, field_specs, parse_text


@pytest.fixture(autouse=True)
def look(qapp: QApplication) -> None:
    apply_theme(qapp, "dark", 100)


def make_row(qtbot: Any, path: str, base: Any = None, **more: Any) -> tuple[FieldRow, list, list]:
    spec = field_spec(path)
    start = spec.default if base is None else base
    rules = FormRules(offered_choices(), lambda _path: start, fault_of)
    place = QWidget()
    qtbot.addWidget(place)
    place.resize(700, 300)
    row = FieldRow(spec, rules, **more)
    row.setParent(place)
    row.holder = place  # lives as long as the row
    row.setGeometry(0, 0, 700, 160)
    row.show_value(spec.default)
    place.show()
    edited: list[Any] = []
    misread: list[Any] = []
    row.edited.connect(lambda path, value: edited.append(value))
    row.misread.connect(lambda path, text, fault: misread.append((text, fault)))
    return row, edited, misread


def type_into(row: FieldRow, text: str) -> None:
    assert isinstance(row.editor, TypedEditor)
    row.editor.line.setFocus()
    row.editor.line.selectAll()
    QTest.keyClicks(row.editor.line, text)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("adapter.r", TypedEditor),
        ("training.learning_rate", TypedEditor),
        ("data.shuffle", SwitchEditor),
        ("training.gradient_checkpointing", SegmentsEditor),
        ("training.lr_scheduler_type", ComboEditor),
        ("data.format", ComboEditor),
        ("data.validation", PathEditor),
        ("data.system_prompt", ParagraphEditor),
        ("evaluation.sample_prompts", ParagraphEditor),
        ("evaluation.eval_steps", StepsEditor),
        ("adapter.rank_pattern", TypedEditor),
    ],
)
def test_that_each_kind_of_field_has_its_editor(qtbot, path, kind):
    editor = make_editor(field_spec(path))
    qtbot.addWidget(editor)
    assert type(editor) is kind


@pytest.mark.parametrize("path", [spec.path for spec in field_specs()])
def test_that_every_field_can_show_its_default_without_telling_of_an_edit(qtbot, path):
    row, edited, misread = make_row(qtbot, path)
    assert (edited, misread, row.fault) == ([], [], "")
    assert row.back.isHidden()


@pytest.mark.parametrize(
    ("text", "value"), [("2e-4", 2e-4), ("0.0002", 2e-4), ("5e-5", 5e-5), ("1e-3", 1e-3), ("0,001", 1e-3)]
)
def test_that_a_learning_rate_is_read_as_people_paste_it(qtbot, text, value):
    row, edited, _ = make_row(qtbot, "training.learning_rate")
    type_into(row, text)
    assert edited[-1] == pytest.approx(value)


@pytest.mark.parametrize(("text", "value"), [("2,048", 2048), ("2k", 2000), ("512", 512)])
def test_that_whole_numbers_are_read_with_commas_and_k(qtbot, text, value):
    row, edited, _ = make_row(qtbot, "data.max_length")
    type_into(row, text)
    assert edited[-1] == value


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("adapter.r", "0", "Use 1 or more."),
        ("adapter.r", "5000", "Use 1024 or less."),
        ("adapter.r", "sixteen", "Use a whole number."),
        ("adapter.r", "2.5", "Use a whole number."),
        ("adapter.lora_dropout", "1", "Use less than 1"),
        ("training.learning_rate", "0", "Use more than 0."),
        ("training.learning_rate", "fast", "Use a number, such as 0.0002 or 2e-4."),
        ("training.max_steps", "0", "Use 1 or more."),
        ("evaluation.eval_steps", "often", "Use a whole number, auto or epoch."),
    ],
)
def test_that_a_bad_value_says_the_way_out_under_the_field(qtbot, path, text, words):
    row, _, misread = make_row(qtbot, path)
    type_into(row, text)
    assert words.rstrip(".") in misread[-1][1]
    assert row.fault_line.isHidden()
    qtbot.waitUntil(lambda: not row.fault_line.isHidden(), timeout=FAULT_DELAY_MS + 30_000)
    assert words.rstrip(".") in row.fault_label.text()
    assert row.fault_label.token == "bad"
    assert row.editor.line.property("invalid") == "true"


def test_that_a_fault_is_said_at_once_on_leaving_and_goes_when_mended(qtbot):
    row, edited, _ = make_row(qtbot, "adapter.r")
    type_into(row, "0")
    row.editor.line.editingFinished.emit()
    assert not row.fault_line.isHidden()
    type_into(row, "8")
    assert row.fault_line.isHidden()
    assert edited[-1] == 8


def test_that_a_changed_field_leads_back_to_the_preset(qtbot):
    row, edited, _ = make_row(qtbot, "adapter.r")
    type_into(row, "64")
    assert not row.back.isHidden()
    assert row.back.text() == "back to 16"
    QTest.mouseClick(row.back, Qt.MouseButton.LeftButton)
    assert edited[-1] == 16
    assert row.editor.line.text() == "16"
    assert row.back.isHidden()


def test_that_what_is_being_typed_is_not_rewritten(qtbot):
    row, _, _ = make_row(qtbot, "training.learning_rate")
    type_into(row, "0.00020")
    row.show_value(2e-4)
    assert row.editor.line.text() == "0.00020"


def test_that_auto_and_off_are_chips_beside_the_number(qtbot):
    row, edited, _ = make_row(qtbot, "evaluation.eval_steps")
    chips = row.editor._chips
    assert chips["Auto"].isChecked()
    type_into(row, "25")
    assert edited[-1] == 25
    QTest.mouseClick(chips["Off"], Qt.MouseButton.LeftButton)
    assert edited[-1] is None
    assert chips["Off"].isChecked() and not chips["Auto"].isChecked()


def test_that_prompts_are_one_a_line(qtbot):
    row, edited, _ = make_row(qtbot, "evaluation.sample_prompts")
    row.editor.area.setPlainText("What is this?\n\n  And that, or not?  ")
    assert edited[-1] == ["What is this?", "And that, or not?"]


def test_that_an_emptied_optional_text_is_none(qtbot):
    row, edited, _ = make_row(qtbot, "data.system_prompt")
    row.editor.area.setPlainText("Be short.")
    row.editor.area.setPlainText("")
    assert edited == ["Be short.", None]


def test_that_options_of_later_versions_are_not_offered():
    paths = {spec.path for spec in offered_fields()}
    assert paths.isdisjoint({"launcher.nodes", "launcher.address"})
    assert "float16" not in offered_choices()["model.dtype"]
    for spec in field_specs():
        if spec.path not in UNSUPPORTED_FIELDS:
            assert is_offered(spec)


def test_that_the_rank_slider_goes_by_usual_ranks(qtbot):
    spec = field_spec("adapter.r")
    row, edited, _ = make_row(qtbot, "adapter.r", editor=RankEditor(spec))
    row.editor.slider.setFocus()
    QTest.keyClick(row.editor.slider, Qt.Key.Key_Right)
    assert edited[-1] == 24
    assert row.editor.line.text() == "24"
    QTest.keyClick(row.editor.slider, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert edited[-1] == 64


def test_that_help_offers_the_usual_values(qtbot):
    row, edited, _ = make_row(qtbot, "adapter.r")
    row.open_help()
    card = row.window().findChild(HelpCard)
    assert [chip.text() for chip in card.chips] == ["8", "16", "32", "64"]
    card.chips[3].click()
    assert edited == [64]
    assert row.editor.line.text() == "64"


def test_that_simple_shows_few_and_all_options_shows_the_rest(qtbot):
    form = Form([s for s in offered_fields() if s.section == "training"], FormRules(offered_choices()))
    qtbot.addWidget(form)
    form.set_level("simple")
    assert 3 <= len(form.shown_rows) <= 8
    form.set_level("all")
    assert len(form.shown_rows) == len(form.rows)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        ("lora_alpha", "adapter.lora_alpha"),
        ("lora alpha", "adapter.lora_alpha"),
        ("learning rate", "training.learning_rate"),
        ("warmup", "training.warmup_steps"),
        ("per_device_train_batch_size", "training.per_device_train_batch_size"),
        ("Rank", "adapter.r"),
        ("template", "data.chat_template"),
    ],
)
def test_that_search_finds_labels_and_usual_names(words, path):
    assert find_fields(offered_fields(), words)[0].path == path


def test_that_search_of_nothing_finds_nothing():
    assert find_fields(offered_fields(), "  ") == []
    assert find_fields(offered_fields(), "no such thing") == []


@pytest.mark.parametrize("value", [2e-4, 5e-5, 1e-3, 0.05, 0.03, 1, 3.0, 1.5e-7, 1024, 1_048_576])
def test_that_numbers_are_written_so_that_they_are_read_back(value):
    assert parse_text(field_spec("training.learning_rate"), write_number(value)) == pytest.approx(value)


def test_that_a_row_can_be_reached_and_read_without_seeing(qtbot):
    row, _, _ = make_row(qtbot, "adapter.r")
    assert row.editor.line.accessibleName() == "Rank (r)"
    assert row.editor.line.accessibleDescription() == field_spec("adapter.r").help
    assert row.label.buddy() is row.editor


def test_that_all_built_in_templates_are_offered_and_others_are_kept(qtbot):
    from app.pages.wizard.template_editor import TemplateEditor
    from engine.data.templates import BUILT_IN

    editor = TemplateEditor(field_spec("data.chat_template"))
    qtbot.addWidget(editor)
    offered = {editor.combo.itemData(index) for index in range(editor.combo.count())}
    assert {"auto", *BUILT_IN} <= offered
    editor.show_value("/somewhere/mine.jinja")
    assert editor.combo.currentText() == "mine.jinja"
    editor.show_value("auto")
    assert editor.combo.currentData() == "auto"
