"""The recipe while it is being made: its values, what is wrong, what is known of model and data, its plan."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from app.drafts import Draft
from app.pages.wizard import inquiries
from app.pages.wizard.data_view import DataView, Superseded, large, look_at_data
from app.pages.wizard.fields import fault_of, step_of
from app.services import Services
from engine.errors import EngineError
from engine.recipe import codec
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.combinations import OBEYED
from engine.recipe.fields import field_spec, field_specs
from engine.recipe.presets import Preset, presets
from engine.recipe.recipe import Recipe

PLAN_DELAY_MS, DATA_DELAY_MS, MODEL_DELAY_MS = 60, 250, 150
PROGRESS_MS = 100
ONE_CHANGE_SECONDS = 1.5
NOTHING_ADAPTED = "Apply to: choose modules and layers that this model has."
DATA_FIELDS = frozenset(
    f"data.{name}"
    for name in (
        "train validation validation_split split_seed format columns encoding part delimiter header bad_rows "
        "label_names role_names sources chat_template system_prompt system_message special_tokens "
        "train_on max_length too_long dedupe near_duplicates overlap packing shuffle"
    ).split()
)
DATA_FIELDS |= {"training.seed"}


@dataclass(frozen=True)
class StepProblem:
    """One thing that stands in the way of the next step."""

    step: str
    field: str
    message: str


class WizardState(QObject):
    """All that the five steps share.

    Signals:
        values_changed: the paths of the fields that have another value now.
        faults_changed: a field became readable or unreadable.
        model_changed: the model is being looked at, or its facts (or why there are none) arrived.
        data_changed: the same for the data.
        data_read: (rows, rows in all) that are read so far.
        plan_changed: another plan, or none.
    """

    values_changed = Signal(object)
    faults_changed = Signal()
    model_changed = Signal()
    data_changed = Signal()
    data_read = Signal(int, int)
    plan_changed = Signal()

    def __init__(self, services: Services, draft: Draft | None = None) -> None:
        super().__init__()
        draft = draft or Draft()
        self.services = services
        self.recipe: Recipe = draft.recipe
        self.preset = draft.preset
        self.alpha_linked = draft.alpha_linked
        self.unread: dict[str, tuple[str, str]] = {}
        for path, text in draft.unread.items():
            self.unread[path] = (text, _fault_of_text(path, text))
        self._base = _base_of(self.preset)
        self._undo: list[tuple[str, float, Recipe]] = []
        self._redo: list[Recipe] = []
        self.facts: Any = None
        self.model_error: EngineError | None = None
        self.model_busy = False
        self.data: DataView | None = None
        self.data_error: EngineError | None = None
        self.data_busy = False
        self.plans: inquiries.Plans | None = None
        self.plan_error: EngineError | None = None
        self.begun_fault = ""  # why the adapter that is to be gone on with cannot be
        self._turns = {"model": 0, "data": 0, "plan": 0}
        self._timers = {
            "model": self._timer(MODEL_DELAY_MS, self._ask_model),
            "data": self._timer(DATA_DELAY_MS, self._ask_data),
            "plan": self._timer(PLAN_DELAY_MS, self._ask_plan),
        }
        self._told: dict[str, tuple[int, int]] = {}  # how far a reading is; written in the background
        self._progress_timer = QTimer(self, interval=PROGRESS_MS)
        self._progress_timer.timeout.connect(self._tell_progress)
        services.hardware.probed.connect(self._on_probed)

    def _timer(self, delay: int, act: Any) -> QTimer:
        timer = QTimer(self, singleShot=True, interval=delay)
        timer.timeout.connect(act)
        return timer

    def _on_probed(self, machine: object) -> None:
        self._timers["plan"].start()

    def begin(self) -> None:
        """Look at model and data for the first time."""
        self._ask_model()

    # -- values --------------------------------------------------------------------------------------------
    def value(self, path: str) -> Any:
        """Return what the recipe holds for `section.name`."""
        section, _, name = path.rpartition(".")
        return getattr(getattr(self.recipe, section), name) if section else getattr(self.recipe, name)

    def base(self, path: str) -> Any:
        """Return what the preset holds for a field."""
        section, _, name = path.rpartition(".")
        return getattr(getattr(self._base, section), name) if section else getattr(self._base, name)

    def set_value(self, path: str, value: Any) -> str:
        """Take a value; return the way out, having changed nothing, when it is not allowed."""
        return self.set_values(self.changes_of(path, value))

    def changes_of(self, path: str, value: Any) -> dict[str, Any]:
        """Return all that changes with one value: alpha follows the rank while they are linked."""
        changes = {path: value}
        follows = self.alpha_linked and "lora_alpha" in OBEYED[self.recipe.adapter.method]
        if path == "adapter.r" and follows and isinstance(value, int):
            changes["adapter.lora_alpha"] = 2 * value
        return changes

    def set_values(self, changes: Mapping[str, Any], apart: bool = False) -> str:
        """Take several values as one change, which Ctrl+Z takes back as one.

        Changes of the same fields shortly after one another count as one, unless each stands `apart`.
        """
        try:
            new = codec.override(self.recipe, dict(changes))
        except EngineError as error:
            return error.hint or error.message
        for path in changes:
            self.unread.pop(path, None)
        self._remember("" if apart else ",".join(sorted(changes)))
        self._take(new)
        return ""

    def set_unread(self, path: str, text: str, fault: str) -> None:
        """Keep what was typed although it cannot be used; the recipe keeps its last value."""
        self.unread[path] = (text, fault)
        self.faults_changed.emit()

    def set_alpha_linked(self, linked: bool) -> None:
        """Let alpha follow twice the rank, or let it stand by itself."""
        self.alpha_linked = linked
        if linked and self.recipe.adapter.lora_alpha != 2 * self.recipe.adapter.r:
            self.set_value("adapter.lora_alpha", 2 * self.recipe.adapter.r)
        else:
            self.values_changed.emit(frozenset({"adapter.lora_alpha"}))

    def apply_preset(self, preset: Preset) -> None:
        """Start method and training from a preset; the model and the data stay, how it is held does not."""
        self.preset = preset.name
        self._base = _base_of(preset.name, self.facts)
        self.unread = {p: v for p, v in self.unread.items() if step_of(p) not in ("method", "training")}
        self.alpha_linked = self._base.adapter.lora_alpha == 2 * self._base.adapter.r
        sections = ["adapter", "training", "evaluation", "checkpoint"]
        if self.recipe.adapter.path is not None:
            sections.remove("adapter")  # its shape is that of the adapter which is gone on with
        keep = {name: getattr(self._base, name) for name in sections}
        held = [name for name in type(self.recipe.model).model_fields if step_of(f"model.{name}") == "method"]
        model = self.recipe.model.model_copy(update={n: getattr(self._base.model, n) for n in held})
        self._remember("preset")
        self._take(self.recipe.model_copy(update={**keep, "model": model}), force=True)

    def preset_values(self, preset: Preset) -> dict[str, Any]:
        """Return all fields that a preset would set."""
        base = _base_of(preset.name, self.facts)
        sections = ("adapter", "training", "evaluation", "checkpoint")
        paths = [s.path for s in field_specs() if s.path.startswith(sections) or step_of(s.path) == "method"]
        return {path: _get(base, path) for path in paths}

    def settle(self, adapter: AdapterOptions) -> None:
        """Take what the adapter settles that is gone on with: part of the change that chose it."""
        self.alpha_linked = False
        self._take(self.recipe.model_copy(update={"adapter": adapter}))

    def replace(self, recipe: Recipe) -> None:
        """Start from another recipe altogether."""
        self.unread = {}
        self.alpha_linked = recipe.adapter.lora_alpha == 2 * recipe.adapter.r
        self._remember("recipe")
        self._take(recipe, force=True)

    def take_draft(self, draft: Draft) -> None:
        """Go on with another unfinished run as it was left."""
        self.replace(draft.recipe)
        self.preset, self.alpha_linked = draft.preset, draft.alpha_linked
        self._base = _base_of(self.preset, self.facts)
        self.unread = {path: (text, _fault_of_text(path, text)) for path, text in draft.unread.items()}
        self.values_changed.emit(frozenset(spec.path for spec in field_specs()))
        self.faults_changed.emit()

    def undo(self) -> bool:
        """Take the last change back; False when there is none."""
        return self._step_back(self._undo, self._redo)

    def redo(self) -> bool:
        """Do again what was taken back."""
        if not self._redo:
            return False
        self._undo.append(("", 0.0, self.recipe))
        self.unread = {}
        self._take(self._redo.pop(), force=True)
        return True

    def _step_back(self, source: list[tuple[str, float, Recipe]], other: list[Recipe]) -> bool:
        if self.unread:
            self.unread = {}
            self.values_changed.emit(frozenset(spec.path for spec in field_specs()))
            self.faults_changed.emit()
            return True
        if not source:
            return False
        other.append(self.recipe)
        self._take(source.pop()[2], force=True)
        return True

    def _remember(self, what: str) -> None:
        now = time.monotonic()
        if what and self._undo and self._undo[-1][0] == what and now - self._undo[-1][1] < ONE_CHANGE_SECONDS:
            self._undo[-1] = (what, now, self._undo[-1][2])
        else:
            self._undo.append((what, now, self.recipe))
        self._redo.clear()

    def _take(self, new: Recipe, force: bool = False) -> None:
        old, self.recipe = self.recipe, new
        changed = frozenset(s.path for s in field_specs() if _get(old, s.path) != _get(new, s.path))
        self.values_changed.emit(frozenset(s.path for s in field_specs()) if force else changed)
        self.faults_changed.emit()
        if "model.path" in changed or "model.revision" in changed:
            self._timers["model"].start()
            self.model_busy = True
            self.model_changed.emit()
        if changed & DATA_FIELDS:
            self._timers["data"].start()
        self._timers["plan"].start()

    # -- what the machine finds out --------------------------------------------------------------------------
    def look_again(self) -> None:
        """Look at model and data once more, after files have changed."""
        self._ask_model()

    def plan_again(self) -> None:
        """Plan once more, after this machine has measured something."""
        self._timers["plan"].start()

    def _next(self, what: str) -> int:
        self._turns[what] += 1
        return self._turns[what]

    def _ask_model(self) -> None:
        turn, model = self._next("model"), self.recipe.model
        self.model_busy = True
        self.model_changed.emit()

        def taken(facts: Any, error: EngineError | None = None) -> None:
            if turn != self._turns["model"]:
                return
            self.facts, self.model_error, self.model_busy = facts, error, False
            self._base = _base_of(self.preset, facts)
            self.model_changed.emit()
            self._ask_data()
            self._timers["plan"].start()

        self.services.background.run(
            lambda: inquiries.look_at_model(model.path, model.revision), taken, lambda e: taken(None, e)
        )

    def _ask_data(self) -> None:
        turn, recipe, facts = self._next("data"), self.recipe, self.facts
        if not recipe.data.train or facts is None:
            # Without a tokenizer nothing can be counted; the model step says what is wrong there.
            self.data, self.data_error, self.data_busy = None, None, False
            self.data_changed.emit()
            self._timers["plan"].start()
            return
        self.data_busy = True
        self.data_changed.emit()
        turns, told = self._turns, self._told

        def progress(done: int, total: int) -> None:
            # Called in the background: nothing of Qt may be touched. A newer question ends this reading.
            if turn != turns["data"]:
                raise Superseded("Other data was chosen meanwhile.")
            told["data"] = (done, total)

        def taken(view: Any, error: EngineError | None = None) -> None:
            if turn != self._turns["data"]:
                return
            known = view.error if view is not None else None
            self.data, self.data_error = view, error or known
            self.data_busy = view is not None and not view.complete and self.data_error is None
            self.data_changed.emit()
            self._timers["plan"].start()
            if self.data_busy:
                ask(False)

        def ask(sample: bool) -> None:
            self.services.background.run(
                lambda: look_at_data(recipe, facts, progress, sample), taken, lambda e: taken(None, e)
            )

        told.clear()
        self._progress_timer.start()
        ask(large(recipe))

    def _tell_progress(self) -> None:
        if not self.data_busy:
            self._progress_timer.stop()
        read = self._told.pop("data", None)
        if read is not None:
            self.data_read.emit(*read)

    def _ask_plan(self) -> None:
        turn, recipe = self._next("plan"), self.recipe
        facts, data, machine = self.facts, self.data, self.services.hardware.machine
        if facts is None:
            self.plans, self.plan_error = None, None
            self.plan_changed.emit()
            return

        def taken(plans: Any, error: EngineError | None = None) -> None:
            if turn == self._turns["plan"]:
                self.plans, self.plan_error = plans, error
                self.plan_changed.emit()

        self.services.background.run(
            lambda: inquiries.make_plans(recipe, facts, data, machine), taken, lambda e: taken(None, e)
        )

    # -- what stands in the way ------------------------------------------------------------------------------
    def problems(self, step: str) -> list[StepProblem]:
        """Return what has to be mended on a step, in the order of the form."""
        found: list[StepProblem] = []
        if step == "model" and self.model_error is not None:
            found.append(StepProblem(step, "model.path", self.model_error.message))
        if step == "data":
            found += self._data_problems()
        if step == "method" and self.begun_fault:
            found.append(StepProblem(step, "adapter.path", self.begun_fault))
        if step == "method" and self.plans is not None and self.plans.now.trainable_parameters == 0:
            found.append(StepProblem(step, "adapter.target_modules", NOTHING_ADAPTED))
        order = {spec.path: index for index, spec in enumerate(field_specs())}
        for path in sorted(self.unread, key=lambda p: order[p]):
            if step_of(path) == step:
                found.append(StepProblem(step, path, f"{field_spec(path).label}: {self.unread[path][1]}"))
        return found

    def _data_problems(self) -> list[StepProblem]:
        if not self.recipe.data.train:
            return [StepProblem("data", "data.train", "Add a file with examples, or take a bundled one.")]
        if self.data_error is not None:
            return [StepProblem("data", self.data_error.field or "data.train", self.data_error.message)]
        if self.data is not None and not self.data_busy and self.data.refused:
            first = next(p for p in self.data.problems if p.severity == "error")
            return [StepProblem("data", "data.train", f"{first.message} {first.hint}".strip())]
        if self.data is not None and not self.data_busy and self.data.train_examples == 0:
            return [StepProblem("data", "data.train", "No row of this data can be trained on.")]
        return []

    def draft(self, step: str) -> Draft:
        """Return what is to be kept on disk."""
        return Draft(
            self.recipe, step, self.preset, self.alpha_linked, {p: t for p, (t, _) in self.unread.items()}
        )


def _get(recipe: Recipe, path: str) -> Any:
    section, _, name = path.rpartition(".")
    return getattr(getattr(recipe, section), name) if section else getattr(recipe, name)


def _base_of(name: str, facts: Any = None) -> Recipe:
    """Return the recipe that a preset makes for a model, as far as that is known."""
    for preset in presets():
        if preset.name == name:
            parameters = None if facts is None else facts.parameters
            return codec.override(Recipe(), preset.overrides_for(parameters))
    return Recipe()


def _fault_of_text(path: str, text: str) -> str:
    return fault_of(path, text) or "Use another value."
