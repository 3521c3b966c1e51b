"""A merge, an export or a check under way: its child followed to its end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.i18n import number, tr
from app.merging import read_result
from app.workers.engine_thread import EngineThread
from engine import paths
from engine.errors import EngineError
from engine.jobs import process
from engine.jobs.spec import JobKind, create_job

# Stage: its words, and from where to where of the bar it goes.
STAGES: dict[str, dict[str, tuple[str, float, float]]] = {
    "merge": {
        "merge": ("Merging tensor by tensor", 0.0, 0.4),
        "check": ("Comparing with base + adapters", 0.4, 1.0),
    },
    "export": {
        "copy": ("Copying", 0.0, 0.6),
        "merge": ("Merging tensor by tensor", 0.0, 0.25),
        "write": ("Writing the file", 0.25, 0.5),
        "read back": ("Reading it back", 0.5, 0.65),
        "ask": ("Asking base + adapter", 0.65, 0.8),
        "answer": ("Comparing the answers", 0.8, 1.0),
        "check": ("Comparing with base + adapter", 0.5, 1.0),
    },
    "certify": {
        "sums": ("Comparing each file with its sum", 0.0, 0.3),
        "check": ("Comparing with base + adapters", 0.3, 1.0),
        "merge": ("Merging tensor by tensor", 0.3, 0.4),
        "read back": ("Reading it back", 0.4, 0.5),
        "ask": ("Asking base + adapter", 0.5, 0.6),
        "answer": ("Comparing the answers", 0.6, 1.0),
    },
}
ENDED = {
    "merge": "The merge ended without a closing note: its process died.",
    "export": "The export ended without a closing note: its process died.",
    "certify": "The check ended without a closing note: its process died.",
}


class MergeGoing(QObject):
    """One job at a time.

    Signals:
        progressed: what is being done, and how far it has come, 0 to 1; it never falls.
        ended: the kind with its answer, or None where it was cancelled.
        failed: the kind, the error, and the last the child wrote.
    """

    progressed = Signal(str, float)
    ended = Signal(str, object)
    failed = Signal(str, object, str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.folder: Path | None = None
        self.kind: JobKind = "merge"
        self._thread: EngineThread | None = None
        self._note: dict[str, Any] = {}
        self._share = 0.0
        self._asked_to_stop = False
        self._begun = False

    @property
    def busy(self) -> bool:
        """Return whether a job goes on."""
        return self._thread is not None

    def start(self, kind: JobKind, arguments: dict[str, Any], name: str) -> None:
        """Start a job in a child; raises EngineError DISK-* when it cannot be written down."""
        self.folder = paths.jobs_dir() / f"{kind}-{paths.slug(name)}-{time.time_ns():x}"
        self.kind, self._note, self._share = kind, {}, 0.0
        self._asked_to_stop = self._begun = False
        create_job(kind, arguments, self.folder, name=f"{kind.capitalize()} {name}")
        self._thread = EngineThread(self.folder, start_child=True, parent=self)
        self._thread.events_arrived.connect(self._on_events)
        self._thread.ended.connect(self._note.update)
        self._thread.finished.connect(self._on_finished)
        self._thread.start()

    def cancel(self) -> None:
        """End it between two tensors or prompts; at once while it has written nothing, or asked again."""
        if self._thread is None or self.folder is None:
            return
        if self._asked_to_stop or not self._begun:
            self._thread.cancel_child()
            return
        self._asked_to_stop = True
        try:
            process.send(self.folder, "stop")
        except EngineError:
            self._thread.cancel_child()
        self.progressed.emit(tr("Stopping"), self._share)

    def look_away(self) -> None:
        """Stop following; the child goes on."""
        if self._thread is not None:
            self._thread.stop_watching()

    def _on_events(self, events: list[Any]) -> None:
        for event in events:
            if event.type != "progress":
                continue
            self._begun = True
            if self._asked_to_stop:
                continue
            words, begin, end = STAGES[self.kind].get(event.stage, (event.stage, self._share, self._share))
            done = event.done / event.total if event.total else 0.0
            self._share = max(self._share, begin + (end - begin) * min(1.0, done))
            count = number(event.done)
            if event.stage == "sums":
                said = tr(words)
            elif event.total:
                said = f"{tr(words)} · {count} / {number(event.total)}"
            else:
                said = f"{tr(words)} · {count}"
            self.progressed.emit(said, self._share)

    def _on_finished(self) -> None:
        assert self._thread is not None and self.folder is not None
        self._thread.deleteLater()
        self._thread = None
        status = self._note.get("status")
        if status == "finished":
            answer = read_result(self.folder)
            if answer is not None:
                self.ended.emit(self.kind, answer)
                return
            self._note = {"message": tr("It left no answer."), "hint": tr("Try again."), "code": "DISK-03"}
        elif status == "stopped":
            self.ended.emit(self.kind, None)
            return
        crashed = status == "crashed"
        message = tr(ENDED[self.kind]) if crashed else self._note.get("message") or tr("It ended.")
        hint = tr("There may be too little memory. Nothing half made is left.")
        error = EngineError(
            message,
            hint if crashed else self._note.get("hint", ""),
            self._note.get("code") or "APP-01",
            file=self._note.get("file"),
        )
        self.failed.emit(self.kind, error, str(self._note.get("words", "")))
