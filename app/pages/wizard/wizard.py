"""New run: five steps from nothing to a started run, the plan beside them, a draft that is never lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from app.drafts import STEPS, delete_draft
from app.drop import kind_of
from app.pages.page import Page, scrolled
from app.pages.wizard import begin_from, recipe_file
from app.pages.wizard.data_step import DataStep
from app.pages.wizard.draft_keeper import DraftKeeper, read_draft
from app.pages.wizard.exactly import Exactly
from app.pages.wizard.fields import STEP_TITLES, step_of
from app.pages.wizard.launch import Launch, start_words
from app.pages.wizard.method_step import MethodStep
from app.pages.wizard.model_step import ModelStep
from app.pages.wizard.plan_side import PlanSide
from app.pages.wizard.review_check import Check
from app.pages.wizard.review_step import ReviewStep
from app.pages.wizard.state import WizardState
from app.pages.wizard.step import Step
from app.pages.wizard.training_step import TrainingStep
from app.pages.wizard.wizard_bar import WizardBar
from app.pages.wizard.wizard_footer import WizardFooter
from app.services import Services
from app.theme.style import current_theme
from app.widgets.label import hairline
from app.widgets.stepper import Stepper
from engine.errors import EngineError
from engine.recipe.fields import field_spec
from engine.recipe.recipe import Recipe
from engine.runs import trash
from engine.runs.trash import Trashed

FOLD_BELOW = 1280
COMPACT_BELOW = 1000
PLAN_WIDTH = 350


class WizardPage(Page):
    """The stepper, the step in front, the plan, and the footer."""

    title = "New run"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        draft, self._draft_error = read_draft()
        self.state = WizardState(services, draft)
        self.step_name = draft.step
        self.keeper = DraftKeeper(self, lambda: self.state.draft(self.step_name))
        self._begun = False
        self._reached = 0
        self._build()
        self._connect()
        self.set_level(services.settings.value.form_level)
        self._show_step(self.step_name)

    # -- building ------------------------------------------------------------------------------------------
    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        middle = QHBoxLayout()
        middle.setContentsMargins(0, 0, 0, 0)
        middle.setSpacing(0)
        self.stepper = Stepper([(name, STEP_TITLES[name]) for name in STEPS])
        middle.addWidget(self.stepper)
        middle.addWidget(hairline(vertical=True))
        state = self.state
        self._model_step, self._data_step = ModelStep(state), DataStep(state)
        self.exactly = Exactly(state)
        self._review_step = ReviewStep(state, self.exactly)
        self.launch = Launch(state, self._review_step)
        middle_steps = (MethodStep(state), TrainingStep(state))
        made = (self._model_step, self._data_step, *middle_steps, self._review_step)
        self.steps: dict[str, Step] = {step.name: step for step in made}
        self.stack = QStackedWidget()
        for step in self.steps.values():
            area = scrolled(step)
            area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            self.stack.addWidget(area)
        middle.addWidget(self.stack, 1)
        self.plan = PlanSide(state, self.exactly)
        self.plan_column, self.plan_strip = self.plan.column, self.plan.strip
        self._plan_place = scrolled(self.plan_column)
        self._side = QStackedWidget()
        self._side.addWidget(self._plan_place)
        self._side.addWidget(scrolled(self._data_step.side))
        middle.addWidget(self._side)
        column.addLayout(middle, 1)
        column.addWidget(self.plan_strip)
        self.footer = WizardFooter()
        column.addWidget(self.footer)
        self.bar = WizardBar(self)
        self._review_actions = self._review_step.top_bar_buttons()

    def _connect(self) -> None:
        self.keeper.not_kept.connect(lambda words: self.footer.say(words, bad=True))
        self.stepper.chosen.connect(self.go_to)
        current_theme().changed.connect(self._fold)
        self.footer.back_pressed.connect(self.go_back)
        self.footer.next_pressed.connect(self.go_on)
        self.bar.search.found.connect(self.go_to_field)
        self.bar.level_chosen.connect(self._on_level_chosen)
        self.bar.preset_chosen.connect(self._on_preset_chosen)
        self.bar.preset_looked_at.connect(self._on_preset_looked_at)
        self.bar.start_over_requested.connect(self.start_over)
        state = self.state
        state.values_changed.connect(lambda _paths: self._on_changed())
        state.faults_changed.connect(self._on_changed)
        for signal in (state.model_changed, state.data_changed, state.plan_changed):
            signal.connect(self._show_all)
        for step in self.steps.values():
            step.advice_changed.connect(self._show_advice)
            step.ghost_changed.connect(self.plan.look)
            step.step_requested.connect(self._on_step_requested)
        self.plan.applied.connect(self._on_applied)
        self.plan.advice_changed.connect(self._show_advice)
        for act in (self._show_steps, self._show_advice):
            self._review_step.checks_changed.connect(act)
        self.launch.said.connect(self.footer.say)
        self.launch.blocked.connect(self._on_blocked)
        self.launch.launched.connect(self._on_launched)
        undo, redo = QKeySequence.StandardKey.Undo, QKeySequence.StandardKey.Redo
        for keys, act in ((undo, state.undo), (redo, state.redo)):
            QShortcut(QKeySequence(keys), self).activated.connect(act)

    # -- the page's words ----------------------------------------------------------------------------------
    def top_bar_actions(self) -> list[QWidget]:
        if self.step_name == "review":
            return list(self._review_actions)
        if self.step_name == "data":
            return [self.bar.search, self.bar.levels, *self._data_step.top_bar_buttons()]
        return self.bar.widgets()

    def shown(self) -> None:
        if not self._begun:
            self._begun = True
            self.state.begin()
            if self._draft_error is not None:
                self.services.notify(self._draft_error.message, "warn", hint=self._draft_error.hint)
        self.steps[self.step_name].shown()
        self._fold()

    def hidden_(self) -> None:
        # Leaving the page and closing the window come here alike; the window waits for what is being written.
        self.keeper.save_soon()

    def settled(self) -> bool:
        state = self.state
        waiting = state.model_busy or state.data_busy or (state.facts is not None and state.plans is None)
        waiting |= not self.plan.settled()
        return not waiting and self.steps[self.step_name].settled()

    def primary_action(self) -> None:
        self.go_on()

    def find(self) -> None:
        if self.step_name == "review":
            self.go_to("training")
        self.bar.search.setFocus()
        self.bar.search.selectAll()

    def open_with(self, argument: dict[str, Any]) -> None:
        if "recipe" in argument:
            self.read_recipe(Path(argument["recipe"]))
        if "model" in argument:
            self._model_step.choose(str(argument["model"]))
            self.go_to("model")
        if "data" in argument:
            self._data_step.add_files([Path(argument["data"])])
            self.go_to("data")
        if "adapter" in argument:
            begin_from.open_in(self, str(argument["adapter"]))
        if argument.get("example"):
            self.open_example(argument["example"])
        if argument.get("draft"):
            self._read_again()
        if argument.get("step") in STEPS:
            self._show_step(argument["step"])

    def handle_drop(self, path: Path) -> bool:
        kind = kind_of(path)
        if kind == "recipe":
            self.read_recipe(path)
        elif kind == "data":
            self._data_step.add_files([path])
            self.go_to("data")
        return kind in ("recipe", "data")

    def open_example(self, example: object) -> None:
        """Fill the whole recipe for a bundled example, so that Start is one press away."""
        if self.state.recipe.data.train and not self._make_room("The example is filled in."):
            return
        self._data_step.take_example(example if isinstance(example, str) else "support")
        self.go_to("review" if example is True else "data")

    def read_recipe(self, file: Path) -> None:
        """Start from a recipe file; relative paths in it mean beside it."""
        try:
            recipe, named = recipe_file.read(file)
        except EngineError as error:
            place = f"{file.name}, line {error.line}. " if error.line else ""
            self.services.notify(error.message, "bad", hint=f"{place}{error.hint}")
            return
        self.services.settings.remember("recent_recipes", str(file))
        self.take_instead(recipe, f"{file.name} was read.")
        if named:
            self.asked = recipe_file.ask_for(
                self, file, named, lambda: self.state.replace(recipe_file.whole(file))
            )

    def start_over(self) -> None:
        """Begin a new recipe; the old one goes to the trash, and Ctrl+Z brings it back too."""
        self.take_instead(Recipe(), "A new run is begun.")
        self.go_to("model")

    def take_instead(self, recipe: Recipe, words: str) -> None:
        """Work on another recipe."""
        if recipe == self.state.recipe or self._make_room(words):
            self.state.replace(recipe)

    def _make_room(self, words: str) -> bool:
        """Put what was asked for so far into the trash and say it; False where it cannot be moved there."""
        try:
            aside = self.keeper.set_aside(self.state.recipe)
        except EngineError as error:
            self.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)
            return False
        undo = ("Undo", lambda: self._bring_back(aside)) if aside is not None else None
        hint = "What you had asked for before is in the trash." if aside is not None else ""
        self.services.notify(words, "ok", undo, hint)
        return True

    def _bring_back(self, aside: Trashed) -> None:
        """Go on with a draft out of the trash; the present one goes there in its place."""
        try:
            self.keeper.save_now()
            trash.restore(aside)
        except EngineError as error:
            self.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)
            return
        self._read_again()

    def _read_again(self) -> None:
        """Show the draft that lies on the disk."""
        self.keeper.forget()
        draft, error = read_draft()
        if error is not None:
            self.services.notify(error.message, "warn", hint=error.hint)
        self.state.take_draft(draft)
        self.go_to(draft.step)

    # -- going on ------------------------------------------------------------------------------------------
    def go_to(self, name: str) -> None:
        """Show a step."""
        self._show_step(name)
        self.keeper.touch()

    def go_to_field(self, path: str) -> None:
        """Show the step of a field and put the cursor there, opening All options where that hides it."""
        if field_spec(path).level != "simple" and self.services.settings.value.form_level == "simple":
            self._on_level_chosen("all")
        self.go_to(step_of(path))
        self.steps[step_of(path)].focus_field(path)

    def go_back(self) -> None:
        """Show the step before, or leave the wizard from its first."""
        index = STEPS.index(self.step_name)
        if index:
            self.go_to(STEPS[index - 1])
        else:
            self.navigate_requested.emit("home", None)

    def go_on(self) -> None:
        """Go to the next step or start; where something stands in the way, go there and say it."""
        upto = STEPS[: STEPS.index(self.step_name) + 1]
        problem = next((p for name in upto for p in self.state.problems(name)), None)
        if problem is not None:
            if problem.step != self.step_name:
                self._show_step(problem.step)
            self.go_to_field(problem.field)
            self.footer.say(problem.message, bad=True)
            return
        if self.step_name == "review":
            self.start()
        else:
            self.go_to(STEPS[STEPS.index(self.step_name) + 1])

    def start(self) -> None:
        """Hand the recipe over, unless a check says that it cannot run."""
        self.launch.start()

    def _on_blocked(self, check: Check) -> None:
        self._on_step_requested(check.step, check.field)
        self.footer.say(check.title, bad=True)

    def _on_launched(self, run: Path) -> None:
        """The run has its own frozen recipe now; the next draft begins with the same model and settings."""
        self.navigate_requested.emit("monitor", {"run": run})
        self.keeper.save_now()  # whatever is on its way to the disk is there, and can be removed
        delete_draft()
        self.state.replace(self.state.recipe.model_copy(update={"name": ""}))
        self.keeper.forget()
        self._show_step("model")

    # -- showing -------------------------------------------------------------------------------------------
    def _show_step(self, name: str) -> None:
        self.launch.forget()
        before = self.step_name
        self.step_name = name
        self.stack.setCurrentIndex(STEPS.index(name))
        self._side.setCurrentIndex(1 if name == "data" else 0)
        index = STEPS.index(name)
        words = start_words(self.services) if name == "review" else f"Next: {STEP_TITLES[STEPS[index + 1]]}"
        self.footer.show_step(words, index == 0)
        self.footer.say()
        if self._begun:
            self.steps[name].shown()
        self._show_all()
        if before != name and {before, name} & {"review", "data"}:
            self.actions_changed.emit()

    def _show_all(self) -> None:
        self._show_steps()
        self.plan.show_plan()
        self._show_advice()

    def _show_steps(self) -> None:
        here = STEPS.index(self.step_name)
        self._reached = max(self._reached, here)
        for index, name in enumerate(STEPS):
            state = "open" if index >= self._reached else "bad" if self.state.problems(name) else "done"
            self.stepper.show_step(name, "current" if index == here else state, self.steps[name].facts())
        recipe = self.state.recipe
        data = Path(recipe.data.train[0]).name if recipe.data.train else "no data yet"
        facts = self.steps["model"].facts().split(" · ")[0]
        self.facts = f"{facts} on {data}"
        self.heading_changed.emit()

    def _show_advice(self) -> None:
        mended = self._review_step.mending if self.step_name == "review" else frozenset()
        self.plan.show_advice(self.step_name, self.steps[self.step_name].advice(), mended)

    def set_level(self, level: str) -> None:
        """Show about eight fields a step, or all."""
        self.bar.show_level(level)
        for step in self.steps.values():
            step.set_level(level)

    # -- slots ---------------------------------------------------------------------------------------------
    def _on_changed(self) -> None:
        self.launch.forget()
        self.keeper.touch()
        self.footer.say()
        self._show_steps()

    def _on_level_chosen(self, level: str) -> None:
        self.services.settings.change(form_level=level)
        self.set_level(level)

    def _on_preset_looked_at(self, preset: Any) -> None:
        self.plan.look((preset.title, self.state.preset_values(preset)) if preset is not None else None)

    def _on_preset_chosen(self, preset: Any) -> None:
        self.state.apply_preset(preset)
        self.footer.say(f"{preset.title}: {preset.description}")

    def _on_applied(self, paths: frozenset[str]) -> None:
        """Let a remark's change be seen where its fields are in front."""
        rows = self.steps[self.step_name].rows
        for path in paths & rows.keys():
            rows[path].flash()

    def _on_step_requested(self, step: str, field: str) -> None:
        self.go_to(step)
        self.go_to_field(field)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fold()

    def _fold(self) -> None:
        """Show the plan as a column, or as a strip where the window is narrow."""
        self._side.setFixedWidth(current_theme().px(PLAN_WIDTH))
        narrow = self.window().width() < current_theme().px(FOLD_BELOW)
        self._side.setVisible(not narrow)
        self._data_step.set_narrow(narrow)
        self.plan_strip.setVisible(narrow)
        self._review_step.place_probe(None if narrow else self.plan_column.extra)
        self.stepper.set_compact(self.window().width() < current_theme().px(COMPACT_BELOW))
