"""The plan beside the steps: what is drawn, what a look at a choice shows, cards and ladder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.pages.wizard.wizard import WizardPage
from app.services import Services
from app.widgets.editors import ComboEditor, SegmentsEditor, SwitchEditor
from app.widgets.rank_editor import RankEditor
from app.widgets.typed_editors import UsualEditor
from app.workers.run_queue import RunQueue
from engine.recipe.presets import presets
from engine.runs import store
from tests.gui.plan_place import SEVEN_BILLION, leave, page_with, point_at
from tests.gui.wizard_place import settle

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def page(qtbot: Any, services: Services, large_model: Path, tmp_path: Path) -> WizardPage:
    return page_with(qtbot, services, large_model, tmp_path, 24, "method")


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
def test_that_the_verdict_is_a_word_with_its_icon(qtbot, services, large_model, tmp_path, gigabytes, word):
    page = page_with(qtbot, services, large_model, tmp_path, gigabytes)
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


# -- a folder without weights ------------------------------------------------------------------------------
@pytest.fixture
def bare_model(tmp_path: Path) -> Path:
    """Return a folder that holds nothing but the config.json of a small model."""
    folder = tmp_path / "bare"
    folder.mkdir()
    small = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "vocab_size": 512}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
    (folder / "config.json").write_text(json.dumps({**SEVEN_BILLION, **small, **heads}), encoding="utf-8")
    return folder


def test_that_a_configuration_alone_is_planned_advised_and_checked_but_not_trained(
    qtbot, services, bare_model, tmp_path
):
    services.run_queue = RunQueue(services)
    page = page_with(qtbot, services, bare_model, tmp_path, 24)
    assert page.steps["model"].pill.text == "no weights"
    assert any("no weights" in card.advice.title for card in page.plan_column.cards)
    page.state.set_values({"training.learning_rate": 2e-5, "adapter.modules_to_save": ["embed_tokens"]})
    page.go_to("training")
    settle(qtbot, page)
    assert page.plan_column.verdict.text == "fits"
    assert any("training.learning_rate" in (card.advice.fix or {}) for card in page.plan_column.cards)
    page.exactly.start()
    qtbot.waitUntil(lambda: page.exactly.answer is not None, timeout=120_000)
    assert page.exactly.memory_bytes == pytest.approx(page.state.plans.now.memory_bytes, rel=0.1)
    page.go_to("review")
    settle(qtbot, page)
    bad = [check for check in page.steps["review"].blocking if check.field == "model.path"]
    assert [check.title for check in bad] == ["bare has no weights: model.safetensors is missing."]
    assert bad[0].detail.startswith("MODEL-02")
    page.start()
    assert not store.list_runs() and not services.run_queue.queued()
    services.run_queue.close()
