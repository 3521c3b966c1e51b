"""Step 5: the run in one sentence, drawn to scale, with every check made before it starts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QVBoxLayout, QWidget

from app import i18n
from app.pages.wizard.exactly import Exactly
from app.pages.wizard.fields import short_model
from app.pages.wizard.probe_card import ProbeCard
from app.pages.wizard.review_check import ADD_SEEDS, BAD, WAIT, WARN, Check
from app.pages.wizard.review_checks import examine
from app.pages.wizard.review_line import run_line, time_words
from app.pages.wizard.state import WizardState
from app.pages.wizard.step import Step
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.check_list import CheckLine, CheckList
from app.widgets.editors import make_editor
from app.widgets.form import FieldRow, Form
from app.widgets.label import TextLabel
from app.widgets.pill import Pill
from app.widgets.plan_figures import size_range
from app.widgets.timeline import RunLine, Timeline
from app.widgets.typed_editors import TypedEditor
from engine.durable import write_file
from engine.errors import EngineError, from_os_error
from engine.paths import home
from engine.recipe import codec
from engine.recipe.fields import field_spec
from engine.recipe.method_names import method_words
from engine.runs.store import readable_name

NO_BREAK = "\u00a0"  # a figure stays in one line with its unit


class ReviewStep(Step):
    """Sentence, timeline, checks.

    Signals:
        checks_changed: other checks are shown.
        seeds_requested: start the recipe with more seeds than its own.
    """

    checks_changed = Signal()
    seeds_requested = Signal()

    name = "review"

    def __init__(self, state: WizardState, exactly: Exactly) -> None:
        super().__init__(state)
        self._exactly, self._counted = exactly, exactly.memory_bytes
        self.probe = ProbeCard(state.services)
        self.probe.measured.connect(state.plan_again)
        if (application := QApplication.instance()) is not None:
            application.aboutToQuit.connect(self.probe.cancel)
        exactly.changed.connect(self._on_exact_changed)
        self.checks: list[Check] = []
        self._examining = False
        self._checked_for: tuple[Any, Any, Any] = (None, None, None)
        self.column.addWidget(self._build_sentence())
        drawing = Card("Timeline", TextLabel("dots: validation and samples · notches: checkpoints", "least"))
        self.timeline = Timeline()
        self.timeline_words = TextLabel("", "small", wrap=True)
        drawing.body.addWidget(self.timeline)
        drawing.body.addWidget(self.timeline_words)
        self.column.addWidget(drawing)
        self.verdict = Pill()
        checks = Card("Checks", self.verdict)
        self.list = CheckList()
        checks.body.addWidget(self.list)
        self.column.addWidget(checks)
        self.column.addStretch(1)
        self.list.chosen.connect(self._on_check_chosen)
        self.list.acted.connect(self._on_check_acted)
        self.list.looked_at.connect(self._on_check_looked_at)
        for signal in (state.plan_changed, state.data_changed, state.model_changed, state.faults_changed):
            signal.connect(self._on_state_changed)

    def _build_sentence(self) -> Card:
        card = Card()
        self.sentence = TextLabel("", "title", wrap=True).make_selectable()
        self.below = TextLabel("", "small", wrap=True).make_selectable()
        card.body.addWidget(self.sentence)
        card.body.addWidget(self.below)
        form = Form([], self.rules)
        name = field_spec("name")
        self.name_row = form.add_row(FieldRow(name, self.rules, make_editor(name), hint=""))
        self.add_form(form)
        card.body.addSpacing(4)
        card.body.addWidget(form)
        return card

    # -- showing -------------------------------------------------------------------------------------------
    def shown(self) -> None:
        self._on_state_changed()

    def settled(self) -> bool:
        return not self._examining

    def on_values(self, paths: frozenset[str]) -> None:
        if self.isVisible():
            self._on_state_changed()

    def _on_state_changed(self) -> None:
        if not self.isVisible():
            return
        self.show_sentence()
        self.draw()
        self.examine()

    def show_sentence(self) -> None:
        """Say the whole run in one sentence."""
        state, recipe = self.state, self.state.recipe
        model = "the starter model" if recipe.model.path == "starter" else short_model(recipe.model.path)
        method = method_words(recipe)
        plan = state.plans.now if state.plans else None
        examples = f"{i18n.number(state.data.train_examples)} examples" if state.data else "examples"
        parts = [f"Teach {model} on {examples} with {method}"]
        facts = []
        if plan is not None and plan.steps:
            facts.append(f"{i18n.number(plan.steps)} steps")
        if plan is not None and plan.seconds:
            facts.append(f"about {i18n.duration(plan.seconds)}".replace(" ", NO_BREAK))
        if plan is not None:
            of = f" of {i18n.size(plan.device_memory_bytes)}" if plan.device_memory_bytes else ""
            facts.append(f"{i18n.size(plan.memory_bytes)}{of}".replace(" ", NO_BREAK))
        self.sentence.setText(": ".join(filter(None, [parts[0], ", ".join(facts)])) + ".")
        below = []
        if plan is not None and plan.total_parameters:
            share = 100 * plan.trainable_parameters / plan.total_parameters
            trained = i18n.number(plan.trainable_parameters)
            below.append(f"{i18n.number(share, 2)} % of the weights are trained ({trained})")
            low, high = plan.memory_band
            if high > low:
                below.append(f"memory {size_range(low, high)}")
        below.append(f"seed {recipe.training.seed}")
        self.below.setText(" · ".join(below))
        editor = self.name_row.editor
        if isinstance(editor, TypedEditor):
            editor.line.setPlaceholderText(readable_name(recipe))

    def draw(self) -> None:
        """Draw the coming run to scale."""
        plan = self.state.plans.now if self.state.plans else None
        recipe = self.state.recipe
        if plan is None or not plan.steps:
            self.timeline.show_line(RunLine(()))
            self.timeline_words.setText("Drawn once model and data are known.")
            return
        self.timeline.show_line(run_line(recipe, plan, self.state.data))
        self.timeline_words.setText(time_words(recipe, plan, self.state.data))

    def examine(self) -> None:
        """Make the checks in the background."""
        if self._examining:
            return
        self._examining = True
        state = self.state
        recipe, data, plans = state.recipe, state.data, state.plans
        unread = {path: fault for path, (_, fault) in state.unread.items()}
        machine, counted = state.services.hardware.machine, self._counted

        def taken(checks: list[Check]) -> None:
            self._examining = False
            self._checked_for = (recipe, data, plans)
            self._show_checks(checks)
            other = recipe is not state.recipe or plans is not state.plans or data is not state.data
            if other or counted != self._counted:
                self.examine()

        def failed(error: EngineError) -> None:
            self._examining = False
            self._checked_for = (recipe, data, plans)
            self._show_checks([Check(BAD, error.message, error.hint, error.field or "model.path")])

        state.services.background.run(
            lambda: examine(recipe, data, plans, unread, machine, counted), taken, failed
        )

    def _show_checks(self, checks: list[Check]) -> None:
        self.checks = checks
        self.list.show_lines([CheckLine(c.state, c.title, c.detail, c.press) for c in checks])
        bad, warn = (sum(1 for c in checks if c.state == state) for state in (BAD, WARN))
        if bad:
            self.verdict.set(f"{bad} to mend", "bad")
        elif any(c.state == WAIT for c in checks):
            self.verdict.set("looking", "dim")
        else:
            self.verdict.set(f"{warn} to look at" if warn else "ready", "warn" if warn else "ok")
        self._offer_probe()
        self.checks_changed.emit()

    @property
    def mending(self) -> frozenset[str]:
        """Return the fields that a press on a check changes."""
        return frozenset(path for check in self.checks for path in check.fix)

    @property
    def blocking(self) -> list[Check]:
        """Return the checks that stand in the way of Start."""
        return [check for check in self.checks if check.state == BAD]

    @property
    def checked(self) -> bool:
        """Say whether the checks shown are complete and of the recipe as it is."""
        waits = any(check.state == WAIT for check in self.checks)
        state = self.state
        now = (state.recipe, state.data, state.plans)
        return (
            bool(self.checks)
            and not waits
            and all(a is b for a, b in zip(now, self._checked_for, strict=True))
        )

    @property
    def passed(self) -> bool:
        """Say whether everything was looked at and nothing stands in the way."""
        return bool(self.checks) and not any(check.state in (BAD, WAIT) for check in self.checks)

    def place_probe(self, beside: QVBoxLayout | None) -> None:
        """Put the card that tries the recipe into the column beside, or below the checks."""
        if beside is None:
            self.column.insertWidget(self.column.count() - 1, self.probe)
        else:
            beside.addWidget(self.probe)
        self.probe.setVisible(self.isVisible())

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.probe.show()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.probe.hide()

    def _offer_probe(self) -> None:
        """A recipe that may not fit can be tried too: that is what a trial is for."""
        stopped = [check for check in self.blocking if not check.title.startswith("Does not fit")]
        known = self.state.plans is not None and self.state.data is not None and not self.state.data_busy
        why = stopped[0].title if stopped else ""
        self.probe.set_recipe(self.state.recipe if known and not stopped else None, why)

    def _on_exact_changed(self) -> None:
        if self._exactly.memory_bytes != self._counted:
            self._counted = self._exactly.memory_bytes
            if self.isVisible():
                self.examine()

    def _on_check_acted(self, index: int) -> None:
        check = self.checks[index]
        if check.fix:
            self.state.set_values(dict(check.fix), apart=True)
        elif check.press == ADD_SEEDS:
            self.seeds_requested.emit()
        else:
            self._exactly.start()

    def _on_check_looked_at(self, index: int) -> None:
        check = self.checks[index] if 0 <= index < len(self.checks) else None
        self.ghost_changed.emit((check.press, check.fix) if check is not None and check.fix else None)

    def _on_check_chosen(self, index: int) -> None:
        check = self.checks[index]
        self.step_requested.emit(check.step, check.field)

    # -- taking it elsewhere -------------------------------------------------------------------------------
    def top_bar_buttons(self) -> list[QWidget]:
        """Return the buttons that only the review has."""
        return [
            button("Copy command", "copy", on_click=self.copy_command),
            button("Export YAML", "upload", on_click=self._on_export_pressed),
        ]

    def copy_command(self) -> None:
        """Write the recipe beside the draft and put the command that trains it on the clipboard."""
        file = home() / "recipe.yaml"
        try:
            home().mkdir(parents=True, exist_ok=True)
            write_file(file, codec.dumps(self.state.recipe))
        except OSError as error:
            told = from_os_error(error, str(file))
            self.state.services.notify(told.message, "bad", hint=told.hint)
            return
        QApplication.clipboard().setText(f"python -m engine train {shlex.quote(str(file))}")
        self.state.services.notify("The command is on the clipboard.", "ok", hint=f"It reads {file}.")

    def _on_export_pressed(self) -> None:
        proposed = str(Path.home() / f"{readable_name(self.state.recipe)}.yaml")
        chosen, _ = QFileDialog.getSaveFileName(self, "Export the recipe", proposed, "Recipes (*.yaml)")
        if chosen:
            self.export_to(Path(chosen))

    def export_to(self, file: Path) -> None:
        """Write the recipe to a file."""
        try:
            write_file(file, codec.dumps(self.state.recipe))
        except OSError as error:
            told = from_os_error(error, str(file))
            self.state.services.notify(told.message, "bad", hint=told.hint)
        else:
            self.state.services.notify(f"Recipe written to {file.name}.", "ok", hint=str(file))
