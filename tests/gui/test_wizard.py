"""The way through the wizard on real folders: problems, drafts, review, and a run that starts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from app.drafts import Draft, draft_file, load_draft, save_draft
from app.pages.wizard.review_step import ReviewStep
from app.pages.wizard.wizard import WizardPage
from app.services import Services
from app.workers.run_queue import RunQueue
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs.store import load_recipe, state_of
from tests.gui.wizard_place import open_page, ready, settle, write_rows

# Qt without a screen says so when a window has a smallest size or a menu opens.
pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "tickets.jsonl")


@pytest.fixture
def page(qtbot: Any, services: Services) -> WizardPage:
    return open_page(qtbot, services)


# -- the way through ---------------------------------------------------------------------------------------
def test_that_next_goes_to_the_first_problem_and_says_it(qtbot, page, tiny_model, rows):
    ready(qtbot, page, tiny_model, rows)
    page.go_to("training")
    row = page.steps["training"].rows["training.learning_rate"]
    QTest.keyClick(row.editor.line, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClicks(row.editor.line, "-1")
    page.footer.next.click()
    assert page.step_name == "training"
    assert not row.fault_line.isHidden()
    assert "Learning rate" in page.footer.note.text()
    page.go_to("review")
    page.footer.next.click()
    assert page.step_name == "training"
    page.state.undo()
    assert page.state.unread == {}
    assert row.editor.line.text() == "2e-4"
    page.footer.next.click()
    assert page.step_name == "review"


def test_that_next_without_data_asks_for_it(qtbot, page, tiny_model):
    page.state.set_value("model.path", str(tiny_model))
    settle(qtbot, page)
    page.footer.next.click()
    assert page.step_name == "data"
    page.footer.next.click()
    assert page.step_name == "data"
    assert "Add a file" in page.footer.note.text()


def test_that_searching_opens_the_step_and_the_level_of_an_option(qtbot, page, tiny_model, rows):
    ready(qtbot, page, tiny_model, rows)
    page.bar.search.setParent(page)
    page.bar.search.setText("")
    page.bar.search.textEdited.emit("max_grad_norm")
    assert page.bar.search.list.count() >= 1
    page.bar.search.returnPressed.emit()
    assert page.step_name == "training"
    row = page.steps["training"].rows["training.max_grad_norm"]
    assert not row.isHidden()
    assert page.services.settings.value.form_level == "all"


def test_that_ctrl_z_takes_back_one_field_at_a_time(qtbot, page):
    page.state.set_value("adapter.r", 32)
    page.state.set_value("training.learning_rate", 1e-3)
    page.state.undo()
    assert page.state.recipe.training.learning_rate == 2e-4
    assert page.state.recipe.adapter.r == 32
    page.state.undo()
    assert (page.state.recipe.adapter.r, page.state.recipe.adapter.lora_alpha) == (16, 32)
    page.state.redo()
    assert page.state.recipe.adapter.r == 32


def test_that_a_draft_is_saved_a_second_after_the_last_key_and_restored(qtbot, services, page, rows):
    page.state.set_values({"data.train": [str(rows)], "adapter.r": 24})
    page.state.set_unread("training.learning_rate", "fast", "Use a number.")
    page.go_to("training")
    qtbot.waitUntil(lambda: not page.keeper.waiting, timeout=30_000)
    assert draft_file().is_file()
    again = open_page(qtbot, services)
    assert again.step_name == "training"
    assert again.state.recipe == page.state.recipe
    row = again.steps["training"].rows["training.learning_rate"]
    assert row.editor.line.text() == "fast"
    assert row.fault


def test_that_a_damaged_draft_costs_only_itself(qtbot, services):
    draft_file().write_text("recipe: [", encoding="utf-8")
    page = open_page(qtbot, services)
    assert page.state.recipe == Recipe()
    draft_file().write_text("recipe: {nothing: 1}", encoding="utf-8")
    assert open_page(qtbot, services).state.recipe == Recipe()


def test_that_a_draft_survives_the_way_through_its_file(home):
    recipe = codec.override(
        Recipe(), {"training.learning_rate": 5e-5, "data.system_prompt": "Be\nshort: yes"}
    )
    draft = Draft(recipe, "review", "quick", False, {"adapter.r": "x"})
    save_draft(draft)
    assert load_draft() == draft


# -- review and start --------------------------------------------------------------------------------------
def test_that_the_review_checks_what_it_says(qtbot, page, tiny_model, rows):
    ready(qtbot, page, tiny_model, rows)
    page.go_to("review")
    settle(qtbot, page)
    step = page.steps["review"]
    assert isinstance(step, ReviewStep)
    assert step.passed, [check for check in step.checks if check.state == "bad"]
    assert "54 examples" in step.sentence.text()
    rows.unlink()
    step.examine()
    settle(qtbot, page)
    assert any("is gone" in check.title for check in step.blocking)
    page.footer.next.click()
    assert page.step_name == "data"


def test_that_a_check_leads_to_its_field(qtbot, page, tiny_model, rows):
    ready(qtbot, page, tiny_model, rows)
    page.go_to("review")
    settle(qtbot, page)
    step = page.steps["review"]
    assert isinstance(step, ReviewStep)
    index = next(i for i, check in enumerate(step.checks) if check.field == "data.max_length")
    step.list.chosen.emit(index)
    assert page.step_name == "data"


def test_that_export_and_command_give_a_recipe_that_can_be_read(
    qtbot, page, tiny_model, rows, tmp_path, home
):
    ready(qtbot, page, tiny_model, rows)
    step = page.steps["review"]
    assert isinstance(step, ReviewStep)
    step.export_to(tmp_path / "mine.yaml")
    assert codec.load(tmp_path / "mine.yaml") == page.state.recipe
    step.copy_command()
    assert QApplication.clipboard().text() == f"python -m engine train {home / 'recipe.yaml'}"
    assert codec.load(home / "recipe.yaml") == page.state.recipe


def test_that_a_recipe_file_fills_the_form(qtbot, page, tmp_path, rows):
    (tmp_path / "mine.yaml").write_text(
        "data: {train: [tickets.jsonl]}\nadapter: {r: 4, lora_alpha: 9}\n", encoding="utf-8"
    )
    page.open_with({"recipe": tmp_path / "mine.yaml"})
    assert page.state.recipe.data.train == [str(rows)]
    assert page.state.recipe.adapter.r == 4
    assert not page.state.alpha_linked


def test_that_six_presses_lead_from_home_to_a_started_run(qtbot, services, home, tiny_model, rows):
    services.run_queue = RunQueue(services)
    save_draft(Draft(codec.override(Recipe(), {"model.path": str(tiny_model), "data.train": [str(rows)]})))
    gone: list[tuple[str, Any]] = []
    page = open_page(qtbot, services)  # the first press: New run
    page.navigate_requested.connect(lambda name, argument: gone.append((name, argument)))
    settle(qtbot, page)
    for step in ("data", "method", "training", "review"):
        page.footer.next.click()
        assert page.step_name == step
    settle(qtbot, page)
    wanted = page.state.recipe
    assert page.footer.next.text() == "Start training"
    page.primary_action()
    name, argument = gone[-1]
    try:
        assert name == "monitor"
        assert load_recipe(argument["run"]).adapter == wanted.adapter
        assert state_of(argument["run"]) in ("queued", "running", "crashed")
        assert not draft_file().exists()
        assert page.step_name == "model"
    finally:
        services.run_queue.cancel(argument["run"].name)
        services.run_queue.close()


def test_that_the_example_starts_with_two_presses_even_before_it_is_read(qtbot, services, home, tiny_model):
    shutil.copytree(tiny_model, home / "models" / "starter")
    services.run_queue = RunQueue(services)
    page = open_page(qtbot, services)
    gone: list[Any] = []
    page.navigate_requested.connect(lambda name, argument: gone.append((name, argument)))
    page.open_with({"example": True})  # the first press: Try the example
    assert page.step_name == "review"
    page.footer.next.click()  # the second, while the data is still being read
    assert gone == []
    qtbot.waitUntil(lambda: bool(gone), timeout=30_000)
    try:
        assert gone[0][0] == "monitor"
        assert load_recipe(gone[0][1]["run"]).data.train[0].endswith("support/train.jsonl")
    finally:
        services.run_queue.cancel(gone[0][1]["run"].name)
        services.run_queue.close()
