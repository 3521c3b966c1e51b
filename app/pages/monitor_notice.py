"""What the card over a run says: what ended it, what it waits for, what to know; and what mends it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.i18n import duration, number, small
from app.pages.monitor_actions import FROM_ADAPTER
from app.pages.monitor_told import Action, Told
from app.room import actions_of, words_of
from app.workers.run_marks import TOLD
from engine.runs.whereabouts import is_trashed

if TYPE_CHECKING:
    from app.pages.monitor import MonitorPage
    from app.workers.run_watch import RunWatch


def told_of(page: MonitorPage) -> Told | None:
    """Return what is to be said over the run in front, the most pressing, None where all is well."""
    watch = page.watch
    if watch is None:
        return None
    found = (_gone, _resuming, _damaged, _ended, _waits, _silent, _held, _low, _copied, _remarked, _slept)
    for say in (*found, _unreadable):
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
        actions.append(("Restore it", lambda: page.place.restore(found)))
    elif isinstance(found, Path):
        actions.append(("Open it there", lambda: page.open_run(found)))
    else:
        actions.append(("Show where it is…", page.place.ask_where))
    actions.append(("Look again", page.place.look_again))
    words = str(ending.get("message") or "The folder of this run is gone.")
    hint = f"{ending.get('hint', '')} What is drawn here was read before."
    return Told("bad", words, hint.strip(), actions, code="RUN-03")


def _resuming(page: MonitorPage, watch: RunWatch) -> Told | None:
    """F36 to F40: what is not as it was, before the run goes on."""
    return page.resuming.told()


def _damaged(page: MonitorPage, watch: RunWatch) -> Told | None:
    """F4: the result of a run that is over is not whole."""
    return page.damage.told()


def _ended(page: MonitorPage, watch: RunWatch) -> Told | None:
    """A run that did not end well."""
    ending = watch.ending
    if ending is None or page.shown_state(watch.state) not in ("failed", "crashed"):
        return None
    step = max((saved.step for saved in watch.history.checkpoints), default=0)
    resume = f"Resume from step {number(step)}" if step else "Start it again"
    title = str(ending.get("message") or "This run failed.")
    hint, code = str(ending.get("hint", "")), str(ending.get("code", ""))
    actions: list[Action] = [(resume, page.actions_bar.resume), ("Run again with changes", page.run_again)]
    if code == "MODEL-08" and page.has_adapter:
        actions.insert(0, (FROM_ADAPTER, page.run_from_adapter))
    if code == "GPU-01":
        actions.reverse()  # the same settings need the same memory
    if code == "RUN-07" and page.recipe is not None:
        rate = page.recipe.training.learning_rate / 2
        halved = partial(page.resuming.ask, {"training.learning_rate": rate})
        actions.insert(0, (f"Resume with learning rate {small(rate)}", halved))
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
    actions: list[Action] = [("Continue", page.actions_bar.go_on), ("Open folder", page.open_folder)]
    low = page.services.room.of(watch.folder) if page.services.room is not None else None
    if low is not None:
        actions += actions_of(low, page.services, page)[:1]
    return Told("warn", waits.message, waits.hint, actions, code=waits.code)


def _low(page: MonitorPage, watch: RunWatch) -> Told | None:
    """F10: room for its saves runs short."""
    low = page.services.room.of(watch.folder) if page.services.room is not None else None
    if low is None or not watch.going:
        return None
    key = f"low {watch.folder} {watch.marks.attempt}"
    actions = [*actions_of(low, page.services, page)[:2], ("Not now", partial(page.put, key))]
    return Told("warn", *words_of(low), actions, code="DISK-01", key=key)


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
        ("Rename this copy…", page.place.rename_copy),
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
