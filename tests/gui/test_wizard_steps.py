"""The wizard's steps on real folders: models, data, method, training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.pages.wizard.data_step import DataStep
from app.pages.wizard.method_step import MethodStep
from app.pages.wizard.model_step import ModelStep, hub_id_of
from app.pages.wizard.training_step import TrainingStep
from app.pages.wizard.wizard import WizardPage
from app.services import Services
from app.widgets.rank_painter import Spot
from engine.plan.adapter_size import trainable_parameters
from tests.gui.drawn import give_keyboard
from tests.gui.wizard_place import open_page, ready, settle, write_rows

# Qt without a screen says so when a window has a smallest size or a menu opens.
pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "tickets.jsonl")


@pytest.fixture
def page(qtbot: Any, services: Services) -> WizardPage:
    return open_page(qtbot, services)


# -- model -------------------------------------------------------------------------------------------------
def test_that_models_on_disk_are_listed_with_what_they_need(qtbot, services, home, tiny_model):
    shutil.copytree(tiny_model, home / "models" / "tiny")
    page = open_page(qtbot, services)
    step = page.steps["model"]
    assert isinstance(step, ModelStep)
    qtbot.waitUntil(lambda: len(step.list.rows) == 1, timeout=30_000)
    row = step.list.rows[0]
    assert row.title.text() == "tiny"
    assert "parameters" in row.sentence.text()
    QTest.mouseClick(row, Qt.MouseButton.LeftButton)
    settle(qtbot, page)
    assert page.state.recipe.model.path == str(home / "models" / "tiny")
    assert row.chosen
    assert page.state.facts.layers == 2
    assert "2 layers" in step.about.text()
    step.search.setText("no such model")
    assert step.list.shown_rows == []
    assert not step.none.isHidden()


def test_that_a_missing_starter_is_said_with_the_press_that_brings_it(qtbot, page):
    settle(qtbot, page)
    step = page.steps["model"]
    assert isinstance(step, ModelStep)
    assert page.state.model_error.code == "HUB-01"
    assert not step.error.isHidden()
    assert "Get the starter model" in [words for words, _ in step._repairs(page.state.model_error)]


def test_that_a_broken_folder_names_the_missing_file(qtbot, page, tiny_model, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    (broken / "model.safetensors").unlink()
    named = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (broken / "model.safetensors.index.json").write_text(json.dumps(named), encoding="utf-8")
    page.open_with({"model": broken})
    settle(qtbot, page)
    assert page.state.model_error.code.startswith("MODEL")
    assert "model-00001-of-00002.safetensors is missing" in page.state.model_error.message
    assert page.state.problems("model")
    page.go_on()
    assert page.step_name == "model"
    assert page.footer.note.token == "bad"


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("https://huggingface.co/Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("huggingface.co/Qwen/Qwen2.5-0.5B/tree/main", "Qwen/Qwen2.5-0.5B"),
        ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B"),
        ("llama", ""),
        ("/tmp", ""),
        ("", ""),
    ],
)
def test_that_hub_links_and_ids_are_recognised(text, identity):
    assert hub_id_of(text) == identity


def test_that_nothing_is_downloaded_before_a_press_and_offline_is_said(qtbot, page):
    step = page.steps["model"]
    assert isinstance(step, ModelStep)
    step.search.setText("https://huggingface.co/Qwen/Qwen2.5-0.5B")
    assert not step.found.isHidden()
    assert "offline" in step.found.accessibleName()
    assert step.fetch.what == ""


# -- data --------------------------------------------------------------------------------------------------
def test_that_data_is_read_counted_and_shown_as_the_model_gets_it(qtbot, page, tiny_model, rows):
    ready(qtbot, page, tiny_model, rows)
    page.go_to("data")
    step, view = page.steps["data"], page.state.data
    assert isinstance(step, DataStep)
    assert view.format == "prompt_completion"
    assert (view.train_examples, view.validation_examples) == (54, 6)
    text = step.panel.example.toPlainText()
    assert "Where is parcel 0?" in text
    trained = "".join(piece for piece, learnt in view.example(0).segments if learnt)
    assert '"queue": "post"' in trained and "Where is" not in trained
    assert set(step.columns_card.mapping.combos) == {"prompt", "completion"}
    assert "54" in step.figures.split.accessibleDescription()
    give_keyboard(step.panel.example, qtbot)
    QTest.keyClick(step.panel.example, Qt.Key.Key_PageDown)
    settle(qtbot, page)
    assert "Where is parcel 1?" in step.panel.example.toPlainText()
    QTest.keyClick(step.panel.example, Qt.Key.Key_PageUp)
    QTest.keyClick(step.panel.example, Qt.Key.Key_PageUp)
    settle(qtbot, page)
    assert "Where is parcel 59?" in step.panel.example.toPlainText()


def test_that_the_counts_are_those_of_the_engine(qtbot, page, tiny_model, rows):
    from engine.data.dataset import prepare

    ready(qtbot, page, tiny_model, rows)
    for change in ({"data.max_length": 40}, {"data.too_long": "drop"}, {"data.validation_split": 0.2}):
        page.state.set_values(change)
        settle(qtbot, page)
        recipe, view = page.state.recipe, page.state.data
        real = prepare(recipe.data, tiny_model, recipe.training.seed)
        assert view.train_examples == len(real.train)
        assert view.validation_examples == len(real.validation)
        assert view.total_tokens == sum(len(example.ids) for example in real.train)
        assert view.supervised_tokens == real.report.train_supervised_tokens


def test_d15_that_a_broken_row_is_named_and_left_out_by_one_press(qtbot, page, tiny_model, rows):
    lines = rows.read_text(encoding="utf-8").splitlines()
    lines[4] = '{"prompt": "half a row", "completion": '
    rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ready(qtbot, page, tiny_model, rows)
    page.go_to("data")
    step = page.steps["data"]
    assert isinstance(step, DataStep)
    assert page.state.data.refused == 1
    assert page.state.data.problems[0].line == 5
    assert page.state.problems("data")
    page.go_on()
    assert page.step_name == "data"
    assert page.footer.note.token == "bad"
    QTest.mouseClick(step.side.checks.list.buttons["bad_rows"], Qt.MouseButton.LeftButton)
    assert page.state.recipe.data.bad_rows == "leave_out"
    settle(qtbot, page)
    assert page.state.problems("data") == []
    assert page.state.data.rows == 59
    assert rows.read_text(encoding="utf-8").count("half a row") == 1


def test_that_unknown_columns_open_the_mapping_and_a_choice_repairs_it(qtbot, page, tiny_model, tmp_path):
    file = tmp_path / "odd.csv"
    file.write_text(
        "alpha,beta,gamma\n" + "".join(f"ask {n},say {n},{n}\n" for n in range(30)), encoding="utf-8"
    )
    ready(qtbot, page, tiny_model, file)
    page.go_to("data")
    step = page.steps["data"]
    assert isinstance(step, DataStep)
    assert page.state.data_error.code == "DATA-04"
    assert not step.columns_card.isHidden()
    step.columns_card.mapping.role_chosen.emit("alpha", "prompt")
    settle(qtbot, page)
    step.columns_card.mapping.role_chosen.emit("beta", "completion")
    settle(qtbot, page)
    assert page.state.recipe.data.columns == {"prompt": "alpha", "completion": "beta"}
    assert page.state.data_error is None
    assert page.state.data.train_examples == 27


def test_that_a_missing_file_is_said_where_it_is_chosen(qtbot, page, tiny_model, tmp_path):
    ready(qtbot, page, tiny_model, tmp_path / "gone.jsonl")
    page.go_to("data")
    step = page.steps["data"]
    assert isinstance(step, DataStep)
    assert page.state.data_error is not None
    assert not step.error.isHidden()


def test_that_pulling_the_cut_tells_what_is_cut_and_changes_the_recipe(qtbot, page, tiny_model, rows):
    ready(qtbot, page, tiny_model, rows)
    page.go_to("data")
    step = page.steps["data"]
    assert isinstance(step, DataStep)
    step.lengths.histogram.setFocus()
    before = page.state.recipe.data.max_length
    QTest.keyClick(step.lengths.histogram, Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    assert page.state.recipe.data.max_length == max(8, before - 80)
    settle(qtbot, page)
    assert page.state.data.truncated == 60 or page.state.data_error is not None
    assert "60 rows are cut at 8 tokens" in step.lengths.words.text()


def test_that_the_bundled_example_fills_the_data(qtbot, page, tiny_model):
    page.state.set_value("model.path", str(tiny_model))
    page.open_with({"example": "support", "step": "data"})
    settle(qtbot, page)
    assert page.step_name == "data"
    assert page.state.data.format == "messages"
    assert page.state.data.train_examples > 300
    assert page.state.problems("data") == []


# -- method and training -----------------------------------------------------------------------------------
def test_that_alpha_follows_the_rank_until_it_is_unlinked(qtbot, page, tiny_model, rows):
    ready(qtbot, page, tiny_model, rows)
    page.go_to("method")
    step = page.steps["method"]
    assert isinstance(step, MethodStep)
    step.rows["adapter.r"].editor.slider.setValue(7)
    assert (page.state.recipe.adapter.r, page.state.recipe.adapter.lora_alpha) == (32, 64)
    step.link.click()
    step.rows["adapter.r"].editor.slider.setValue(3)
    assert (page.state.recipe.adapter.r, page.state.recipe.adapter.lora_alpha) == (8, 64)
    step.link.click()
    assert page.state.recipe.adapter.lora_alpha == 16


def test_that_trainable_parameters_are_exact_and_follow_every_choice(qtbot, page, tiny_model, rows):
    ready(qtbot, page, tiny_model, rows)
    page.go_to("method")
    step = page.steps["method"]
    assert isinstance(step, MethodStep)
    for change in (
        {"adapter.r": 4},
        {"adapter.target_modules": ["q_proj", "v_proj"]},
        {"adapter.layers_to_transform": [1]},
    ):
        page.state.set_values(change)
        settle(qtbot, page)
        expected = trainable_parameters(page.state.facts, page.state.recipe.adapter)
        assert page.plan_column.trainable.number.text() == f"{expected:,}"
        assert f"{expected:,}" in step.modules.words.text()
    step.painter.painter.paint(Spot(-1, 0))
    assert page.state.recipe.adapter.layers_to_transform is None


def test_that_the_curve_is_the_engines_and_can_be_pulled(qtbot, page, tiny_model, rows):
    from engine.recipe.schedules import learning_rate_at

    ready(qtbot, page, tiny_model, rows)
    page.go_to("training")
    step = page.steps["training"]
    assert isinstance(step, TrainingStep)
    assert step.total_steps == 7
    for number, rate in step.schedule._points:
        assert rate == learning_rate_at(number, 7, page.state.recipe.training)
    step.schedule.warmup_pulled.emit(0.4)
    assert page.state.recipe.training.warmup_steps == 0.4
    assert step.schedule._warm == 3


def test_that_a_quick_trial_preset_ends_after_sixty_steps(qtbot, page, tiny_model, rows):
    from engine.recipe.presets import presets

    ready(qtbot, page, tiny_model, rows)
    quick = next(preset for preset in presets() if preset.name == "quick")
    page.bar.preset_chosen.emit(quick)
    assert (page.state.recipe.training.max_steps, page.state.recipe.adapter.r) == (60, 8)
    assert page.state.recipe.data.train == [str(rows)]
    assert page.state.base("adapter.r") == 8
    assert page.state.undo()
    assert page.state.recipe.adapter.r == 16


def test_that_a_newer_choice_ends_an_older_reading(qtbot, page, tiny_model, tmp_path, rows):
    large = tmp_path / "large.jsonl"
    large.write_text(rows.read_text(encoding="utf-8") * 200, encoding="utf-8")
    with qtbot.waitSignal(page.state.data_read, timeout=30_000):
        page.state.set_values({"model.path": str(tiny_model), "data.train": [str(large)]})
    page.state.set_value("data.train", [str(rows)])
    settle(qtbot, page)
    assert page.state.data_error is None
    assert page.state.data.rows == 60


def test_that_too_few_rows_to_measure_on_are_said(qtbot, page, tiny_model, tmp_path):
    few = tmp_path / "few.csv"
    few.write_text("prompt,completion\n" + "".join(f"ask {n},say {n}\n" for n in range(9)), encoding="utf-8")
    ready(qtbot, page, tiny_model, few)
    assert page.state.data.validation_examples == 0
    assert any(check.id == "few_rows" for check in page.state.data.checks)
    assert page.state.problems("data") == []


def test_that_a_column_inside_a_column_is_shown_with_its_role(qtbot, page, tiny_model, tmp_path):
    nested = tmp_path / "nested.jsonl"
    lines = [{"instruction": f"add {n}", "instances": [{"input": "1", "output": str(n)}]} for n in range(30)]
    nested.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    ready(qtbot, page, tiny_model, nested)
    page.go_to("data")
    step = page.steps["data"]
    assert isinstance(step, DataStep)
    assert step.columns_card.mapping.combos["instances"].currentData() == "output"


def test_that_modules_the_model_lacks_are_said_before_the_start(qtbot, page, tiny_model, rows):
    ready(qtbot, page, tiny_model, rows)
    page.state.set_value("adapter.target_modules", ["c_attn"])
    settle(qtbot, page)
    assert page.state.problems("method")[0].field == "adapter.target_modules"
    page.go_to("method")
    page.go_on()
    assert page.step_name == "method"
    assert page.footer.note.token == "bad"
    step = page.steps["method"]
    assert isinstance(step, MethodStep)
    step.modules.strays["c_attn"].click()
    assert page.state.recipe.adapter.target_modules == "all-linear"
    settle(qtbot, page)
    assert page.state.problems("method") == []
