"""The plan beside the steps: what is drawn, what a look at a choice shows, what advice changes and undoes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QEnterEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from app.pages.wizard import inquiries, review_checks
from app.pages.wizard.wizard import WizardPage
from app.services import Services
from app.widgets.advice_card import AdviceCard, SourceCard
from app.widgets.editors import ComboEditor, SegmentsEditor, SwitchEditor, UsualEditor
from app.widgets.label import TextLabel
from app.widgets.rank_editor import RankEditor
from engine.models.facts import look_at
from engine.recipe.presets import presets
from tests.gui.plan_place import machine_with, seven_billion
from tests.gui.wizard_place import open_page, ready, settle, write_rows

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def model(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Without weights a model can be planned, and the window refuses it as incomplete: here it may pass.
    monkeypatch.setattr(inquiries, "read_facts", look_at)
    monkeypatch.setattr(review_checks, "read_facts", look_at)
    return seven_billion(tmp_path / "llama-7b", tiny_model)


def page_with(qtbot: Any, services: Services, model: Path, folder: Path, gigabytes: float) -> WizardPage:
    services.hardware.machine = machine_with(gigabytes)
    page = open_page(qtbot, services)
    ready(qtbot, page, model, write_rows(folder / "tickets.jsonl"))
    return page


@pytest.fixture
def page(qtbot: Any, services: Services, model: Path, tmp_path: Path) -> WizardPage:
    made = page_with(qtbot, services, model, tmp_path, 24)
    made.go_to("method")
    settle(qtbot, made)
    return made


def point_at(widget: QWidget) -> None:
    middle = QPointF(widget.rect().center())
    QApplication.sendEvent(widget, QEnterEvent(middle, middle, middle))


def leave(widget: QWidget) -> None:
    QApplication.sendEvent(widget, QEvent(QEvent.Type.Leave))


# -- the bar -----------------------------------------------------------------------------------------------
def test_that_the_bar_shows_every_part_the_band_and_what_they_rest_on(page):
    plan, column = page.state.plans.now, page.plan_column
    assert {part.name for part in column.bar.parts} == {n for n, v in plan.terms.items() if v > 0}
    assert column.bar.x_of(plan.memory_bytes) == pytest.approx(
        column.bar.width() * plan.memory_bytes / 24e9, abs=1
    )
    assert column.verdict.text == "fits"
    assert column.note.text().startswith("By formula: ")
    assert "to" in column.time.below.text()
    part = column.bar.part_at(1, 12)
    assert part is not None and part.name == "weights"


@pytest.mark.parametrize(("gigabytes", "word"), [(24, "fits"), (8, "does not fit")])
def test_that_the_verdict_is_a_word_with_its_icon(qtbot, services, model, tmp_path, gigabytes, word):
    page = page_with(qtbot, services, model, tmp_path, gigabytes)
    page.state.set_value("training.gradient_checkpointing", "none")
    settle(qtbot, page)
    assert page.plan_column.verdict.text == word
    assert page.plan_strip.verdict.text == word
    if word == "does not fit":
        assert page.plan_column.bar.x_of(8e9) < page.plan_column.bar.width()


# -- ghosts ------------------------------------------------------------------------------------------------
def test_that_looking_at_a_card_draws_what_it_would_need_and_changes_nothing(qtbot, page):
    step, before = page.steps["method"], page.state.recipe
    point_at(step.cards["qlora"])
    settle(qtbot, page)
    ghost = page.plan_column.bar.ghost
    assert ghost is not None
    assert ghost.memory_bytes == page.state.plans.methods["qlora"].memory_bytes
    assert "QLoRA: " in page.plan_column.note.text() and "GB (−" in page.plan_column.note.text()
    assert page.plan_strip.bar.ghost == ghost
    assert page.state.recipe is before
    leave(step.cards["qlora"])
    assert page.plan_column.bar.ghost is None
    assert page.plan_column.note.text().startswith("By formula")


def test_that_the_keyboard_looks_as_the_pointer_does(qtbot, page):
    step = page.steps["method"]
    page.window().activateWindow()
    step.cards["lora"].setFocus()
    QTest.keyClick(step.cards["lora"], Qt.Key.Key_Tab)
    assert step.cards["qlora"].hasFocus()
    settle(qtbot, page)
    assert page.plan_column.bar.ghost is not None
    assert page.plan_column.bar.ghost.title == "QLoRA"


def test_that_a_chip_of_the_rank_previews_alpha_with_it_and_is_pressed(qtbot, page):
    editor = page.steps["method"].rows["adapter.r"].editor
    assert isinstance(editor, RankEditor)
    point_at(editor.chips[64])
    settle(qtbot, page)
    ghost = page.plan_column.bar.ghost
    assert ghost is not None and ghost.title == "Rank (r) 64"
    assert ghost.terms["adapter"] == pytest.approx(4 * page.state.plans.now.terms["adapter"], rel=0.01)
    QTest.mouseClick(editor.chips[64], LEFT)
    assert (page.state.value("adapter.r"), page.state.value("adapter.lora_alpha")) == (64, 128)
    assert page.plan_column.bar.ghost is None
    settle(qtbot, page)
    assert page.state.plans.now.memory_bytes == ghost.memory_bytes


def test_that_the_place_under_the_pointer_of_the_slider_is_previewed(qtbot, page):
    editor = page.steps["method"].rows["adapter.r"].editor
    QTest.mouseMove(editor.slider, editor.slider.rect().center())
    editor.slider.pointed_at.emit(9)
    settle(qtbot, page)
    assert page.plan_column.bar.ghost is not None
    assert page.plan_column.bar.ghost.title == "Rank (r) 64"
    assert page.state.value("adapter.r") == 16


@pytest.mark.parametrize(
    ("step", "path", "value"),
    [
        ("method", "training.gradient_checkpointing", "all"),
        ("method", "model.load_in_8bit", True),
        ("training", "training.per_device_train_batch_size", 16),
        ("training", "training.gradient_accumulation_steps", 4),
        ("training", "training.precision", "fp32"),
        ("training", "training.optim", "sgd"),
    ],
)
def test_that_every_kind_of_control_previews_what_it_would_choose(qtbot, page, step, path, value):
    page.set_level("all")
    page.go_to(step)
    editor, before = page.steps[step].rows[path].editor, page.state.recipe
    if isinstance(editor, SwitchEditor):
        point_at(editor.switch)
    elif isinstance(editor, SegmentsEditor | UsualEditor):
        point_at(editor.chips[value])
    else:
        assert isinstance(editor, ComboEditor)
        editor.combo.highlighted.emit(editor.combo.findData(value))
    settle(qtbot, page)
    ghost = page.plan_column.bar.ghost
    assert ghost is not None, page.plan_column.note.text()
    assert page.state.recipe is before
    page.state.set_value(path, value)
    settle(qtbot, page)
    assert page.state.plans.now.memory_bytes == ghost.memory_bytes
    assert page.state.plans.now.seconds == ghost.seconds


def test_that_a_module_of_the_block_is_previewed(qtbot, page):
    step = page.steps["method"]
    box = next(b for b in step.modules.map.boxes.values() if b.box.words == "gate")
    point_at(box)
    settle(qtbot, page)
    ghost = page.plan_column.bar.ghost
    assert ghost is not None and ghost.title == "Without gate"
    assert ghost.terms["adapter"] < page.state.plans.now.terms["adapter"]
    QTest.mouseClick(box, LEFT)
    settle(qtbot, page)
    assert page.state.plans.now.memory_bytes == ghost.memory_bytes


def test_that_a_preset_of_the_menu_is_previewed(qtbot, page):
    preset = next(p for p in presets() if "little" in p.name)
    before = page.state.recipe
    menu = page.bar.preset_button.menu()
    action = next(a for a in menu.actions() if a.text().startswith(preset.title))
    action.hover()
    settle(qtbot, page)
    ghost = page.plan_column.bar.ghost
    assert ghost is not None and ghost.title == preset.title
    assert page.state.recipe is before
    menu.aboutToHide.emit()
    assert page.plan_column.bar.ghost is None
    action.trigger()
    settle(qtbot, page)
    assert page.state.plans.now.memory_bytes == pytest.approx(ghost.memory_bytes)


def test_that_a_choice_that_cannot_be_had_says_why(qtbot, page):
    page.state.set_values({"model.load_in_4bit": True})
    settle(qtbot, page)
    page.plan.look(("8-bit base", {"model.load_in_8bit": True}))
    settle(qtbot, page)
    assert page.plan_column.bar.ghost is None
    assert page.plan_column.note.text().startswith("8-bit base: ")


def test_that_another_model_of_the_list_is_previewed_with_its_own_shapes(qtbot, page):
    step = page.steps["model"]
    page.go_to("model")
    facts = page.state.facts
    page.plan.look(("half", {"model.path": "half"}, facts))
    settle(qtbot, page)
    assert page.plan_column.bar.ghost is None  # the same needs are no change
    assert step.ladder.filled


# -- advice ------------------------------------------------------------------------------------------------
def card_about(page: WizardPage, path: str) -> AdviceCard:
    return next(c for c in page.plan_column.cards if c.advice.fix and path in c.advice.fix)


def test_that_what_makes_it_fit_is_one_press_and_one_press_back(qtbot, services, model, tmp_path):
    page = page_with(qtbot, services, model, tmp_path, 14)
    page.state.set_value("training.gradient_checkpointing", "none")
    settle(qtbot, page)
    before = page.state.recipe
    assert page.plan_column.verdict.text == "does not fit"
    card = page.plan_column.cards[0]
    assert "less" in card.advice.figure and "which fits" in card.advice.figure
    assert card.press is not None
    point_at(card.press)
    settle(qtbot, page)
    assert page.plan_column.bar.ghost is not None
    QTest.mouseClick(card.press, LEFT)
    assert all(page.state.value(path) == value for path, value in card.advice.fix.items())
    settle(qtbot, page)
    assert page.state.plans.now.fits
    assert not page.plan_column.undo_line.isHidden()
    QTest.mouseClick(page.plan_column.undo, LEFT)
    assert page.state.recipe == before
    assert page.plan_column.undo_line.isHidden()


def test_that_undo_is_offered_until_something_else_is_changed(qtbot, services, model, tmp_path):
    page = page_with(qtbot, services, model, tmp_path, 14)
    page.state.set_value("training.gradient_checkpointing", "none")
    settle(qtbot, page)
    QTest.mouseClick(page.plan_column.cards[0].press, LEFT)
    assert not page.plan_strip.undo.isHidden()
    page.state.set_value("training.seed", 7)
    assert page.plan_strip.undo.isHidden() and page.plan_column.undo_line.isHidden()


def test_that_the_engines_advice_stands_where_its_field_is_with_sources(qtbot, page):
    page.go_to("training")
    page.state.set_value("training.learning_rate", 2e-5)
    settle(qtbot, page)
    card = card_about(page, "training.learning_rate")
    assert card.links and card.advice.sources
    card.links[0].click()
    opened = page.window().findChild(SourceCard)
    assert opened is not None and card.advice.sources[0].title in opened.accessibleName()
    opened.close_now()
    row = page.steps["training"].rows["training.learning_rate"]
    QTest.mouseClick(card.press, LEFT)
    assert page.state.value("training.learning_rate") == card.advice.fix["training.learning_rate"]
    assert row._tinted
    settle(qtbot, page)
    assert not [
        c for c in page.plan_column.cards if c.advice.fix and "training.learning_rate" in c.advice.fix
    ]


def test_that_a_corrected_claim_is_shown_with_its_correction(qtbot, page):
    from app.pages.wizard.advice_view import source_of

    source = source_of("A3")
    card = SourceCard(source, page.plan_column.note)
    qtbot.addWidget(card)
    assert source.correction and source.tag == "ARTICLE"
    texts = [label.text() for label in card.findChildren(TextLabel)]
    assert source.correction in texts and source.figure in texts


def test_that_the_strip_opens_the_same_cards(qtbot, services, model, tmp_path):
    page = page_with(qtbot, services, model, tmp_path, 14)
    page.state.set_value("training.gradient_checkpointing", "none")
    settle(qtbot, page)
    opened = page.plan_strip.open_advice()
    cards = opened.findChildren(AdviceCard)
    assert [c.advice.title for c in cards] == [c.advice.title for c in page.plan_column.cards]
    QTest.mouseClick(cards[0].press, LEFT)
    assert page.plan_strip.undo.accessibleName() == f"Undo: Applied: {cards[0].advice.title}"


# -- cards, ladder, review ---------------------------------------------------------------------------------
def test_that_cards_say_memory_time_and_whether_it_fits(page):
    cards, methods = page.steps["method"].cards, page.state.plans.methods
    for name in ("lora", "qlora", "full"):
        share = methods[name].memory_bytes / 24e9
        assert cards[name].need.value == pytest.approx(min(1.0, share))
    assert "does not fit" in cards["full"].figures.text()
    assert "GB · " in cards["qlora"].figures.text()


def test_that_the_ladder_has_every_size_and_speaks_to_the_keyboard(qtbot, page):
    page.go_to("model")
    settle(qtbot, page)
    ladder = page.steps["model"].ladder
    names = [rung.name for rung in ladder.drawing.rungs]
    assert names[0] == "135M" and names[-1] == "70B" and "chosen" in names
    needs = {need.method: need for need in ladder.drawing.rungs[names.index("70B")].needs}
    assert {need.verdict for need in needs.values()} == {"too_large"}
    assert ladder.drawing.x_of(needs["Full"].memory_bytes) > ladder.drawing.x_of(24e9)
    assert ladder.words.text().startswith("The largest that fits: ")
    ladder.drawing.setFocus()
    QTest.keyClick(ladder.drawing, Qt.Key.Key_Down)
    assert ladder.words.text().startswith("135M: QLoRA ")
    ladder.drawing.look(-1)
    assert ladder.words.text().startswith("The largest that fits: ")


def test_that_the_review_draws_the_run_by_the_clock(qtbot, page):
    page.state.set_values({"training.num_train_epochs": 3.0})
    page.go_to("review")
    settle(qtbot, page)
    line = page.steps["review"].timeline._line
    plan = page.state.plans.now
    assert line.seconds == pytest.approx(plan.seconds, rel=0.01)
    assert len(line.epochs) == 3 and line.epochs[-1] == 1.0
    assert line.begins is not None and line.clock(1.0)
    assert "ends about" in page.steps["review"].timeline.accessibleDescription()
    assert "In all between" in page.steps["review"].timeline_words.text()


def test_that_a_check_mends_what_it_names(qtbot, services, model, tmp_path):
    page = page_with(qtbot, services, model, tmp_path, 14)
    page.state.set_value("training.gradient_checkpointing", "none")
    page.go_to("review")
    settle(qtbot, page)
    step = page.steps["review"]
    index = next(i for i, check in enumerate(step.checks) if check.title.startswith("Does not fit"))
    check = step.checks[index]
    assert check.press and check.fix
    step.list.looked_at.emit(index)
    settle(qtbot, page)
    assert page.plan_column.bar.ghost is not None
    step.list.acted.emit(index)
    settle(qtbot, page)
    assert page.state.plans.now.fits
    assert not any(check.title.startswith("Does not fit") for check in step.checks)


# -- checked, tried ----------------------------------------------------------------------------------------
@pytest.fixture
def small_page(qtbot: Any, services: Services, tiny_model: Path, tmp_path: Path) -> WizardPage:
    made = open_page(qtbot, services)
    ready(qtbot, made, tiny_model, write_rows(tmp_path / "tickets.jsonl"))
    made.go_to("review")
    settle(qtbot, made)
    return made


def check_line(page: WizardPage) -> int:
    return next(i for i, c in enumerate(page.steps["review"].checks) if c.title.startswith("Fits"))


def test_that_a_plan_is_checked_exactly_and_the_figure_stands_beside_the_formulas(qtbot, small_page):
    page, exactly = small_page, small_page.exactly
    row = page.plan_column.exact_place.itemAt(0).widget()
    assert not row.start.isHidden() and page.steps["review"].checks[check_line(page)].press == "Check exactly"
    page.steps["review"].list.acted.emit(check_line(page))
    assert exactly.busy and not row.cancel.isHidden() and row.start.isHidden()
    qtbot.waitUntil(lambda: exactly.memory_bytes is not None, timeout=120_000)
    settle(qtbot, page)
    counted = exactly.memory_bytes
    assert counted == pytest.approx(page.state.plans.now.memory_bytes, rel=0.1)
    assert row.words.text().startswith("Checked exactly: ") and row.start.isHidden()
    assert page.plan_column.bar._plan.exact_bytes == counted
    assert "checked exactly" in page.steps["review"].checks[check_line(page)].detail
    page.state.set_value("adapter.r", 64)
    settle(qtbot, page)
    assert exactly.memory_bytes is None and not row.start.isHidden()  # another recipe, not yet checked
    page.state.undo()
    settle(qtbot, page)
    assert exactly.memory_bytes == counted


def test_that_a_check_is_cancelled_and_leaves_nothing(qtbot, small_page, home):
    page, exactly = small_page, small_page.exactly
    row = page.plan_column.exact_place.itemAt(0).widget()
    QTest.mouseClick(row.start, LEFT)
    qtbot.waitUntil(lambda: exactly._check is not None, timeout=30_000)
    folder = exactly._check.folder
    assert folder.is_dir()
    QTest.mouseClick(row.cancel, LEFT)
    qtbot.waitUntil(lambda: not exactly.busy, timeout=60_000)
    assert not folder.exists() and exactly.answer is None
    assert not row.start.isHidden()


def test_that_the_card_that_tries_stands_beside_the_review_or_below_its_checks(qtbot, small_page):
    page = small_page
    probe = page.steps["review"].probe
    assert probe.isVisible() and probe.try_button.isEnabled()
    assert not page.plan_column.isAncestorOf(probe)  # the test's window is narrow: the column is folded
    page.resize(1440, 860)
    settle(qtbot, page)
    assert page.plan_column.isAncestorOf(probe) and probe.isVisible()
    page.go_to("training")
    assert not probe.isVisible()
    page.go_to("review")
    page.resize(1100, 700)
    settle(qtbot, page)
    assert page.steps["review"].isAncestorOf(probe) and probe.isVisible()


def test_that_what_a_trial_measured_is_planned_with(qtbot, small_page):
    asked = []
    small_page.state.plan_changed.connect(lambda: asked.append(True))
    small_page.steps["review"].probe.measured.emit()
    settle(qtbot, small_page)
    assert asked
