"""A new run from an adapter in the window: the way in, what is locked, what is said where it does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.pages.wizard import begin_from
from app.pages.wizard.begin_card import BeginCard
from app.pages.wizard.begin_from import Line
from app.pages.wizard.method_step import NOT_TAKEN, TAKEN, UNKNOWN, MethodStep
from app.pages.wizard.review_begin import begin_checks
from app.pages.wizard.wizard import WizardPage
from app.services import Services
from engine.models.adapter_facts import read_adapter_facts
from engine.models.facts import read_facts
from engine.recipe import codec
from engine.recipe.presets import presets
from engine.recipe.recipe import Recipe
from engine.runs import store
from tests.gui.wizard_place import open_page, settle, write_rows
from tests.unit.plan.test_taken import lora, made

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Path:
    """Return a run whose result is a LoRA of rank 4 on queries and values."""
    values = {
        "name": "tickets",
        "model.path": str(tiny_model),
        "data.train": [str(write_rows(tmp_path / "rows.jsonl"))],
        "data.max_length": 64,
        "adapter.r": 4,
        "adapter.target_modules": ["q_proj", "v_proj"],
        "training.learning_rate": 3e-4,
    }
    folder = store.create_run(codec.override(Recipe(), values), tmp_path / "tickets")
    shapes = lora(read_facts(tiny_model), {"q_proj": 4, "v_proj": 4})
    made(folder / "adapter", shapes, r=4, lora_alpha=32)
    return folder


@pytest.fixture
def page(qtbot: Any, services: Services, run: Path) -> WizardPage:
    opened = open_page(qtbot, services)
    opened.open_with({"adapter": run})
    settle(qtbot, opened)
    opened.go_to("method")
    settle(qtbot, opened)
    return opened


def parts(page: WizardPage) -> tuple[MethodStep, BeginCard]:
    step = page.steps["method"]
    assert isinstance(step, MethodStep)
    return step, step.begin


def test_that_it_opens_with_base_and_settings_and_names_what_is_the_adapters(
    page: WizardPage, run: Path, tiny_model: Path
) -> None:
    recipe, (step, card) = page.state.recipe, parts(page)
    assert (recipe.model.path, recipe.training.learning_rate) == (str(tiny_model), 3e-4)
    assert (recipe.adapter.path, recipe.adapter.r) == (str(run / "adapter"), 4)
    assert card.isVisible() and card.name.text() == "Begins from the adapter tickets"
    assert "LoRA r4" in card.about.text() and card.told.isHidden()
    locked = {path for path, row in step.rows.items() if not row.editor.isEnabled()}
    assert {"adapter.r", "adapter.lora_alpha", "adapter.target_modules"} <= locked
    assert "adapter.lora_dropout" not in locked and step.rows["adapter.r"].hint.text() == TAKEN
    assert not step.painter.isEnabled() and step.rows["adapter.r"].back.isHidden()
    assert step.cards["qlora"].available and not step.cards["full"].available
    assert NOT_TAKEN in step.cards["dora"].figures.text()
    assert page.state.plans is not None
    trained = read_adapter_facts(run / "adapter").trainable_parameters
    assert page.state.plans.now.trainable_parameters == trained
    assert [check.state for check in begin_checks(recipe)] == ["ok"]


def test_that_a_preset_leaves_its_shape_and_removing_it_gives_the_fields_free(
    qtbot: Any, page: WizardPage
) -> None:
    step, card = parts(page)
    for preset in presets():
        page.state.apply_preset(preset)
    assert page.state.recipe.adapter.r == 4
    card.remove_button.click()
    settle(qtbot, page)
    assert page.state.recipe.adapter.path is None and page.state.recipe.adapter.r == 4
    assert step.rows["adapter.r"].editor.isEnabled() and step.painter.isEnabled()
    assert card.isHidden() and step.cards["full"].available
    page.set_level("all")
    assert card.isVisible() and card.choose_button.text() == "Begin from an adapter…"
    page.state.undo()
    settle(qtbot, page)
    assert page.state.recipe.adapter.path is not None and not step.rows["adapter.r"].editor.isEnabled()


def test_that_an_adapter_of_another_base_is_told_and_stops_the_next_step(
    qtbot: Any, page: WizardPage, tmp_path: Path
) -> None:
    step, card = parts(page)
    name = "model.layers.0.self_attn.q_proj"
    wide = {f"{name}.lora_A.weight": (2, 8), f"{name}.lora_B.weight": (8, 2)}
    made(tmp_path / "wide", wide, r=2)
    begin_from.take(page.state, str(tmp_path / "wide"))
    settle(qtbot, page)
    assert "does not fit" in card.told_words.text() and card.told.isVisible()
    assert step.rows["adapter.r"].hint.text() == UNKNOWN
    assert [problem.field for problem in page.state.problems("method")] == ["adapter.path"]
    page.go_on()
    assert page.step_name == "method" and page.focusWidget() is card.choose_button
    assert [check.state for check in begin_checks(page.state.recipe)] == ["bad"]


def test_that_the_menu_offers_what_fits_and_takes_what_is_chosen(
    qtbot: Any, page: WizardPage, run: Path, tmp_path: Path
) -> None:
    _, card = parts(page)
    card.remove_button.click()
    lines = [
        Line(run / "adapter", "tickets & more", "LoRA r4", ""),
        Line(tmp_path, "other", "OFT", "too wide"),
    ]
    menu = card.menu_of(lines)
    first, second, *rest = [action for action in menu.actions() if not action.isSeparator()]
    assert first.text() == "tickets && more · LoRA r4" and not second.isEnabled()
    assert [action.text() for action in rest] == ["Choose a folder…"]
    first.trigger()
    settle(qtbot, page)
    assert page.state.recipe.adapter.path == str(run / "adapter")
