"""The adapter a new run begins from, as the wizard asks the engine of it: off the window's thread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

from app.pages.wizard.state import WizardState
from engine.errors import EngineError
from engine.models import library
from engine.models.adapter_facts import AdapterFacts, read_adapter_facts
from engine.models.facts import ModelFacts
from engine.models.fit import check_fit, refuse_unready
from engine.models.library import resolve_model
from engine.recipe import codec
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.recipe import Recipe
from engine.runs import beginnings, store
from engine.runs.gate_checks import Finding

if TYPE_CHECKING:
    from app.pages.wizard.wizard import WizardPage

FIELD = beginnings.FIELD
DELAY_MS = 80


@dataclass(frozen=True)
class Begun:
    """The recipe with what the adapter settles, the adapter, and what is to be known of its base."""

    recipe: Recipe
    adapter: AdapterFacts
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Line:
    """One adapter that is offered; `problem` says why it cannot be taken with the chosen base."""

    path: Path
    name: str
    label: str
    problem: str


def open_from(text: str, present: Recipe) -> Recipe:
    """Return the recipe of a new run from an adapter: that of its own run, else the present one on its base.

    Raises EngineError where there is no such adapter.
    """
    folder = beginnings.resolve(text)
    run = beginnings.run_of(folder)
    if run is not None:
        recipe = codec.absolute(store.load_recipe(run), run)
        return _bare(recipe.model_copy(update={"name": ""}), str(folder))
    named = read_adapter_facts(folder).base
    base = Path(named).name if Path(named).name == library.STARTER else named
    try:
        resolve_model(base)
    except EngineError:
        return _bare(present, str(folder))  # the method step says what does not fit
    model = type(present.model)(path=base)
    return _bare(present.model_copy(update={"model": model}), str(folder))


def _bare(recipe: Recipe, path: str | None) -> Recipe:
    """Return the recipe with the adapter alone named: what it settles is not yet known."""
    free = {"path": path, "lora_dropout": recipe.adapter.lora_dropout}
    return recipe.model_copy(update={"adapter": AdapterOptions(**free)})


def settle(recipe: Recipe) -> Begun:
    """Return what an adapter settles of a recipe, whatever stood there; raises EngineError."""
    made = beginnings.settled(_bare(recipe, recipe.adapter.path))
    found = beginnings.look(made)
    assert found is not None
    if made.adapter.method in ("ia3", "oft"):  # they have no dropout
        made = codec.override(made, {"adapter.lora_dropout": AdapterOptions().lora_dropout})
    return Begun(made, found.adapter, tuple(beginnings.of_base(made)))


def offered(base: ModelFacts | None) -> list[Line]:
    """Return the adapters of this computer, those that fit the base first."""
    lines = []
    for adapter in library.list_adapters():
        problem = ""
        try:
            refuse_unready(adapter)
            if base is not None:
                check_fit(adapter, base)
        except EngineError as error:
            problem = error.message
        lines.append(Line(adapter.path, adapter.name, adapter.label, problem))
    return sorted(lines, key=lambda line: bool(line.problem))


def take(state: WizardState, path: str) -> None:
    """Begin from this adapter; what the form said of the adapter's shape is its own from now on."""
    options = _bare(state.recipe, path).adapter
    values = {f"adapter.{name}": value for name, value in options.model_dump().items()}
    state.set_values(values, apart=True)


def open_in(page: WizardPage, text: str) -> None:
    """Open a new run from an adapter: base and settings of its run, and then its data to be looked at."""

    def opened(recipe: Recipe) -> None:
        page.take_instead(recipe, "A new run from an adapter is begun.")
        page.go_to("data")

    def failed(error: EngineError) -> None:
        page.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)

    present = page.state.recipe
    page.services.background.run(lambda: open_from(text, present), opened, failed)


class Beginning(QObject):
    """Keeps the recipe as the adapter has it, whenever another one or another base is chosen.

    Signals:
        changed: what is known of the adapter is otherwise now.
    """

    changed = Signal()

    def __init__(self, state: WizardState) -> None:
        super().__init__(state)
        self._state = state
        self._turn = 0
        self.busy = False
        self.begun: Begun | None = None
        self.error: EngineError | None = None
        self._timer = QTimer(self, singleShot=True, interval=DELAY_MS)
        self._timer.timeout.connect(self._ask)
        state.values_changed.connect(self._on_values_changed)
        state.model_changed.connect(self._on_model_changed)
        if state.recipe.adapter.path is not None:
            self._begin_to_ask()

    @property
    def path(self) -> str | None:
        """Return the adapter that is gone on with, None for none."""
        return self._state.recipe.adapter.path

    def remove(self) -> None:
        """Draw the values of a new adapter of the same shape."""
        self._state.set_values({FIELD: None}, apart=True)

    def _on_values_changed(self, paths: frozenset[str]) -> None:
        if FIELD in paths and self.path is None:
            self._know(None, None)
        elif self.path is not None and any(path.startswith("adapter.") for path in paths):
            if self.begun is None or self.begun.recipe.adapter != self._state.recipe.adapter:
                self._begin_to_ask()

    def _on_model_changed(self) -> None:
        if self.path is not None and not self._state.model_busy:
            self._begin_to_ask()

    def _begin_to_ask(self) -> None:
        self.busy = True
        self._timer.start()

    def _ask(self) -> None:
        self._turn += 1
        turn, recipe = self._turn, self._state.recipe
        if recipe.adapter.path is None:
            self._know(None, None)
            return

        def taken(begun: Any, error: EngineError | None = None) -> None:
            if turn == self._turn:
                self._know(begun, error)

        self._state.services.background.run(lambda: settle(recipe), taken, lambda error: taken(None, error))

    def _know(self, begun: Begun | None, error: EngineError | None) -> None:
        self.busy = False
        self.begun, self.error = begun, error
        self._state.begun_fault = f"{error.message} {error.hint}".strip() if error is not None else ""
        if begun is not None:
            self._state.settle(begun.recipe.adapter)
        self._state.faults_changed.emit()
        self.changed.emit()
