"""What another longest length would need, asked while the cut line is being drawn."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from app import i18n
from app.pages.wizard.inquiries import plan_at_length
from app.pages.wizard.state import WizardState
from app.widgets.length_plan import LengthPlan
from engine.errors import EngineError


class LengthPreview(QObject):
    """Plans one length after the other; while one is being planned only the newest of the next is kept.

    Signals:
        known: (longest length in tokens, memory in bytes).
    """

    known = Signal(int, float)

    def __init__(self, state: WizardState) -> None:
        super().__init__(state)
        self._state = state
        self._wanted: int | None = None
        self._asked: tuple[Any, ...] | None = None
        self._last: tuple[tuple[Any, ...], float] | None = None
        self._busy = False

    def settled(self) -> bool:
        """Say whether nothing is being planned."""
        return not self._busy

    def ask(self, limit: int) -> None:
        """Plan this length; what was asked for before and not begun is forgotten."""
        self._wanted = limit
        if not self._busy:
            self._begin()

    def ask_once(self, limit: int) -> None:
        """Plan this length unless the same was asked for last, of the same recipe and data."""
        key = self._key(limit)
        if key != self._asked:
            self._asked = key
            self.ask(limit)

    def memory_at(self, limit: int | None) -> float | None:
        """Return the memory (bytes) of the length planned last, of recipe and data as they are now."""
        known = self._last is not None and limit is not None and self._last[0] == self._key(limit)
        return self._last[1] if known and self._last is not None else None

    def _key(self, limit: int) -> tuple[Any, ...]:
        state = self._state
        return (limit, state.recipe, id(state.data), id(state.facts), state.services.hardware.machine)

    def _begin(self) -> None:
        state, limit = self._state, self._wanted
        self._wanted = None
        recipe, facts, data, machine = state.recipe, state.facts, state.data, state.services.hardware.machine
        if limit is None or facts is None or data is None:
            return
        self._busy = True
        key = self._key(limit)

        def taken(plan: Any) -> None:
            self._busy = False
            self._last = (key, float(plan.memory_bytes))
            self.known.emit(limit, float(plan.memory_bytes))
            self._begin()

        def failed(error: EngineError) -> None:
            self._busy = False
            self._begin()

        work = (recipe, facts, data, machine, limit)
        state.services.background.run(lambda: plan_at_length(*work), taken, failed)


def show_length_plan(view: LengthPlan, state: WizardState, limit: int, memory: float | None) -> None:
    """Show the plan of the recipe; hatched is what `limit` needs more (`memory` in bytes, None: unknown)."""
    plans = state.plans
    if plans is None:
        view.show_waiting("Known once model and data are read.")
        return
    now = plans.now
    note = ""
    if memory is not None and memory > now.memory_bytes * 1.001:
        more = i18n.size(memory - now.memory_bytes)
        note = f"hatched: +{more} if the limit goes to {i18n.number(limit)}"
    elif memory is not None and memory < now.memory_bytes * 0.999:
        # Beyond what the device holds, the plan turns to recomputing, which needs less.
        note = (
            f"{i18n.size(memory)} if the limit goes to {i18n.number(limit)}: layers are then computed twice"
        )
    parts = [f"about {i18n.duration(now.seconds)}" if now.seconds else ""]
    parts.append(f"{i18n.number(now.steps)} steps" if now.steps else "")
    whole = "\n".join(filter(None, (note, " · ".join(filter(None, parts)))))
    view.show_memory(now.memory_bytes, now.device_memory_bytes, memory, whole, now.verdict)


def show_pulled_plan(view: LengthPlan, state: WizardState, limit: int, memory: float) -> None:
    """Show what the length under the pointer needs, and how much more or less than the present one."""
    plans = state.plans
    if plans is None:
        return
    now = plans.now.memory_bytes
    sign = "+" if memory >= now else "−"
    note = f"{sign}{i18n.size(abs(memory - now))} at {i18n.number(limit)} tokens"
    view.show_memory(min(memory, now), plans.now.device_memory_bytes, max(memory, now), note)
    view.memory.setText(i18n.size(memory))
