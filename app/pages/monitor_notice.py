"""What the card over a run says: what ended it, what it waits for, what to know; and what mends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.i18n import duration, number
from app.workers.run_marks import TOLD
from engine.runs.whereabouts import is_trashed

if TYPE_CHECKING:
    from app.pages.monitor import MonitorPage
    from app.workers.run_watch import RunWatch

Action = tuple[str, Callable[[], object]]


@dataclass(frozen=True)
class Told:
    """One card: its kind, words and buttons. One with a `key` can be put away for good."""

    kind: str
    title: str
    hint: str = ""
    actions: Sequence[Action] = ()
    details: str = ""
    code: str = ""
    key: str = ""

    def looks(self) -> tuple[str, ...]:
        """Return all that is seen of it, to know whether another card has to be drawn."""
        words = (word for word, _ in self.actions)
        return (self.kind, self.title, self.hint, self.details, self.code, *words)


def told_of(page: MonitorPage) -> Told | None:
    """Return what is to be said over the run in front, the most pressing, None where all is well."""
    watch = page.watch
    if watch is None:
        return None
    for say in (_gone, _ended, _waits, _silent, _held, _copied, _remarked, _slept, _unreadable):
        told = say(page, watch)
        if told is not None and told.key not in page.put_away:
            return told
    return None


def _gone(page: MonitorPage, watch: RunWatch) -> Told | None:
    """F13, F14: the folder was deleted or moved."""
    ending = watch.ending
    if watch.state != "gone" or ending is None:
        return None
    found = ending.get("found")
    actions: list[Action] = []
    if isinstance(found, Path) and is_trashed(found):
        actions.append(("Restore it", lambda: page.restore(found)))
    elif isinstance(found, Path):
        actions.append(("Open it there", lambda: page.open_run(found)))
    else:
        actions.append(("Show where it is…", page.ask_where))
    actions.append(("Look again", page.look_again))
    words = str(ending.get("message") or "The folder of this run is gone.")
    hint = f"{ending.get('hint', '')} What is drawn here was read before."
    return Told("bad", words, hint.strip(), actions, code="RUN-03")


def _ended(page: MonitorPage, watch: RunWatch) -> Told | None:
    """A run that did not end well."""
    ending = watch.ending
    if ending is None or page.shown_state(watch.state) not in ("failed", "crashed"):
        return None
    step = max((saved.step for saved in watch.history.checkpoints), default=0)
    resume = f"Resume from step {number(step)}" if step else "Start it again"
    actions = [(resume, page.actions_bar.resume), ("Run again with changes", page.run_again)]
    title = str(ending.get("message") or "This run failed.")
    hint, code = str(ending.get("hint", "")), str(ending.get("code", ""))
    lost = watch.step - step
    if watch.state == "crashed" and lost > 0 and step:
        many = "step" if lost == 1 else "steps"
        hint = f"Everything up to step {number(step)} is saved. Resume repeats {number(lost)} {many}."
    return Told("bad", title, hint, actions, str(ending.get("words", "")), code)


def _waits(page: MonitorPage, watch: RunWatch) -> Told | None:
    """F8: the disk is full; training waits with its state in memory."""
    waits = watch.marks.waits
    if waits is None or not watch.going:
        return None
    actions = [("Continue", page.actions_bar.go_on), ("Open folder", page.open_folder)]
    return Told("warn", waits.message, waits.hint, actions, code=waits.code)


def _silent(page: MonitorPage, watch: RunWatch) -> Told | None:
    """F18: the child lives and says nothing."""
    if not watch.silent_seconds:
        return None
    phase = f" (phase: {watch.history.phase})" if watch.history.phase else ""
    words = f"No sign of life for {duration(watch.silent_seconds)}{phase}."
    step = max((saved.step for saved in watch.history.checkpoints), default=0)
    saved = f"the save of step {number(step)} stays" if step else "nothing is saved yet"
    hint = f"Wait, or stop it now; {saved}."
    return Told("warn", words, hint, [("Stop now…", page.actions_bar.cancel)], code="RUN-11")


def _held(page: MonitorPage, watch: RunWatch) -> Told | None:
    queue = page.services.run_queue
    if queue is None or not queue.held or watch.folder not in queue.queued():
        return None
    return Told("warn", "The queue is on hold", queue.held, [("Let it go on", queue.release)])


def _copied(page: MonitorPage, watch: RunWatch) -> Told | None:
    """F35: two folders say that they are the same run."""
    if watch.copied_from is None:
        return None
    words = "This folder is a copy of another run that is here too."
    hint = "Give it a name of its own, so that the two are told apart. Both stay as they are."
    actions = [
        ("Rename this copy…", page.rename_copy),
        ("Open the original", lambda: page.open_run(watch.copied_from)),
    ]
    return Told("warn", words, hint, actions, code="RUN-02", key=f"copy {watch.folder}")


def _remarked(page: MonitorPage, watch: RunWatch) -> Told | None:
    """Remarks of the child itself, the most pressing."""
    for code in TOLD:
        told = watch.marks.told.get(code)
        if told is not None and code != "DISK-01":
            key = f"{code} {watch.folder} {told.attempt} {told.seq}"
            if key not in page.put_away:
                actions = [("OK", partial(page.put, key))]
                return Told("warn", told.message, told.hint, actions, "", code, key)
    return None


def _slept(page: MonitorPage, watch: RunWatch) -> Told | None:
    """F17: the computer slept in between."""
    marks = watch.marks
    if not marks.sleeps or not watch.going:
        return None
    key = f"slept {watch.folder} {marks.sleeps}"
    words = f"Paused by the computer for {duration(marks.slept_seconds)}."
    hint = "It was asleep. That time is not counted in speed and time left; nothing is lost."
    return Told("info", words, hint, [("OK", lambda: page.put(key))], key=key)


def _unreadable(page: MonitorPage, watch: RunWatch) -> Told | None:
    """F31, F32: lines of the log that could not be read."""
    lines = watch.unreadable
    if not lines:
        return None
    key = f"RUN-09 {watch.folder}"
    words = "1 line" if lines == 1 else f"{number(lines)} lines"
    title = f"{words} of the log could not be read."
    hint = "Saves are not affected. The curves show every line that is whole."
    return Told("info", title, hint, [("OK", lambda: page.put(key))], code="RUN-09", key=key)
