"""Try it first: a few real steps of the recipe, measured beside the plan; or LoRA beside QLoRA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QWidget

from app.i18n import loss, number
from app.services import Services
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import TextLabel, number_label
from app.widgets.meter import Meter
from engine.errors import EngineError
from engine.recipe.recipe import Recipe
from engine.runs import probe
from engine.runs.probe import Outcome, Trial
from engine.runs.probe_verdict import compare, measured_words

POLL_MS = 200
ABOUT = "20 real steps on this model and data, the longest batch first. Nothing is kept but the figures."
PHASES = {
    "start": "Starting",
    "starting": "Starting",
    "prepare data": "Preparing the data",
    "load model": "Loading the model",
    "train": "First step",
}
Rows = list[tuple[str, str, str]]


class ProbeCard(Card):
    """Give it the recipe with `set_recipe`; it starts, shows and ends trials by itself.

    Signals:
        measured: a trial ended with figures, which the ledger has now: plans made again are corrected.
    """

    measured = Signal()

    def __init__(self, services: Services) -> None:
        super().__init__("Try it first")
        self._services = services
        self._recipe: Recipe | None = None
        self._waiting: list[tuple[str, Recipe]] = []
        self._done: list[tuple[str, Outcome]] = []
        self._trial: Trial | None = None
        self._name = ""
        self._starting = self._cancelled = False
        self._about = TextLabel(ABOUT, "small", wrap=True)
        self.body.addWidget(self._about)
        self.body.addLayout(self._build_buttons())
        self.meter = Meter(0.0, name="Steps of the trial")
        self.state = TextLabel("", "small_text")
        self.body.addWidget(self.meter)
        self.body.addWidget(self.state)
        self._table = QWidget()
        self._grid = QGridLayout(self._table)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(18)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(0, 1)
        self.body.addWidget(self._table)
        self.verdict = TextLabel("", "body", wrap=True).make_selectable()
        self.body.addWidget(self.verdict)
        self.body.addStretch(1)
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._look)
        for widget in (self.meter, self.state, self._table, self.verdict):
            widget.hide()
        self._enable()

    def _build_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        self.try_button = button("Try 20 steps", "play", on_click=self.try_it)
        self.compare_button = button("QLoRA or LoRA?", on_click=self.compare_both)
        self.cancel_button = button("Cancel", kind="ghost", name="Cancel the trial", on_click=self.cancel)
        self.cancel_button.hide()
        for each in (self.try_button, self.compare_button, self.cancel_button):
            row.addWidget(each)
        row.addStretch(1)
        return row

    @property
    def busy(self) -> bool:
        """Say whether a trial is going on."""
        return self._starting or self._trial is not None

    def set_recipe(self, recipe: Recipe | None, why: str = "") -> None:
        """Take the recipe that is tried next; None where it cannot be, with what stands in the way."""
        self._about.setText(f"First to be mended: {why}" if why else ABOUT)
        if recipe == self._recipe:
            return
        self._recipe = recipe
        if not self.busy:
            self._table.hide()
            self.verdict.hide()
        self._enable()

    def try_it(self) -> None:
        """Begin a trial of the recipe as it is."""
        if self._recipe is not None and not self.busy:
            self._begin([("", self._recipe)])

    def compare_both(self) -> None:
        """Begin two trials, one with the base in full numbers and one in 4 bits."""
        if self._recipe is None or self.busy:
            return
        try:
            lora, qlora = probe.sides(self._recipe)
        except EngineError as error:
            self._show_verdict(f"{error.message} {error.hint}")
            return
        self._begin([("LoRA", lora), ("QLoRA", qlora)])

    def cancel(self) -> None:
        """End what is going on; call it too when the page goes away for good."""
        self._cancelled = True
        self._waiting.clear()
        if self._trial is not None:
            self._trial.cancel()
            self.state.setText("Ending after this step…")

    def _begin(self, trials: list[tuple[str, Recipe]]) -> None:
        self._waiting, self._done, self._cancelled = trials, [], False
        self._table.hide()
        self.verdict.hide()
        self._start_next()

    def _start_next(self) -> None:
        self._name, recipe = self._waiting.pop(0)
        self._starting = True
        self.meter.set(0.0)
        self._say("Starting")
        self._enable()
        self._services.background.run(lambda: probe.start(recipe), self._on_started, self._on_refused)

    def _on_started(self, trial: Trial) -> None:
        self._starting, self._trial = False, trial
        if self._cancelled:
            trial.cancel()
        self._timer.start()

    def _on_refused(self, error: EngineError) -> None:
        self._starting = False
        self._end()
        self._show_verdict(f"{error.message} {error.hint}")

    def _look(self) -> None:
        trial = self._trial
        if trial is None:
            return
        outcome = trial.read()
        if outcome is None:
            if trial.steps:
                self.meter.set(trial.steps / max(1, trial.total_steps))
                self._say(f"Step {number(trial.steps)} of {number(trial.total_steps)}")
            elif not self._cancelled:
                self._say(PHASES.get(trial.phase, "Starting"))
            return
        self._timer.stop()
        self._trial = None
        self._done.append((self._name, outcome))
        if self._waiting:
            self._start_next()
            return
        self._end()
        self._show_outcomes()

    def _say(self, words: str) -> None:
        if not self._cancelled:
            self.state.setText(f"{self._name}: {words}" if self._name else words)

    def _end(self) -> None:
        self._waiting.clear()
        self._enable()

    def _enable(self) -> None:
        ready = self._recipe is not None and not self.busy
        for each in (self.try_button, self.compare_button):
            each.setEnabled(ready)
        for widget in (self.cancel_button, self.meter, self.state):
            widget.setVisible(self.busy)

    def _show_outcomes(self) -> None:
        outcomes = [outcome for _, outcome in self._done]
        if len(outcomes) == 1:
            (only,) = outcomes
            self._show_table(("Planned", "Measured"), _beside_plan(only))
            # The table has the figures; words are for what it cannot show.
            told = only.problem or only.cancelled or not only.tokens_per_second
            self._show_verdict(measured_words(only) if told else _gap(only))
        else:
            lora, qlora = outcomes
            self._show_table(("LoRA", "QLoRA"), _beside(lora, qlora))
            self._show_verdict(compare(lora, qlora, self._room()))
        if any(outcome.memory_bytes for outcome in outcomes):
            self.measured.emit()

    def _room(self) -> float | None:
        machine: Any = self._services.hardware.machine
        if machine is None:
            return None
        return float(machine.devices[0].total_bytes if machine.devices else machine.ram_total_bytes)

    def _show_verdict(self, words: str) -> None:
        self.verdict.setText(words)
        self.verdict.show()

    def _show_table(self, heads: tuple[str, str], rows: Rows) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        right = Qt.AlignmentFlag.AlignRight
        for column, head in enumerate(heads, 1):
            self._grid.addWidget(TextLabel(head, "least"), 0, column, right)
        for row, (name, first, second) in enumerate(rows, 1):
            self._grid.addWidget(TextLabel(name, "small_text"), row, 0)
            for column, (head, value) in enumerate(zip(heads, (first, second), strict=True), 1):
                label = number_label(value, "mono")
                label.setAccessibleName(f"{name}, {head}: {value}")
                self._grid.addWidget(label, row, column, right)
        self._table.setVisible(bool(rows))


def _memory(value: float | None) -> str:
    return "–" if value is None else f"{number(value / 1e9, 2)}\u00a0GB"


def _speed(value: float | None) -> str:
    return "–" if value is None else f"{number(value, 0 if value >= 10 else 1)}\u00a0tok/s"


def _beside_plan(outcome: Outcome) -> Rows:
    if outcome.memory_bytes is None:
        return []
    return [
        ("Memory of the run", _memory(outcome.predicted_memory_bytes), _memory(outcome.memory_bytes)),
        ("Speed", _speed(outcome.predicted_tokens_per_second), _speed(outcome.tokens_per_second)),
    ]


def _beside(lora: Outcome, qlora: Outcome) -> Rows:
    if lora.memory_bytes is None and qlora.memory_bytes is None:
        return []
    pick: list[tuple[str, Callable[[Outcome], str]]] = [
        ("Memory of the run", lambda o: _memory(o.memory_bytes)),
        ("Speed", lambda o: _speed(o.tokens_per_second)),
        ("Loss of the last steps", lambda o: loss(o.loss)),
    ]
    return [(name, of(lora), of(qlora)) for name, of in pick]


def _gap(outcome: Outcome) -> str:
    memory = (outcome.memory_bytes or 0.0) / (outcome.predicted_memory_bytes or 1.0) - 1
    speed = (outcome.tokens_per_second or 0.0) / (outcome.predicted_tokens_per_second or 1.0)
    words = f"Memory {number(abs(100 * memory))}\u00a0% {'above' if memory > 0 else 'below'} the formula, "
    return f"{words}speed {number(speed, 2)} times it. The plan is corrected by both."
