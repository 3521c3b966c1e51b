"""An evaluation that is going on: its child followed, how far it has come, and the card that shows it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication, QHBoxLayout

from app.i18n import number
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import ElidedLabel, TextLabel
from app.widgets.meter import Meter
from app.workers.engine_thread import EngineThread
from engine.errors import EngineError
from engine.events import Event, Progress, Warned
from engine.jobs import process
from engine.runs.eta import spoken_eta

SURE_SECONDS, SURE_SHARE = 8.0, 0.05  # before that the time left is what was foreseen


class Going(QObject):
    """One evaluation with its thread; `plan` are the labels it measures, each with its share of the work.

    Signals:
        changed: it has come further.
        ended: exit.json, or what is known of a crash.
    """

    changed = Signal()
    ended = Signal(dict)

    def __init__(
        self,
        folder: Path,
        plan: Sequence[tuple[str, float]] = (),
        foreseen: float | None = None,
        *,
        start: bool,
        environment: dict[str, str] | None = None,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.folder, self._foreseen = folder, foreseen
        self.stopping = False
        self.warnings: list[str] = []
        self._plan = dict(plan)
        self._done: dict[str, float] = {}
        self._said: Progress | None = None
        self._share = 0.0
        self._began: tuple[float, float] | None = None  # when it was first heard of, and its share then
        self._thread: EngineThread | None = EngineThread(
            folder, start_child=start, environment=environment, parent=self
        )
        self._thread.events_arrived.connect(self._on_events)
        self._thread.restarted.connect(self._done.clear)
        self._thread.ended.connect(self._on_ended)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.look_away)
        self._thread.start()

    @property
    def share(self) -> float:
        """Return how much of it is done, 0 to 1; it never falls."""
        return self._share

    @property
    def seconds_left(self) -> float | None:
        """Return the time left: by its own pace once that is known, before that what was foreseen."""
        if self._began is not None:
            seconds, gained = time.monotonic() - self._began[0], self._share - self._began[1]
            if seconds > SURE_SECONDS and gained > SURE_SHARE:
                return seconds * (1 - self._share) / gained
        return None if self._foreseen is None else self._foreseen * (1 - self._share)

    @property
    def words(self) -> str:
        """Return what is being done."""
        if self.stopping:
            return "Stopping after these questions…"
        if self._said is None:
            return "Loading the model…"
        return f"{self._said.stage} · {number(self._said.done)} of {number(self._said.total)}"

    def stop(self) -> None:
        """Ask the child to keep what is answered and end; asked again, end it at once."""
        if self._thread is None:
            return
        if self.stopping:
            self._thread.cancel_child()
            return
        try:
            process.send(self.folder, "stop")
        except EngineError:
            self._thread.cancel_child()
        self.stopping = True
        self.changed.emit()

    def look_away(self) -> None:
        """Stop following; the child goes on."""
        if self._thread is not None:
            self._thread.stop_watching()

    def _on_events(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Progress) and event.total:
                self._take(event)
            elif isinstance(event, Warned):
                self.warnings.append(event.message)
        self.changed.emit()

    def _take(self, event: Progress) -> None:
        if self._said is not None and self._said.stage != event.stage:
            self._done[self._said.stage] = 1.0
        self._said = event
        self._done[event.stage] = event.done / event.total
        weights = self._plan or {stage: 1.0 for stage in self._done}
        whole = sum(weights.values()) or 1.0
        share = sum(weights.get(stage, 0.0) * part for stage, part in self._done.items()) / whole
        self._share = max(self._share, min(1.0, share))
        if self._began is None:
            self._began = (time.monotonic(), self._share)

    def _on_ended(self, note: dict[str, Any]) -> None:
        if self._thread is not None:
            self._thread.wait(3000)
            self._thread = None
        self.ended.emit(note)


class GoingCard(Card):
    """What is measured now, a bar, the time left, and the way to end it.

    Signals:
        cancel_requested: it is to end.
    """

    cancel_requested = Signal()

    def __init__(self) -> None:
        super().__init__(emphasis=True)
        self.setAccessibleName("Evaluation in progress")
        row = QHBoxLayout()
        row.setSpacing(12)
        self.words = ElidedLabel("", "strong")
        self.left = TextLabel("", "small")
        self.cancel = button("Cancel", "x", compact=True, on_click=self.cancel_requested.emit)
        row.addWidget(self.words, 1)
        row.addWidget(self.left)
        row.addWidget(self.cancel)
        self.body.addLayout(row)
        self.meter = Meter(name="Progress of the evaluation")
        self.body.addWidget(self.meter)
        self.note = TextLabel("It goes on when you leave this page or close the window.", "small", wrap=True)
        self.body.addWidget(self.note)

    def show_going(self, going: Going | None) -> None:
        """Show how far it has come; None hides the card."""
        self.setHidden(going is None)
        if going is None:
            return
        self.words.setText(going.words)
        left = going.seconds_left
        self.left.setText("" if going.stopping else spoken_eta(left))
        self.meter.set(going.share)
        self.cancel.setText("End now" if going.stopping else "Cancel")
        self.cancel.setAccessibleName("End it now" if going.stopping else "Cancel the evaluation")
        if going.warnings:
            self.note.setText(f"Left out: {going.warnings[-1]}")
