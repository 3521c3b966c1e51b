"""Follow a job's events on the command line, until it ends or a person presses Ctrl-C."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.events import END_TYPES, Unknown, encode
from engine.jobs import lock, process
from engine.runs import seals
from engine.runs.ending import without_note
from engine.runs.event_log import EventReader
from engine.verbs import spoken

POLL_SECONDS = 0.1
REFUSED = 2  # what a child ends with that did not begin: another one works in its folder
QUIET = ("hardware", "heartbeat", "progress", "answers_examined", "effect_measured")
CRASH_GRACE_SECONDS = 1.0


def say(event: Any) -> str:
    """Return an event as one line for a person."""
    kind = event.type
    if kind == "step":
        loss = "not a number" if event.loss is None else f"{event.loss:.4f}"
        rate = event.tokens / event.seconds if event.seconds else 0.0
        place = f"step {event.step}/{event.total_steps}"
        return f"{place}  loss {loss}  lr {event.learning_rate:.2e}  {rate:,.0f} tok/s"
    if kind == "evaluated":
        loss = "not a number" if event.loss is None else f"{event.loss:.4f}"
        return f"step {event.step}  validation loss {loss}" + ("  (best)" if event.is_best else "")
    if kind == "sample_generated":
        return f"step {event.step}  {event.prompt[-80:]!r} -> {event.text[:200]!r}"
    if kind in ("warned", "failed"):
        return f"{event.code}: {event.message} {event.hint}"
    if kind == "sealed":
        return f"step {event.step}  seals: {seals.in_words(event.seals)}"
    if kind == "log":
        return str(event.message)
    fields = event.model_dump(exclude={"type", "time", "mono", "attempt", "seq", "versions", "terms"})
    return f"{kind}  " + "  ".join(f"{k} {v}" for k, v in fields.items() if v not in (None, "", {}))


class Follower:
    """Prints what comes in; `as_json` prints each event as its line."""

    def __init__(self, folder: Path, as_json: bool, *, from_start: bool = True) -> None:
        self._folder = folder
        self._reader = EventReader(folder)
        self._as_json = as_json
        self.last: Any = None
        if not from_start:
            self._reader.read_new()

    def show(self) -> list[Any]:
        """Print what is new, and return it."""
        events = self._reader.read_new()
        for event in events:
            if event.type in END_TYPES:
                self.last = event
            elif event.type == "started":
                self.last = None
            if self._as_json:
                sys.stdout.write(encode(event).decode())
            elif event.type not in QUIET and not isinstance(event, Unknown):
                spoken.say(say(event))
        sys.stdout.flush()
        return events

    def until(self, answered: Any, alive: Any) -> int:
        """Print until an event is the answer, or the job is over. Returns 0 when it was answered, else 1."""
        lives = True
        while lives:
            lives = alive()  # asked before reading: what a child wrote before its end is then read whole
            if any(answered(event) for event in self.show()):
                return 0
            time.sleep(POLL_SECONDS)
        return 1

    def until_end(self, alive: Any) -> int:
        """Print until the job is over; `alive` tells whether its child lives. Returns the exit code."""
        while alive():
            self.show()
            time.sleep(POLL_SECONDS)
        self.show()
        if self.last is None:
            words = process.last_words(self._folder).strip().split("\n")[-1]
            told = without_note(self._folder, words=words[:200])
            raise CrashError(
                told.message, f"{told.hint} `tunesmith resume {self._folder.name}` does that.", told.code
            )
        return 0 if self.last.type in ("finished", "stopped") else 1


class CrashError(EngineError):
    """The child died without a word; the command ends with 1, not 2."""


def follow_child(child: process.JobProcess, as_json: bool, *, from_start: bool = True) -> int:
    """Follow a child started here; Ctrl-C asks it to save and end, and the answer is 130."""
    follower = Follower(child.folder, as_json, from_start=from_start)
    try:
        return follower.until_end(lambda: child.poll() is None)
    except CrashError as error:
        if child.poll() == REFUSED and process.is_alive(child.folder):
            raise lock.taken(child.folder) from error  # another one was quicker
        raise
    except KeyboardInterrupt:
        process.send(child.folder, "stop")
        try:
            follower.until_end(lambda: child.poll() is None)
        except KeyboardInterrupt:
            child.kill()
        return 130


def follow_folder(folder: Path, as_json: bool, *, from_start: bool) -> int:
    """Follow a job that somebody else started; Ctrl-C only ends the looking."""
    follower = Follower(folder, as_json, from_start=from_start)
    try:
        return follower.until_end(lambda: process.is_alive(folder))
    except KeyboardInterrupt:
        return 130
