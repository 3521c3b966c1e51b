"""The wizard on real folders: five steps, drafts, problems, and a run that starts."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from app.drafts import Draft, draft_file, load_draft, save_draft
from app.pages.wizard.data_step import DataStep
from app.pages.wizard.method_step import MethodStep
from app.pages.wizard.model_step import ModelStep, hub_id_of
from app.pages.wizard.review_step import ReviewStep
from app.pages.wizard.training_step import TrainingStep
from app.pages.wizard.wizard import WizardPage
from app.services import make_services
from app.workers.run_queue import RunQueue
from engine.hardware.devices import probe
from engine.plan.adapter_size import trainable_parameters
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs.store import load_recipe, state_of

# Qt without a screen says so when a window has a smallest size or a menu opens.
pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "tickets.jsonl"
    lines = [
        {"prompt": f"Where is parcel {n}?", "completion": f'{{"queue": "post", "number": {n}}}' * (1 + n % 3)}
        for n in range(60)
    ]
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def services(qapp: QApplication, home: Path) -> Iterator[Any]:
    made = make_services(qapp, "dark")
    made.hardware.machine = probe()
    yield made
    made.background.finish()


@pytest.fixture
def page(qtbot: Any, services: Any) -> WizardPage:
    return open_page(qtbot, services)


def open_page(qtbot: Any, services: Any) -> WizardPage:
    page = WizardPage(services)
    qtbot.addWidget(page)
    page.resize(1240, 844)
    page.show()
    page.shown()
    return page


def settle(qtbot: Any, page: WizardPage) -> None:
    def calm() -> bool:
        timers = [timer.isActive() for timer in page.state._timers.values()]
        return page.settled() and not page.services.background.busy and not any(timers)

    qtbot.waitUntil(calm, timeout=20_000)
    qtbot.wait(10)
    qtbot.waitUntil(calm, timeout=20_000)


def ready(qtbot: Any, page: WizardPage, model: Path, data: Path) -> None:
    page.state.set_values({"model.path": str(model), "data.train": [str(data)], "data.max_length": 64})
    settle(qtbot, page)


# -- model -------------------------------------------------------------------------------------------------
def test_that_models_on_disk_are_listed_with_what_they_need(qtbot, services, home, tiny_model):
    shutil.copytree(tiny_model, home / "models" / "tiny")
    page = open_page(qtbot, services)
    step = page.steps["model"]
    assert isinstance(step, ModelStep)
    qtbot.waitUntil(lambda: len(step.list.rows) == 1, timeout=10_000)
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
    page.open_with({"model": broken})
    settle(qtbot, page)
    assert page.state.model_error.code.startswith("MODEL")
    assert "safetensors" in page.state.model_error.message
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
    assert step._downloading == ""


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
    trained = "".join(piece for piece, learnt in view.segments(0) if learnt)
    assert '"queue": "post"' in trained and "Where is" not in trained
    assert set(step.mapping.combos) == {"prompt", "completion"}
    assert "54" in step.figures.split.accessibleDescription()
    QTest.keyClick(step.panel.example, Qt.Key.Key_PageDown)
    assert "Where is parcel 1?" in step.panel.example.toPlainText()
    QTest.keyClick(step.panel.example, Qt.Key.Key_PageUp)
    QTest.keyClick(step.panel.example, Qt.Key.Key_PageUp)
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


def test_that_a_broken_row_is_named_and_a_copy_without_it_can_be_used(qtbot, page, tiny_model, rows):
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
    step.mend()
    settle(qtbot, page)
    assert page.state.problems("data") == []
    assert len(page.state.data.whole.rows) == 59
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
    step.mapping.role_chosen.emit("alpha", "prompt")
    settle(qtbot, page)
    step.mapping.role_chosen.emit("beta", "completion")
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
    assert "would be cut" in step.lengths.words.text()


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
        assert f"{expected:,}" in step.targets.hint.text()
    step.bars.layer_toggled.emit(0)
    assert page.state.recipe.adapter.layers_to_transform is None


def test_that_the_method_cards_choose_and_full_says_that_it_comes_later(qtbot, page, tiny_model, rows):
    ready(qtbot, page, tiny_model, rows)
    page.go_to("method")
    step = page.steps["method"]
    assert isinstance(step, MethodStep)
    cards = step.options.cards
    QTest.mouseClick(cards["qlora"], Qt.MouseButton.LeftButton)
    assert page.state.recipe.model.load_in_4bit
    QTest.mouseClick(cards["full"], Qt.MouseButton.LeftButton)
    assert page.state.recipe.adapter.method == "lora"
    assert "later version" in cards["full"].figures.text()
    QTest.mouseClick(cards["lora"], Qt.MouseButton.LeftButton)
    assert not page.state.recipe.model.load_in_4bit


def test_that_the_curve_is_the_engines_and_can_be_pulled(qtbot, page, tiny_model, rows):
    from engine.recipe.schedules import learning_rate_at

    ready(qtbot, page, tiny_model, rows)
    page.go_to("training")
    step = page.steps["training"]
    assert isinstance(step, TrainingStep)
    assert step.total_steps == 7
    for number, rate in step.schedule._points:
        assert rate == learning_rate_at(number, 7, 2e-4, "cosine", 0.03)
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
    qtbot.waitUntil(lambda: draft_file().is_file(), timeout=4000)
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


def test_that_a_key_is_answered_within_50_ms(qtbot, page, tiny_model, rows):
    ready(qtbot, page, tiny_model, rows)
    page.set_level("all")
    page.go_to("training")
    line = page.steps["training"].rows["training.learning_rate"].editor.line
    times = []
    for key in "000123":
        began = time.perf_counter()
        QTest.keyClick(line, key)
        QApplication.processEvents()
        times.append(time.perf_counter() - began)
        qtbot.wait(30)
    assert sorted(times)[len(times) // 2] < 0.05, times


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
