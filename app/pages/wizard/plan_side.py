"""The plan beside the steps: column or strip, ghosts of other choices, advice that is applied and undone."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from app.pages.wizard.advice_view import Adviser
from app.pages.wizard.exactly import Exactly, ExactRow
from app.pages.wizard.plan_view import figures_of, suggestions_of, waiting_words
from app.pages.wizard.preview import Preview
from app.pages.wizard.state import WizardState
from app.widgets.plan_column import PlanColumn, PlanStrip
from app.widgets.plan_figures import Advice, Ghost, PlanFigures, changes_anything
from engine.recipe.recipe import Recipe

MOST_REMARKS = 5


class PlanSide(QObject):
    """Fills column and strip alike.

    Signals:
        applied: the paths of the fields that a remark's press has changed.
        advice_changed: the engine has other advice.
    """

    applied = Signal(object)
    advice_changed = Signal()

    def __init__(self, state: WizardState, exactly: Exactly) -> None:
        super().__init__(state)
        self._state = state
        self.column, self.strip = PlanColumn(), PlanStrip()
        self._exactly = exactly
        self.column.exact_place.addWidget(ExactRow(exactly, state))
        exactly.changed.connect(self._on_exact_changed)
        self.preview, self.adviser = Preview(state), Adviser(state)
        self.adviser.changed.connect(self.advice_changed)
        self._figures: PlanFigures | None = None
        self._made: Recipe | None = None  # by the remark applied last
        self.preview.known.connect(self._show_ghost)
        for place in (self.column, self.strip):
            place.looked_at.connect(self._on_advice_looked_at)
            place.applied.connect(self._on_applied)
            place.undo_requested.connect(self._on_undo_requested)
        state.values_changed.connect(self._on_values_changed)

    def show_plan(self) -> None:
        """Show the present plan, or what it waits for."""
        self._figures = figures_of(self._state, self._exactly.memory_bytes)
        waiting = waiting_words(self._state)
        self.column.show_plan(self._figures, waiting)
        self.strip.show_plan(self._figures, waiting)

    def _on_exact_changed(self) -> None:
        if self._figures is not None and self._figures.exact_bytes != self._exactly.memory_bytes:
            self.show_plan()

    def settled(self) -> bool:
        """Say whether nothing is being planned or thought about."""
        return self.preview.settled() and self.adviser.settled()

    def show_advice(self, step: str, own: list[Advice], mended: frozenset[str] = frozenset()) -> None:
        """Show what makes the plan fit, the engine's advice for a step, then the step's `own` remarks.

        What would change a field of `mended` has a button of its own elsewhere.
        """
        shown = suggestions_of(self._state)
        for each in self.adviser.advice(step) + own:
            if not mended.intersection(each.fix or ()) and not any(_same(each, other) for other in shown):
                shown.append(each)
        self.column.show_advice(shown[:MOST_REMARKS])
        self.strip.show_advice(shown[:MOST_REMARKS])

    def look(self, choice: tuple[Any, ...] | None) -> None:
        """Preview a choice, (title, changes) or (title, changes, facts of another model), or leave it."""
        if choice is None:
            self.preview.leave()
        else:
            self.preview.look(*choice)

    def _show_ghost(self, ghost: Ghost | None) -> None:
        now = self._figures
        if ghost is not None and (now is None or not changes_anything(ghost, now)):
            ghost = None
        self.column.show_ghost(ghost)
        self.strip.show_ghost(ghost)

    # -- remarks -------------------------------------------------------------------------------------------
    def _on_advice_looked_at(self, advice: Advice | None) -> None:
        self.look((advice.title, advice.fix) if advice is not None and advice.fix else None)

    def _on_applied(self, advice: Advice) -> None:
        if advice.fix is None:
            return
        self._made = self._state.recipe
        for place in (self.column, self.strip):
            place.show_undo(f"Applied: {advice.title}")
        self.applied.emit(frozenset(advice.fix))

    def _on_undo_requested(self) -> None:
        if self._made is self._state.recipe:
            self._state.undo()

    def _on_values_changed(self, _paths: object) -> None:
        """What was applied can be taken back as long as nothing else was changed since."""
        if self._made is not None and self._made is not self._state.recipe:
            self._made = None
            for place in (self.column, self.strip):
                place.show_undo("")


def _same(first: Advice, second: Advice) -> bool:
    """Say whether two remarks are about the same field, the first that each changes."""
    return bool(first.fix and second.fix and next(iter(first.fix)) == next(iter(second.fix)))
