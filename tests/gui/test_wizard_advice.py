"""Advice that is applied and undone, its sources, and the review: checks that mend, exact figures, trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton

from app import i18n
from app.pages.wizard.plan_view import change_words
from app.pages.wizard.wizard import WizardPage
from app.services import Services
from app.widgets.advice_card import AdviceCard, SourceCard
from app.widgets.label import TextLabel
from app.window import MainWindow
from app.workers.run_queue import RunQueue
from engine.recipe import codec
from engine.runs import store
from tests.gui.plan_place import machine_with, page_with, point_at
from tests.gui.wizard_place import open_page, ready, settle, write_rows

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def page(qtbot: Any, services: Services, large_model: Path, tmp_path: Path) -> WizardPage:
    return page_with(qtbot, services, large_model, tmp_path, 24, "method")


# -- advice ------------------------------------------------------------------------------------------------
def card_about(page: WizardPage, path: str) -> AdviceCard:
    return next(c for c in page.plan_column.cards if c.advice.fix and path in c.advice.fix)


def test_that_what_makes_it_fit_is_one_press_and_one_press_back(qtbot, services, large_model, tmp_path):
    page = page_with(qtbot, services, large_model, tmp_path, 14)
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


def test_that_undo_is_offered_until_something_else_is_changed(qtbot, services, large_model, tmp_path):
    page = page_with(qtbot, services, large_model, tmp_path, 14)
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


def test_that_a_field_set_to_nothing_is_said_in_words(qtbot):
    assert change_words({"training.max_steps": None, "adapter.r": 8}) == "At most: none, Rank (r): 8"


def test_that_a_corrected_claim_is_shown_with_its_correction(qtbot, page):
    from app.pages.wizard.advice_view import source_of

    source = source_of("A3")
    card = SourceCard(source, page.plan_column.note)
    qtbot.addWidget(card)
    assert source.correction and source.tag == "ARTICLE"
    texts = [label.text() for label in card.findChildren(TextLabel)]
    assert source.correction in texts and source.figure in texts


def test_that_the_strip_opens_the_same_cards(qtbot, services, large_model, tmp_path):
    page = page_with(qtbot, services, large_model, tmp_path, 14)
    page.state.set_value("training.gradient_checkpointing", "none")
    settle(qtbot, page)
    opened = page.plan_strip.open_advice()
    cards = opened.findChildren(AdviceCard)
    assert [c.advice.title for c in cards] == [c.advice.title for c in page.plan_column.cards]
    QTest.mouseClick(cards[0].press, LEFT)
    assert page.plan_strip.undo.accessibleName() == f"Undo: Applied: {cards[0].advice.title}"


def test_that_a_check_mends_what_it_names(qtbot, services, large_model, tmp_path):
    page = page_with(qtbot, services, large_model, tmp_path, 14)
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


# -- more seeds --------------------------------------------------------------------------------------------
def test_that_two_seeds_more_are_three_runs_in_the_queue(qtbot, services, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("app.workers.run_queue.queue_runner.ensure_running", lambda: False)
    services.run_queue = RunQueue(services)
    services.run_queue.hold()
    window = MainWindow(services)
    qtbot.addWidget(window)
    services.hardware.machine = machine_with(24)
    told = []
    services.notify = lambda text, kind="info", action=None, hint="": told.append((text, hint))
    window.navigate("wizard", None)
    window.show()
    page = window.page
    ready(qtbot, page, tiny_model, write_rows(tmp_path / "tickets.jsonl"))
    page.go_to("review")
    settle(qtbot, page)
    recipe, seconds = page.state.recipe, page.state.plans.now.seconds
    line = next(check for check in page.steps["review"].checks if check.title == "One seed, 42")
    assert f"three runs take about {i18n.duration(3 * seconds)}" in line.detail
    press = next(b for b in page.findChildren(QPushButton) if b.text() == "Add two seeds")
    QTest.mouseClick(press, LEFT)
    waiting = [store.load_recipe(folder) for folder in services.run_queue.queued()]
    assert [each.training.seed for each in waiting] == [42, 43, 44]
    assert len({each.name for each in waiting}) == 3
    own = {"name": recipe.name, "training.seed": 42, "data.split_seed": None}
    assert all(codec.override(each, own) == recipe for each in waiting)
    assert window.page.watch.folder == services.run_queue.queued()[0]
    assert ("3 runs are in the queue.", f"About {i18n.duration(3 * seconds)} in all.") in told
    window.close()
    services.run_queue.close()
