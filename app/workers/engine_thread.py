"""The thread beside a run: starts its child or finds it going, reads what it writes, and notices its end."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QSemaphore, QThread, Signal

from engine import durable
from engine.errors import EngineError
from engine.jobs import process
from engine.jobs.lock import FolderLock
from engine.jobs.process import JobProcess
from engine.runs import store, whereabouts
from engine.runs.advance import Started
from engine.runs.ending import without_note
from engine.runs.event_log import NAME, EventReader, preview
from engine.runs.fsck import fsck

log = logging.getLogger(__name__)

GATHER_MS = 100
LOOK_SECONDS = 0.3  # how often it is looked whether the child lives
CHUNK_EVENTS = 1000
ON_THE_WAY = 2
BREATH_MS = 6  # between chunks of a long file, so that the window keeps its pace
PREVIEW_BYTES = 4 << 20
OVER = ("finished", "stopped", "failed", "crashed", "gone")


class EngineThread(QThread):
    """Watches one run folder; the same for a child it starts, one that is going, and one long finished.

    `begun` is a child that the queue has just started: it does not hold its folder yet.

    Ending the thread does not end the child: `stop_watching` only looks away.

    Signals:
        preview_arrived: events that show the shape of a long file, before it is read whole.
        events_arrived: the events of about a tenth of a second, in order, each once.
        restarted: the file was replaced; what arrived before no longer holds.
        caught_up: everything that lay in the file when the thread began has arrived.
        state_changed: running, paused, finished, stopped, failed, crashed, queued or gone (its folder).
        ended: exit.json with "status", and for a crash with "words", the last of child.log; for a folder
            that is gone with "found", where it lies now, or None.
        unreadable: how many lines of the log could not be read so far.
    """

    preview_arrived = Signal(list)
    events_arrived = Signal(list)
    restarted = Signal()
    caught_up = Signal()
    state_changed = Signal(str)
    ended = Signal(dict)
    unreadable = Signal(int)

    def __init__(
        self,
        folder: Path,
        *,
        start_child: bool = False,
        begun: Started | None = None,
        environment: dict[str, str] | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.folder, self._environment = folder, environment
        self.child = begun.child if begun is not None else None
        self._start_child = start_child
        self._cancel_asked = False
        self._paused = False
        self._state = ""
        self._caught_up = False
        self._identity: whereabouts.Identity | None = None
        self._missed = 0
        self.copied_from: Path | None = None
        self._note_before: dict[str, Any] | None = begun.note_before if begun is not None else None
        # What arrived and is not taken yet: a long file must not pile up in front of a busy window.
        self._room = QSemaphore(ON_THE_WAY)
        self.events_arrived.connect(self._on_taken)

    def stop_watching(self, milliseconds: int = 3000) -> bool:
        """Look away and wait for the thread to end; the child goes on."""
        self.requestInterruption()
        return self.wait(milliseconds)

    def adopt(self, begun: Started) -> None:
        """Take a child that was started while this thread looks on at a run that waits."""
        self._note_before = begun.note_before
        self.child = begun.child

    def cancel_child(self) -> None:
        """End the child at once, without a save; the thread does it and then says `ended`."""
        self._cancel_asked = True

    def run(self) -> None:
        try:
            self._watch()
        except EngineError as error:
            self._tell("failed")
            self.ended.emit({"status": "failed", **error.as_dict()})
        except Exception as error:  # one of the doors: the window shows it, the run itself is not touched
            log.exception("watching %s ended", self.folder)
            self._tell("failed")
            words = f"Watching this run ended unexpectedly ({type(error).__name__})."
            self.ended.emit(EngineError(words, "Open it again; the run itself is not touched.").as_dict())

    def _watch(self) -> None:
        if self._start_child:
            self._note_before = process.exit_of(self.folder)
            self.child = process.start(self.folder, environment=self._environment)
            self._tell("running")
        reader = EventReader(self.folder)
        self._identity = whereabouts.identity(self.folder)
        self.copied_from = whereabouts.original_of(self.folder)
        self._show_preview()
        alive, looked, skipped, child = True, 0.0, 0, self.child
        while not self.isInterruptionRequested():
            if self._cancel_asked:
                self._kill()
            # Asked before reading: what a child wrote before its end is then read whole.
            if time.monotonic() - looked > LOOK_SECONDS:
                if self._is_gone():
                    self._tell_gone()
                    return
                child = self.child
                alive, looked = self._is_alive(), time.monotonic()
            if child is not self.child:  # adopted since that look
                alive, child = True, self.child
            restarts = reader.restarts
            events = reader.read_new(CHUNK_EVENTS)
            if reader.restarts != restarts:
                self._caught_up = False
                self.restarted.emit()
            if reader.skipped != skipped:
                skipped = reader.skipped
                self.unreadable.emit(skipped)
            if events:
                self._follow_pauses(events)
                if not self._wait_for_room():
                    return
                self.events_arrived.emit(events)
            if len(events) == CHUNK_EVENTS:
                self.msleep(BREATH_MS)
                continue
            if not self._caught_up:
                self._caught_up = True
                self.caught_up.emit()
            if not self._missed and self._look_for_end(alive, child):
                return
            self.msleep(GATHER_MS)

    def _wait_for_room(self) -> bool:
        """Wait until the window took what is on the way; False when the thread is to end."""
        while not self._room.tryAcquire(1, GATHER_MS):
            if self.isInterruptionRequested():
                return False
        return True

    def _on_taken(self) -> None:
        self._room.release()

    def _show_preview(self) -> None:
        path = self.folder / NAME
        if path.is_file() and path.stat().st_size > PREVIEW_BYTES:
            self.preview_arrived.emit(preview(self.folder))

    def _is_alive(self) -> bool:
        # A child just started does not hold the lock yet.
        return (self.child is not None and self.child.poll() is None) or process.is_alive(self.folder)

    def _is_gone(self) -> bool:
        """Return whether the folder has been gone for two looks: a share may be away for a moment."""
        self._missed = self._missed + 1 if whereabouts.is_gone(self.folder, self._identity) else 0
        return self._missed >= 2

    def _tell_gone(self) -> None:
        """Say that the folder was deleted or moved, and where it lies now."""
        ending = whereabouts.ending_of_gone(self.folder, self._identity)
        self._tell("gone")
        self.ended.emit(ending)

    def _follow_pauses(self, events: list[Any]) -> None:
        for event in events:
            if event.type in ("started", "paused", "resumed"):
                self._paused = event.type == "paused"

    def _look_for_end(self, alive: bool, child: JobProcess | None) -> bool:
        """Tell the state; return whether the run is over and read whole."""
        if alive:
            self._tell("paused" if self._paused else "running")
            return False
        state = self._state_of_dead(child)
        if state not in OVER:
            self._tell(state)
            return False
        if state == "crashed" and self._cancel_asked:
            state = self._note_cancel()
        self._tell(state)
        self.ended.emit(self._ending(state))
        return True

    def _state_of_dead(self, child: JobProcess | None) -> str:
        # Not of `self.child`: one that was adopted meanwhile has not been looked at yet.
        state = store.state_of(self.folder)
        if child is not None and state != "finished":
            note = process.exit_of(self.folder)
            if note is None or (note == self._note_before and self._note_before is not None):
                return "crashed"
        return state

    def _ending(self, state: str) -> dict[str, Any]:
        note = process.exit_of(self.folder) if state != "crashed" else None
        if note is not None:
            return {**note, "status": state, "words": process.last_words(self.folder)}
        told = without_note(self.folder, None if self.child is None else self.child.poll())
        return {
            "status": "crashed",
            "code": told.code,
            "message": told.message,
            "hint": told.hint,
            "words": "\n".join(filter(None, (self._left_behind(), process.last_words(self.folder)))),
        }

    def _left_behind(self) -> str:
        """Return what a child that was cut off left unfinished or damaged, a line each."""
        return fsck(self.folder, thorough=False).as_text()

    def _kill(self) -> None:
        if self.child is not None:
            self.child.kill()
        else:
            process.kill(self.folder)

    def _note_cancel(self) -> str:
        """Leave the closing note that a killed child could not; the lock makes sure that nobody else does."""
        with FolderLock(self.folder):
            note = {
                "status": "stopped",
                "code": "",
                "message": "Cancelled; what came after the last save is gone.",
                "hint": "Resume goes on from the last save.",
                "cancelled": True,
                "time": time.time(),
            }
            durable.write_json(self.folder / "exit.json", note)
        return "stopped"

    def _tell(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self.state_changed.emit(state)
