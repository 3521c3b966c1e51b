"""Evaluations that are started, followed and ended from the page, one a run at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.pages.evaluate_choice import ChoicePanel, plan_of
from app.pages.evaluate_going import Going
from engine.runs.evaluation_offers import Offers
from engine.runs.evaluations import Evaluation, create_evaluation


class Measuring(QObject):
    """What goes on, by run; it goes on without the page.

    Signals:
        changed: the evaluation of a run has come further.
        ended: the run, the folder of its evaluation, and exit.json or what is known of a crash.
    """

    changed = Signal(object)
    ended = Signal(object, object, dict)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.goings: dict[Path, Going] = {}

    def of(self, run: Path | None) -> Going | None:
        """Return the evaluation of a run that is going on."""
        return self.goings.get(run) if run is not None else None

    def start(
        self, run: Path, choice: ChoicePanel, files: dict[str, Path], environment: dict[str, str]
    ) -> None:
        """Start what is chosen in a child, where its `environment` says.

        Raises EngineError where its folder cannot be made.
        """
        names = choice.names
        folder = create_evaluation(
            choice.target,
            names,
            run=run,
            base_too=choice.base_too,
            files={name: file for name, file in files.items() if name in names},
            limit=choice.limit,
            seed=choice.seed,
        )
        self.follow(run, folder, choice.plan(), choice.seconds(), start=True, environment=environment)

    def go_on(self, run: Path, evaluation: Evaluation, offers: Offers, environment: dict[str, str]) -> None:
        """Ask what an evaluation that did not come to its end has not yet asked."""
        plan = plan_of(offers.of(evaluation.benchmarks), None, 2)
        self.follow(run, evaluation.folder, plan, start=True, environment=environment)

    def follow(
        self,
        run: Path,
        folder: Path,
        plan: Sequence[tuple[str, float]] = (),
        foreseen: float | None = None,
        *,
        start: bool = False,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Follow the child that works in a folder, or start it first."""
        going = Going(folder, plan, foreseen, start=start, environment=environment, parent=self)
        self.goings[run] = going
        going.changed.connect(lambda: self.changed.emit(run))
        going.ended.connect(lambda note: self._on_ended(run, note))

    def look_away(self) -> None:
        """Stop following; the children go on."""
        for going in self.goings.values():
            going.look_away()

    def _on_ended(self, run: Path, note: dict[str, object]) -> None:
        going = self.goings.pop(run)
        going.deleteLater()
        self.ended.emit(run, going.folder, note)
