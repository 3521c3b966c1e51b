"""Handing the recipe over: a start waits for its checks and becomes one run, or several with other seeds."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.i18n import duration
from app.pages.wizard.review_step import ReviewStep
from app.pages.wizard.state import WizardState
from app.services import Services
from engine.errors import EngineError
from engine.paths import runs_dir
from engine.recipe.recipe import Recipe
from engine.runs.seeds import SEEDS, seconds_of_all, with_seeds


class Launch(QObject):
    """Starts what the review has found in order.

    Signals:
        said: words for the footer, and whether they tell of a fault.
        blocked: the Check that stands in the way.
        launched: the folder of the first run.
    """

    said = Signal(str, bool)
    blocked = Signal(object)
    launched = Signal(object)

    def __init__(self, state: WizardState, review: ReviewStep) -> None:
        super().__init__(state)
        self._state, self._review = state, review
        self._waiting = 0  # how many runs start once the checks are made
        self._busy = False
        review.checks_changed.connect(self._on_checks_changed)
        review.seeds_requested.connect(lambda: self.start(SEEDS))

    def start(self, count: int = 1) -> None:
        """Put the recipe into the queue, `count` times with a seed of its own, unless a check forbids it."""
        review = self._review
        self._waiting = 0 if review.checked else count
        if self._waiting:
            self.said.emit("Starts as soon as the checks are made…", False)
            review.shown()
        elif review.blocking:
            self.blocked.emit(review.blocking[0])
        elif self._state.services.run_queue is not None and not self._busy:
            self._busy = True
            folders = self._submit(self._state.recipe, count)
            self._busy = False
            if folders:
                self.launched.emit(folders[0])

    def forget(self) -> None:
        """What waited for its checks is not started any more: the person went on with something else."""
        self._waiting = 0

    def _on_checks_changed(self) -> None:
        if self._waiting and self._review.checked:
            self.start(self._waiting)

    def _submit(self, recipe: Recipe, count: int) -> list[Path]:
        """Return the folders of the runs that were made; what was refused is said."""
        services, folders = self._state.services, []
        try:
            for each in with_seeds(recipe, count) if count > 1 else [recipe]:
                folders.append(runs_dir() / services.run_queue.submit(each))
        except EngineError as error:
            self.said.emit(f"{error.message} {error.hint}".strip(), True)
            services.notify(error.message, "bad", hint=error.hint)
        if len(folders) > 1:
            services.notify(f"{len(folders)} runs are in the queue.", "ok", hint=self._time_of(recipe, count))
        return folders

    def _time_of(self, recipe: Recipe, count: int) -> str:
        plans, machine = self._state.plans, self._state.services.hardware.machine
        if plans is None or not plans.now.seconds:
            return ""
        devices = len(machine.devices) if machine is not None else 0
        return f"About {duration(seconds_of_all(plans.now.seconds, recipe, devices, count))} in all."


def start_words(services: Services) -> str:
    """Say whether a start begins at once or waits for its device."""
    return "Add to the queue" if getattr(services.run_queue, "busy", False) else "Start training"
