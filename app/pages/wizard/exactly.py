"""Check exactly: a dry run of the recipe in a child, and its figure beside the formula's."""

from __future__ import annotations

from collections import deque
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app import i18n
from app.pages.wizard.state import WizardState
from app.widgets.button import button
from app.widgets.label import ElidedLabel, TextLabel
from app.widgets.meter import Meter
from engine.errors import EngineError
from engine.runs import exact
from engine.runs.exact import Check, Exact

POLL_MS = 150
KEPT = 8
ABOUT = "Goes through two steps of this very recipe on tensors without values: seconds, no weights, no GPU."


class Exactly(QObject):
    """Starts, follows and ends one dry run at a time; its answer holds for the recipe it was made for.

    Signals:
        changed: a check began, went on or ended, or another answer holds now.
    """

    changed = Signal()

    def __init__(self, state: WizardState) -> None:
        super().__init__(state)
        self._state = state
        self._check: Check | None = None
        self._starting = self._cancelled = False
        self._asked: tuple[Any, ...] = ()
        self._answers: deque[tuple[tuple[Any, ...], Exact]] = deque(maxlen=KEPT)
        self._timer = QTimer(self, interval=POLL_MS)
        self._timer.timeout.connect(self._look)
        state.plan_changed.connect(self.changed)
        if (application := QCoreApplication.instance()) is not None:
            application.aboutToQuit.connect(self.cancel)  # nobody would read its answer

    @property
    def busy(self) -> bool:
        """Say whether a check is going on."""
        return self._starting or self._check is not None

    @property
    def ready(self) -> bool:
        """Say whether there is something to check."""
        return self._state.facts is not None and self._state.plans is not None and not self.busy

    @property
    def stage(self) -> str:
        """Return what the check is doing."""
        return self._check.stage if self._check is not None else "starting"

    @property
    def share(self) -> float:
        """Return how far it is, 0 to 1."""
        return self._check.done / max(1, self._check.total) if self._check is not None else 0.0

    @property
    def answer(self) -> Exact | None:
        """Return what was counted for the recipe as it is, or why it could not be."""
        key = self._key()
        return next((found for asked, found in reversed(self._answers) if asked == key), None)

    @property
    def memory_bytes(self) -> float | None:
        """Return the memory that was counted for the recipe as it is."""
        found = self.answer
        return found.memory_bytes if found is not None and not found.problem else None

    def _key(self) -> tuple[Any, ...]:
        state = self._state
        counts = state.data.counts if state.data is not None and state.data.train_examples else None
        checkpointing = state.plans.now.gradient_checkpointing if state.plans is not None else None
        named = state.recipe.model_copy(update={"name": ""})
        return (named, state.facts.path if state.facts is not None else None, counts, checkpointing)

    def start(self) -> None:
        """Begin to check the recipe as it is."""
        state = self._state
        if not self.ready:
            return
        self._asked = self._key()
        recipe, folder, counts, checkpointing = self._asked
        plan, device = state.plans.now, "cuda" if state.plans.gpu else "cpu"
        self._starting, self._cancelled = True, False
        self.changed.emit()
        state.services.background.run(
            lambda: exact.start(
                recipe,
                folder,
                counts,
                device=device,
                precision=plan.precision,
                checkpointing=checkpointing,
            ),
            self._on_started,
            self._on_refused,
        )

    def cancel(self) -> None:
        """End the check that is going on."""
        self._cancelled = True
        if self._check is not None:
            self._check.cancel()
        self.changed.emit()

    def _on_started(self, check: Check) -> None:
        self._starting, self._check = False, check
        if self._cancelled:
            check.cancel()
        self._timer.start()

    def _on_refused(self, error: EngineError) -> None:
        self._starting = False
        self._answers.append((self._asked, Exact(problem=error.message, hint=error.hint, code=error.code)))
        self.changed.emit()

    def _look(self) -> None:
        if self._check is None:
            return
        found = self._check.read()
        if found is not None:
            self._timer.stop()
            self._check = None
            if not found.cancelled:
                self._answers.append((self._asked, found))
        self.changed.emit()


def exact_words(found: Exact, formula: float) -> str:
    """Return the counted figure beside the formula's (bytes)."""
    if found.problem:
        return f"Could not be checked: {found.problem}"
    away = 100 * (found.memory_bytes / formula - 1) if formula else 0.0
    sign = "+" if away >= 0 else "\u2212"
    return f"Checked exactly: {i18n.size(found.memory_bytes)} ({sign}{i18n.number(abs(away), 1)} %)"


class ExactRow(QWidget):
    """The button below the plan, the progress while it counts, and the answer."""

    def __init__(self, exactly: Exactly, state: WizardState) -> None:
        super().__init__()
        self._exactly, self._state = exactly, state
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        row = QHBoxLayout()
        row.setSpacing(8)
        self.words = TextLabel("", "small_text", wrap=True).make_selectable()
        self.start = button("Check exactly", "flask", compact=True, on_click=exactly.start, tip=ABOUT)
        self.cancel = button(
            "Cancel", kind="ghost", compact=True, name="Cancel the check", on_click=exactly.cancel
        )
        self.stage = ElidedLabel("", "small")
        row.addWidget(self.start)
        row.addWidget(self.stage, 100)
        row.addStretch(1)
        row.addWidget(self.cancel)
        column.addWidget(self.words)
        column.addLayout(row)
        self.meter = Meter(height=4, name="Progress of the check")
        column.addWidget(self.meter)
        exactly.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show what is going on, or what was found."""
        exactly, plans = self._exactly, self._state.plans
        found, busy = exactly.answer, exactly.busy
        self.setVisible(plans is not None)
        self.start.setVisible(not busy and (found is None or bool(found.problem)))
        for widget in (self.cancel, self.stage, self.meter):
            widget.setVisible(busy)
        self.stage.setText(f"{exactly.stage[:1].upper()}{exactly.stage[1:]}…")
        self.meter.set(exactly.share)
        shown = found is not None and plans is not None and not busy
        self.words.setVisible(shown)
        if shown and found is not None and plans is not None:
            self.words.setText(exact_words(found, plans.now.memory_bytes))
            self.words.set_token("warn" if found.problem else "accent")
