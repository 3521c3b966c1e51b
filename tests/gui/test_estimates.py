"""What runs measured, as a person sees it: the plots of the settings, and the trial beside the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from app.pages.preferences_estimates import EstimatesSection
from app.pages.wizard.probe_card import ProbeCard
from app.services import Services
from app.widgets.agreement_plot import AgreementPlot, Dot, ticks
from engine import durable
from engine.hardware.devices import probe as look
from engine.plan.corrected import device_label
from engine.plan.ledger import Entry, Ledger, ledger_file
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs.probe import Outcome
from tests.gui.drawn import nameless_controls, wait_until_nothing_is_cut


def entry(number: int, ratio: float = 1.05, **changes: Any) -> Entry:
    planned = 1e9 * (1 + number / 4)
    values: dict[str, Any] = {
        "time": 1.79e9,
        "run": f"run-{number}",
        "device": device_label(look()),
        "method": "lora",
        "precision": "fp32",
        "predicted_memory_bytes": planned,
        "measured_memory_bytes": planned * ratio,
        "predicted_seconds_per_token": 0.01,
        "measured_seconds_per_token": 0.02 * ratio,
        "steps": 40,
        "name": f"tickets {number}",
        "model": "starter",
    }
    return Entry(**{**values, **changes})


def keep(*entries: Entry) -> None:
    durable.write_json(ledger_file(), Ledger(entries).as_dict())


def section(services: Services, qtbot, width: int = 900) -> EstimatesSection:
    services.hardware.machine = look()
    made = EstimatesSection(services)
    qtbot.addWidget(made)
    made.resize(width, 600)
    made.show()
    made.refresh()
    qtbot.waitUntil(lambda: not services.background.busy, timeout=30_000)
    return made


def test_that_without_runs_it_says_what_will_be_here(services: Services, qtbot) -> None:
    made = section(services, qtbot)
    assert made.nothing.isVisible() and "20 steps" in made.nothing.text()
    assert not made.memory.isVisible() and not made.legend.isVisible()


def test_that_each_run_is_a_dot_that_says_which_it_is(services: Services, qtbot) -> None:
    keep(*(entry(i) for i in range(5)), entry(5, 2.0), entry(6, source="probe"))
    made = section(services, qtbot)
    assert made.memory.isVisible() and not made.nothing.isVisible()
    assert "7 runs: 5\u00a0% more memory than the formula" in made.memory_words.text()
    assert "6 of 7 lie within" in made.memory_words.text()
    assert "slower than the formula" in made.speed_words.text()
    assert made.memory.accessibleDescription() == made.memory_words.text()
    for _ in range(2):
        QTest.keyClick(made.memory, Qt.Key.Key_Right)
    assert made.memory.chosen is not None
    assert "tickets 1" in made.memory.chosen.words
    assert "1.31 GB measured, 1.25 GB planned (+5\u00a0%)" in made.memory.chosen.words
    assert "tickets 1" in made.memory.accessibleName()
    assert made.memory_words.text() == made.memory.chosen.words
    QTest.keyClick(made.memory, Qt.Key.Key_End)
    assert made.memory.chosen.tried and "trial" in made.memory.chosen.words


def test_that_the_pointer_finds_a_run(services: Services, qtbot) -> None:
    keep(*(entry(i) for i in range(4)))
    made = section(services, qtbot)
    plot = made.memory
    QTest.keyClick(plot, Qt.Key.Key_Home)
    first = plot.chosen
    assert first is not None
    point(plot, QPointF(1, 1))
    assert plot.chosen is None and "4 runs" in made.memory_words.text()
    point(plot, plot.place_of(first) + QPointF(3, 3))
    assert plot.chosen == first


def test_that_runs_of_another_device_and_a_damaged_file_are_left_out(services: Services, qtbot) -> None:
    keep(entry(0, device="RTX 4090"))
    assert section(services, qtbot).nothing.isVisible()
    ledger_file().write_text("{")
    made = section(services, qtbot)
    assert made.nothing.isVisible() and "cannot be read" in made.damage.text() and made.damage.isVisible()


@pytest.mark.parametrize("width", [460, 980])
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_that_nothing_is_cut_and_each_control_has_a_name(
    services: Services, qtbot, width: int, theme: str
) -> None:
    services.theme.set_theme(theme)
    keep(*(entry(i) for i in range(5)))
    made = section(services, qtbot, width)
    assert not nameless_controls(made)
    wait_until_nothing_is_cut(made, qtbot)
    below = made.speed.mapTo(made, QPoint(0, 0)).y() > made.memory.mapTo(made, QPoint(0, 0)).y()
    assert below == (width < 620)


def test_that_the_axes_have_round_numbers_and_few() -> None:
    assert ticks(1.5, 24.0, 6) == [2.0, 5.0, 10.0, 20.0]
    assert ticks(0.001, 1000.0, 4) == [0.001, 0.1, 10.0, 1000.0]


def test_that_dots_lie_where_both_agree_on_the_diagonal(qtbot, services: Services) -> None:
    plot = AgreementPlot("Memory", "GB", str)
    qtbot.addWidget(plot)
    plot.resize(400, 280)
    dots = [Dot(2.0, 2.0, "a"), Dot(8.0, 8.0, "b"), Dot(4.0, 6.0, "c")]
    plot.show_dots(dots, 1.0, 0.9, 1.1)
    low, middle, high = (plot.place_of(dot) for dot in (dots[0], Dot(4.0, 4.0, ""), dots[1]))
    assert middle.x() == pytest.approx((low.x() + high.x()) / 2)
    assert middle.y() == pytest.approx((low.y() + high.y()) / 2)
    assert plot.place_of(dots[2]).y() < middle.y()


def point(widget: QWidget, at: QPointF) -> None:
    """Move the pointer to a place of a widget."""
    none = Qt.MouseButton.NoButton
    event = QMouseEvent(
        QEvent.Type.MouseMove, at, widget.mapToGlobal(at), none, none, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(widget, event)


def recipe(tiny_model: Path, tmp_path: Path, **changes: Any) -> Recipe:
    rows = tmp_path / "rows.jsonl"
    messages = [{"role": "user", "content": "What says the cat?"}, {"role": "assistant", "content": "Meow."}]
    rows.write_text("\n".join(json.dumps({"messages": messages}) for _ in range(60)) + "\n")
    values = {"model.path": str(tiny_model), "data.train": [str(rows)], "data.validation_split": 0.1}
    return codec.override(Recipe(), values | changes)


def card(services: Services, qtbot) -> ProbeCard:
    made = ProbeCard(services)
    qtbot.addWidget(made)
    made.resize(560, 300)
    made.show()
    return made


def test_that_a_trial_shows_measured_beside_planned(
    services: Services, qtbot, tiny_model: Path, tmp_path: Path
) -> None:
    made = card(services, qtbot)
    assert not made.try_button.isEnabled()
    made.set_recipe(recipe(tiny_model, tmp_path))
    with qtbot.waitSignal(made.measured, timeout=120_000):
        QTest.mouseClick(made.try_button, Qt.MouseButton.LeftButton)
        assert made.busy and made.cancel_button.isVisible() and not made.try_button.isEnabled()
    assert not made.busy and made.try_button.isEnabled() and not made.meter.isVisible()
    words = [label.accessibleName() for label in made.findChildren(type(made.verdict)) if label.isVisible()]
    assert any(name.startswith("Memory of the run, Measured:") for name in words)
    assert "The plan is corrected by both" in made.verdict.text()
    assert len(Ledger.read().entries) == 1
    assert not nameless_controls(made)


def test_that_a_trial_can_be_cancelled(services: Services, qtbot, tiny_model: Path, tmp_path: Path) -> None:
    made = card(services, qtbot)
    made.set_recipe(recipe(tiny_model, tmp_path))
    made.try_it()
    QTest.mouseClick(made.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not made.busy, timeout=60_000)
    assert "Cancelled" in made.verdict.text() and made.try_button.isEnabled()


def test_that_a_trial_that_cannot_be_had_says_why(
    services: Services, qtbot, tiny_model: Path, tmp_path: Path
) -> None:
    made = card(services, qtbot)
    made.set_recipe(recipe(tiny_model, tmp_path, **{"adapter.method": "full"}))
    QTest.mouseClick(made.compare_button, Qt.MouseButton.LeftButton)
    assert not made.busy and "cannot be trained themselves" in made.verdict.text()


def test_that_two_trials_stand_side_by_side_with_a_verdict(
    services: Services, qtbot, tiny_model: Path, tmp_path: Path
) -> None:
    services.hardware.machine = look()
    made = card(services, qtbot)
    made.set_recipe(recipe(tiny_model, tmp_path))
    with qtbot.waitSignal(made.measured, timeout=240_000):
        QTest.mouseClick(made.compare_button, Qt.MouseButton.LeftButton)
    assert made.verdict.text().startswith(("Take LoRA", "Take QLoRA"))
    names = [label.accessibleName() for label in made.findChildren(type(made.verdict))]
    for head in ("LoRA", "QLoRA"):
        assert any(name.startswith(f"Loss of the last steps, {head}:") for name in names)


def test_that_a_verdict_names_what_speaks_for_it() -> None:
    from engine.runs.probe_verdict import compare, measured_words

    lora = Outcome(20, None, 14e9, 15e9, 13.5e9, 1000.0, 900.0, 1.5, 9.0)
    qlora = Outcome(20, "nf4", 7e9, 8e9, 7e9, 600.0, 700.0, 1.51, 12.0)
    assert compare(lora, qlora, 24e9).startswith("Take LoRA: it fits, with 38\u00a0% of the memory left")
    assert compare(lora, qlora, 16e9).startswith("Take QLoRA: LoRA fills 94\u00a0% of the memory")
    assert "takes 50\u00a0% less memory, is 40\u00a0% slower, has the same loss" in compare(lora, qlora)
    broken = Outcome(problem="4-bit needs a GPU.", hint="Use LoRA.")
    assert compare(lora, broken).startswith("Take LoRA: 4-bit weights do not work here. 4-bit needs a GPU.")
    assert compare(Outcome(problem="Memory ran out."), qlora).startswith("Take QLoRA")
    assert "14.00 GB measured, 13.50 GB planned (+4\u00a0%)" in measured_words(lora)
