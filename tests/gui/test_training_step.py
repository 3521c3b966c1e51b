"""The training step: every schedule drawn as it will be, and the fields that matter to what is chosen."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.pages.wizard import review_checks
from app.pages.wizard.training_step import SHAPES, TrainingStep
from app.pages.wizard.training_words import OPTIMIZER_WORDS, SCHEDULE_WORDS, rate_line
from app.pages.wizard.wizard import WizardPage
from app.services import Services
from engine.hardware.devices import Machine
from engine.plan.optimizers import PAGED, state_bytes
from engine.recipe.fields import field_spec
from engine.recipe.schedules import SHAPE_FIELDS, learning_rate_at, warmup_of
from engine.recipe.training_options import TrainingOptions
from tests.gui.wizard_place import open_page, ready, settle, write_rows

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")
KINDS = field_spec("training.lr_scheduler_type").choices
OPTIMIZERS = field_spec("training.optim").choices


@pytest.fixture
def page(qtbot: Any, services: Services) -> WizardPage:
    return open_page(qtbot, services)


@pytest.fixture
def step(page: WizardPage) -> TrainingStep:
    page.go_to("training")
    found = page.steps["training"]
    assert isinstance(found, TrainingStep)
    return found


def shown(step: TrainingStep) -> set[str]:
    return {path for path, row in step.rows.items() if not row.isHidden()}


def test_that_every_schedule_is_drawn_as_it_will_be(qtbot, page, step, tiny_model, tmp_path):
    ready(qtbot, page, tiny_model, write_rows(tmp_path / "rows.jsonl"))
    page.state.set_values({"training.num_train_epochs": 6, "training.warmup_steps": 0.2})
    settle(qtbot, page)
    total = step.total_steps
    assert total == 42
    for kind in KINDS:
        page.state.set_value("training.lr_scheduler_type", kind)
        training = page.state.recipe.training
        drawn = dict(step.schedule._points)
        assert drawn == {s: learning_rate_at(s, total, training) for s in range(1, total + 1)}
        assert step.schedule._warm == warmup_of(training, total)
        assert step.schedule._pullable is (kind != "constant")
        assert SCHEDULE_WORDS[kind] in step.rows["training.lr_scheduler_type"].hint.text()


@pytest.mark.parametrize("kind", KINDS)
def test_that_corners_of_a_long_run_are_on_the_line(kind):
    options = TrainingOptions(lr_scheduler_type=kind, warmup_steps=3, num_decay_steps=7, num_cycles=3)
    line, total = rate_line(options, 5000, 240), 5000
    assert len(line) < 300
    highest = max(learning_rate_at(step, total, options) for step in range(1, total + 1))
    assert max(rate for _, rate in line) == highest
    ends = (line[0], line[-1])
    assert ends == tuple((step, learning_rate_at(step, total, options)) for step in (1, total))


def test_that_the_fields_of_a_shape_are_shown_where_it_uses_them(step, page):
    for level in ("simple", "all"):
        step.set_level(level)
        for kind in KINDS:
            page.state.set_value("training.lr_scheduler_type", kind)
            wanted = {f"training.{name}" for name in SHAPE_FIELDS.get(kind, ())}
            assert shown(step) & set(SHAPES) == wanted
            assert ("training.warmup_steps" in shown(step)) is (level == "all" and kind != "constant")


def test_that_the_fields_of_an_optimizer_are_shown_where_it_uses_them(step, page):
    step.set_level("all")
    adam = {"training.adam_beta1", "training.adam_beta2", "training.adam_epsilon"}
    wanted = {
        "adamw": adam,
        "lion": adam - {"training.adam_epsilon"},
        "sgd": {"training.momentum"},
        "muon": adam | {"training.momentum"},
        "adafactor": set(),
    }
    for name, fields in wanted.items():
        page.state.set_value("training.optim", name)
        assert shown(step) & (adam | {"training.momentum"}) == fields, name
    page.state.set_value("training.optim", "lion")
    assert step.rows["training.adam_beta2"].editor.line.placeholderText() == "0.99"
    step.set_level("simple")
    assert "training.optim" not in shown(step)


def test_that_lora_plus_is_offered_where_there_is_a_b(step, page):
    step.set_level("all")
    assert "training.loraplus_lr_ratio" in shown(step)
    page.state.set_value("training.loraplus_lr_ratio", 16.0)
    assert "LoRA+ gives B 16 times this rate." in step.rows["training.lr_scheduler_type"].hint.text()
    page.state.set_value("training.loraplus_lr_ratio", None)
    page.state.set_value("adapter.method", "full")
    assert "training.loraplus_lr_ratio" not in shown(step)


def test_that_each_optimizer_says_what_it_keeps(qtbot, page, step, tiny_model, tmp_path):
    ready(qtbot, page, tiny_model, write_rows(tmp_path / "rows.jsonl"))
    trained = page.state.plans.now.trainable_parameters
    for name in OPTIMIZERS:
        page.state.set_value("training.optim", name)
        settle(qtbot, page)
        words = step.rows["training.optim"].hint.text()
        assert words.startswith(OPTIMIZER_WORDS[name]) and "Here it keeps" in words
        assert page.state.plans.now.terms["optimizer"] == state_bytes(page.state.recipe, trained)


def test_that_the_list_of_schedules_shows_a_line_each_and_compares(qtbot, step, page):
    combo = step.kinds.combo
    assert all(not combo.itemIcon(index).isNull() for index in range(combo.count()))
    assert combo.count() == len(KINDS)
    step.kinds.looked_at.emit(("polynomial",))
    options = page.state.recipe.training.model_copy(update={"lr_scheduler_type": "polynomial"})
    assert dict(step.schedule._other)[200] == learning_rate_at(200, 200, options)
    step.kinds.looked_at.emit(("cosine",))
    assert step.schedule._other == []
    step.kinds.looked_at.emit(("polynomial",))
    step.kinds.looked_at.emit(None)
    assert step.schedule._other == []


def test_that_the_keyboard_chooses_a_schedule_and_moves_the_warm_up(qtbot, step, page):
    step.kinds.combo.setFocus()
    QTest.keyClick(step.kinds.combo, Qt.Key.Key_Down)
    assert page.state.recipe.training.lr_scheduler_type == "linear"
    before = page.state.recipe.training.warmup_steps
    step.schedule.setFocus()
    QTest.keyClick(step.schedule, Qt.Key.Key_Right)
    assert page.state.recipe.training.warmup_steps > before


def test_that_a_field_which_is_not_used_leads_to_what_would_use_it(step, page):
    step.set_level("all")
    assert step.focus_field("training.power")
    assert step.rows["training.power"].isHidden()
    assert step.rows["training.lr_scheduler_type"].editor.hasFocus() or step.kinds.combo.hasFocus()
    assert step.focus_field("training.momentum")
    assert step.rows["training.momentum"].isHidden()


def test_that_an_optimizer_that_cannot_run_here_is_told_with_its_press(step, page, monkeypatch, tmp_path):
    machine = Machine("cpu", 2, 2, 16 * 10**9, 15 * 10**9, ())
    monkeypatch.setattr(review_checks, "probe", lambda: machine)
    page.services.hardware.machine = machine
    page.state.set_value("data.train", [str(write_rows(tmp_path / "rows.jsonl"))])
    for name, other in PAGED.items():
        page.state.set_value("training.optim", name)
        found = next(advice for advice in step.advice() if advice.kind == "bad")
        assert "GPU" in found.text and found.action is not None
        recipe = page.state.recipe
        checks = review_checks.examine(recipe, None, None, {})
        assert any(check.state == review_checks.BAD and check.field == "training.optim" for check in checks)
        found.action[1]()
        assert page.state.recipe.training.optim == other
        assert not any(advice.kind == "bad" for advice in step.advice())


def test_that_a_field_that_does_not_go_with_the_rest_is_told_with_its_press(step, page):
    page.state.set_values({"adapter.method": "ia3", "training.optim": "muon"})
    (told,) = [advice for advice in step.advice() if advice.kind == "bad"]
    assert "Muon steps matrices" in told.text and told.action is not None
    told.action[1]()
    assert page.state.recipe.training.optim == "adamw"
    assert not [advice for advice in step.advice() if advice.kind == "bad"]
