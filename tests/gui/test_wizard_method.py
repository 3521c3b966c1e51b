"""The method step on a real model: cards, fields, block and painter, and what a run then trains."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from app.pages.wizard.method_step import MethodStep
from app.pages.wizard.methods import METHODS
from app.pages.wizard.wizard import WizardPage
from app.services import Services
from app.widgets.module_map import ModuleBox
from app.widgets.rank_painter import Spot
from engine.jobs import process
from engine.models.facts import AdapterFacts, read_adapter_facts
from engine.plan.adapter_size import trainable_parameters
from engine.recipe import codec
from engine.recipe.combinations import OBEYED
from engine.runs import store
from tests.gui.wizard_place import open_page, ready, settle, write_rows

# Qt without a screen says so when a window has a smallest size or a menu opens.
pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def page(qtbot: Any, services: Services, tiny_model: Path, tmp_path: Path) -> WizardPage:
    made = open_page(qtbot, services)
    ready(qtbot, made, tiny_model, write_rows(tmp_path / "tickets.jsonl"))
    made.go_to("method")
    return made


def step_of_page(page: WizardPage) -> MethodStep:
    step = page.steps["method"]
    assert isinstance(step, MethodStep)
    return step


def press(step: MethodStep, row: str, layer: int) -> None:
    """Paint one cell with a press of the mouse."""
    painter = step.painter.painter
    place = painter.drawing.rect((painter.grid.rows.index(row), layer)).center().toPoint()
    QTest.mouseClick(painter.viewport(), LEFT, pos=place)


def box(step: MethodStep, words: str) -> ModuleBox:
    return next(each for each in step.modules.map.boxes.values() if each.box.words == words)


def shown(step: MethodStep) -> set[str]:
    return {path for path, row in step.rows.items() if not row.isHidden()}


def train(page: WizardPage, folder: Path) -> AdapterFacts:
    """Train one step in a real child and return what its adapter says of itself."""
    options = {
        "training.max_steps": 1,
        "evaluation.eval_steps": None,
        "training.load_best_model_at_end": False,
    }
    store.create_run(codec.override(page.state.recipe, options), folder)
    process.start(folder).wait(120)
    assert store.state_of(folder) == "finished", process.last_words(folder)
    return read_adapter_facts(folder / "adapter")


# -- the painter -------------------------------------------------------------------------------------------
def test_that_a_run_trains_exactly_what_was_painted(qtbot, page, tmp_path):
    step = step_of_page(page)
    step.painter.brush.chips[4].click()
    press(step, "query", 1)
    step.painter.brush.chips[0].click()
    QTest.mouseClick(
        step.painter.painter.viewport(),
        LEFT,
        pos=QPoint(4, step.painter.painter.drawing.rect((6, 0)).center().toPoint().y()),
    )
    press(step, "up", 0)
    settle(qtbot, page)
    grid, painted = step.painter.model, dict(step.painter.painter.ranks)
    assert sorted(set(painted.values())) == [0, 4, 16]
    facts = train(page, tmp_path / "run")
    assert {m.name: m.r for m in facts.modules} == {
        grid.modules[cell].name: rank for cell, rank in painted.items() if rank
    }
    assert {m.alpha / m.r for m in facts.modules} == {2.0}
    count = trainable_parameters(page.state.facts, page.state.recipe.adapter)
    assert facts.trainable_parameters == count == step.painter.trained
    assert page.plan_column.trainable.number.text() == f"{count:,}"


def test_that_each_stroke_is_taken_back_by_itself(qtbot, page):
    step = step_of_page(page)
    before = dict(step.painter.painter.ranks)
    step.painter.brush.chips[64].click()
    press(step, "query", 0)
    once = dict(step.painter.painter.ranks)
    press(step, "key", 1)
    step.painter.undo.click()
    assert step.painter.painter.ranks == once
    step.painter.undo.click()
    assert step.painter.painter.ranks == before
    assert page.state.recipe.adapter.rank_pattern == {}


def test_that_the_cost_of_place_and_whole_is_told_while_painting(qtbot, page):
    step = step_of_page(page)
    painter, facts = step.painter.painter, page.state.facts
    settle(qtbot, page)
    cell = (painter.grid.rows.index("gate"), 1)
    linear = step.painter.model.modules[cell]
    step.painter.brush.chips[32].click()
    QTest.mousePress(painter.viewport(), LEFT, pos=painter.drawing.rect(cell).center().toPoint())
    told = 32 * (linear.in_features + linear.out_features)
    assert f"gate, layer 1 · rank 32 · {told:,} trained" in step.painter.here.text()
    assert page.state.recipe.adapter.rank_pattern == {}  # the stroke is not done yet
    whole = trainable_parameters(facts, page.state.recipe.adapter) + told // 2
    assert f"{whole:,} trained" in step.painter.whole.text()
    QTest.mouseRelease(painter.viewport(), LEFT, pos=painter.drawing.rect(cell).center().toPoint())
    assert trainable_parameters(facts, page.state.recipe.adapter) == whole
    settle(qtbot, page)
    terms = page.state.plans.now.terms
    own = terms["adapter"] + terms["gradients"] + terms["optimizer"]
    assert step.painter.bytes_each * whole == pytest.approx(own)


def test_that_the_last_module_cannot_be_painted_away(qtbot, page):
    step = step_of_page(page)
    step.painter.brush.chips[0].click()
    before = dict(step.painter.painter.ranks)
    step.painter.painter.paint(Spot())
    assert step.painter.painter.ranks == before
    assert "has to stay" in step.painter.here.text()
    assert page.state.recipe.adapter.target_modules == "all-linear"


def test_that_painting_answers_within_a_frame(qtbot, page):
    step = step_of_page(page)
    took = []
    for layer in (0, 1, 0, 1):
        start = time.perf_counter()
        step.painter.painter.paint(Spot(0, layer), 8 if layer else 24)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.03


def test_that_the_brush_is_the_rank_of_the_recipe_until_another_is_taken(qtbot, page):
    step = step_of_page(page)
    page.state.set_value("adapter.r", 32)
    assert step.painter.painter.brush == step.painter.brush.rank == 32
    step.painter.brush.chips[4].click()
    page.state.set_value("adapter.r", 8)
    assert step.painter.painter.brush == 4


def test_that_text_in_the_pattern_is_seen_in_the_grid(qtbot, page):
    step = step_of_page(page)
    page.state.set_value("adapter.rank_pattern", {"layers.1.mlp.down_proj": 2, "attention": 8})
    painter = step.painter.painter
    rows = painter.grid.rows
    assert painter.ranks[rows.index("down"), 1] == 2
    assert {painter.ranks[rows.index(name), 0] for name in ("query", "key", "value", "output")} == {8}
    assert painter.ranks[rows.index("up"), 0] == 16


# -- the block ---------------------------------------------------------------------------------------------
def test_that_the_block_takes_kinds_of_module_in_and_out(qtbot, page):
    step = step_of_page(page)
    for name in ("key", "gate", "up", "down", "output"):
        QTest.mouseClick(box(step, name), LEFT)
    assert page.state.recipe.adapter.target_modules == ["q_proj", "v_proj"]
    assert not box(step, "key").isChecked()
    QTest.mouseClick(box(step, "head"), LEFT)
    assert page.state.recipe.adapter.target_modules == ["q_proj", "v_proj", "lm_head"]
    box(step, "query").setFocus()
    QTest.keyClick(box(step, "query"), Qt.Key.Key_Space)
    assert page.state.recipe.adapter.target_modules == ["v_proj", "lm_head"]


def test_that_a_box_says_how_much_of_its_kind_is_adapted(qtbot, page):
    step = step_of_page(page)
    assert box(step, "value").second_line() == "r 16"
    step.painter.painter.paint(Spot(step.painter.painter.grid.rows.index("value"), 0), 0)
    assert box(step, "value").second_line() == "1 of 2"
    QTest.mouseClick(box(step, "value"), LEFT)
    assert box(step, "value").second_line() == "r 16"
    step.painter.painter.paint(Spot(step.painter.painter.grid.rows.index("value"), 0), 64)
    assert box(step, "value").second_line() == "r 16–64"


# -- methods -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", METHODS)
def test_that_each_card_chooses_its_method_and_shows_only_its_fields(qtbot, page, name):
    step = step_of_page(page)
    page.set_level("all")
    page.state.set_values({"adapter.rank_pattern": {"q_proj": 4}, "adapter.use_rslora": True})
    QTest.mouseClick(step.cards[name], LEFT)
    assert step.method == name
    assert step.cards[name].chosen
    assert codec.problems(page.state.recipe.model_dump()) == []
    method = page.state.recipe.adapter.method
    fields = {path.removeprefix("adapter.") for path in shown(step) if path.startswith("adapter.")}
    assert fields <= set(OBEYED[method])
    assert ("r" in fields) == ("r" in OBEYED[method])
    settle(qtbot, page)
    assert name in page.state.plans.methods
    assert page.state.plans.methods[name].memory_bytes == page.state.plans.now.memory_bytes


@pytest.mark.parametrize("name", ["full", "ia3", "oft", "vera", "adalora"])
def test_that_what_a_method_does_not_obey_comes_back_with_the_one_that_does(qtbot, page, name):
    step = step_of_page(page)
    page.state.set_values({"adapter.rank_pattern": {"q_proj": 4}, "adapter.lora_dropout": 0.1})
    QTest.mouseClick(step.cards[name], LEFT)
    assert page.state.recipe.adapter.rank_pattern == {}
    QTest.mouseClick(step.cards["lora"], LEFT)
    assert page.state.recipe.adapter.rank_pattern == {"q_proj": 4}
    assert page.state.recipe.adapter.lora_dropout == 0.1
    page.state.undo()
    assert step.method == name


def test_that_the_painter_goes_with_full_and_is_on_or_off_where_ranks_are_one(qtbot, page):
    step = step_of_page(page)
    QTest.mouseClick(step.cards["full"], LEFT)
    assert step.painter.isHidden()
    assert step.adapter.isHidden()
    QTest.mouseClick(step.cards["lora"], LEFT)
    assert not step.painter.isHidden()
    QTest.mouseClick(step.cards["ia3"], LEFT)
    assert step.painter.brush.isHidden()
    press(step, "query", 0)
    adapter = page.state.recipe.adapter
    assert "layers.1.self_attn.q_proj" in adapter.target_modules
    assert "layers.0.self_attn.q_proj" not in adapter.target_modules
    assert adapter.rank_pattern == {}
    assert step.painter.trained == trainable_parameters(page.state.facts, adapter)


@pytest.mark.parametrize("name", ["dora", "vera", "ia3"])
def test_that_a_run_of_another_method_trains_the_modules_that_were_painted(qtbot, page, tmp_path, name):
    step = step_of_page(page)
    QTest.mouseClick(step.cards[name], LEFT)
    step.painter.brush.chips[0].click()
    press(step, "down", 1)
    press(step, "key", 0)
    settle(qtbot, page)
    painted = {step.painter.model.modules[cell].name for cell, r in step.painter.painter.ranks.items() if r}
    assert len(painted) == 12
    facts = train(page, tmp_path / "run")
    assert {module.name for module in facts.modules} == painted
    assert facts.trainable_parameters == step.painter.trained


def test_that_a_remark_that_stays_true_stays_where_it_is(qtbot, page):
    settle(qtbot, page)
    page.resize(1440, 844)

    def card() -> Any:
        cards = page.plan_column.cards
        return next((each for each in cards if each.advice.title == "All linear layers adapted"), None)

    before = card()
    assert before is not None
    page.state.set_value("adapter.lora_dropout", 0.1)
    settle(qtbot, page)
    assert card() is before
    page.state.set_value("adapter.target_modules", ["q_proj"])
    settle(qtbot, page)
    assert card() is None


def test_that_searching_a_field_of_another_method_leads_to_the_cards(qtbot, page):
    step = step_of_page(page)
    page.go_to_field("adapter.target_r")
    assert step.cards["lora"].hasFocus()
    assert not step.others.isHidden()
    assert step.rows["adapter.target_r"].isHidden()
