"""What another choice would need, planned while it is looked at; the recipe stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.pages.wizard.inquiries import plan_with
from app.pages.wizard.state import WizardState
from app.widgets.plan_figures import Ghost
from engine.errors import EngineError
from engine.models.facts import ModelFacts
from engine.plan.planner import Plan


class Preview(QObject):
    """Plans one choice after the other; while one is being planned only the newest of the next is kept.

    Signals:
        known: the Ghost of the choice that is looked at, or None.
    """

    known = Signal(object)

    def __init__(self, state: WizardState) -> None:
        super().__init__(state)
        self._state = state
        self._wanted: tuple[str, Mapping[str, Any], ModelFacts | None] | None = None
        self._busy = False
        state.values_changed.connect(lambda _paths: self.leave())

    def settled(self) -> bool:
        """Say whether nothing is being planned."""
        return not self._busy

    def look(self, title: str, changes: Mapping[str, Any], facts: ModelFacts | None = None) -> None:
        """Plan the recipe with these values; `facts` are another model's."""
        if facts is None and all(self._state.value(path) == value for path, value in changes.items()):
            self.leave()
            return
        self._wanted = (title, changes, facts)
        if not self._busy:
            self._begin()

    def leave(self) -> None:
        """Nothing is looked at any more."""
        self._wanted = None
        self.known.emit(None)

    def _begin(self) -> None:
        asked, state = self._wanted, self._state
        if asked is None:
            return
        title, changes, other = asked
        recipe, data, machine = state.recipe, state.data, state.services.hardware.machine
        facts = other or state.facts
        if facts is None:
            return
        self._busy = True

        def taken(plan: Plan) -> None:
            self._end(asked, Ghost(title, plan.memory_bytes, dict(plan.terms), plan.seconds, plan.verdict))

        def failed(error: EngineError) -> None:
            self._end(asked, Ghost(title, fault=error.message))

        state.services.background.run(lambda: plan_with(recipe, changes, facts, data, machine), taken, failed)

    def _end(self, asked: object, ghost: Ghost) -> None:
        self._busy = False
        if self._wanted is asked:
            self.known.emit(ghost)
        else:
            self._begin()
