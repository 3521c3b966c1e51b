"""Tells that a run has ended, waits or is silent: a toast, and a notice of the desktop to who looks away."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtWidgets import QApplication, QMainWindow

from app.desktop import Desktop
from app.i18n import duration, loss, number
from app.room import words_of
from app.services import Services
from app.told import claim
from engine.paths import show_text
from engine.runs import queue

WORDS = {
    "finished": ("{name} has finished.", "ok"),
    "stopped": ("{name} has stopped after saving.", "info"),
    "failed": ("{name} has failed.", "bad"),
    "gone": ("The folder of {name} is gone.", "bad"),
}
LOOK_MS = 10_000
LONG_SECONDS = 30.0  # a job that took longer calls a person back
MOST_TEXT = 400


@dataclass(frozen=True)
class Call:
    """Something that a person who looks away is called for, once for each `key`.

    `needs` says that it waits for them; `page` and `argument` are where a press on it leads.
    """

    key: str
    title: str
    text: str = ""
    needs: bool = False
    page: str = "runs"
    argument: dict[str, Any] | None = None


def job_over(
    services: Services, folder: Path, words: tuple[str, str], needs: bool, page: str, **argument: Any
) -> None:
    """Call for a merge, an export or an evaluation that has ended, where it took more than a moment.

    `folder` is the job's own, `words` are what ended and why it did not end well.
    """
    try:
        seconds = time.time() - (folder / "job.json").stat().st_mtime
    except OSError:
        return
    if services.notices is not None and seconds > LONG_SECONDS:
        services.notices.call(Call(f"job {folder}", *words, needs, page, argument))


class RunNotices(QObject):
    """Follows the run queue; only runs that were seen going are told, not replays of old ones."""

    def __init__(self, window: QMainWindow, services: Services, desktop: Desktop | None = None) -> None:
        super().__init__(window)
        self._window, self._services = window, services
        self._going: dict[str, Any] = {}
        self._waiting: set[str] = set()
        self._ended: list[str] = []  # how those ended that went since nothing was going
        self._called: dict[str, Call] = {}
        self.desktop = desktop or Desktop(window)
        self.desktop.pressed.connect(self._on_pressed)
        services.notices = self
        services.run_queue.changed.connect(self._on_changed)
        services.run_queue.run_ended.connect(self._on_run_ended)
        self._held = services.run_queue.held
        services.run_queue.queue_changed.connect(self._on_queue_changed)
        if services.room is not None:
            services.room.changed.connect(self._on_room)
        self._timer = QTimer(self, interval=LOOK_MS)
        self._timer.timeout.connect(self.look_for_silence)
        self._timer.start()

    def close(self) -> None:
        """Look away: nobody is called any more."""
        self._timer.stop()
        self.desktop.close()

    # -- what is noticed -----------------------------------------------------------------------------------
    def _on_changed(self) -> None:
        for run in self._services.run_queue.active():
            self._going[Path(run.folder).name] = run
            self._look_for_waiting(run)

    def _look_for_waiting(self, run: Any) -> None:
        """Tell once that a run stands still because the disk is full."""
        identity = Path(run.folder).name
        marks = getattr(run, "marks", None)
        waits = marks.waits if marks is not None else None
        if waits is None:
            self._waiting.discard(identity)
        elif identity not in self._waiting:
            self._waiting.add(identity)
            text = f"{run.name} waits: the disk is full."
            cause = f"{waits.message} {waits.hint}"
            if not self._is_in_front(identity):
                self._services.notify(text, "warn", ("Open", self._way_to(run.folder)), cause)
            self._call_for(run, f"waits {waits.attempt} {waits.seq}", text, f"{cause} (DISK-01)", needs=True)

    def look_for_silence(self) -> None:
        """Tell once that a run gives no sign of life (RUN-11)."""
        for run in self._services.run_queue.active():
            seconds = getattr(run, "silent_seconds", 0.0)
            if not seconds or f"silent {run.id}" in self._waiting:
                if not seconds:
                    self._waiting.discard(f"silent {run.id}")
                continue
            self._waiting.add(f"silent {run.id}")
            text = f"{run.name} gives no sign of life."
            cause = f"Nothing was heard of it for {duration(seconds)}. Wait, or stop it. (RUN-11)"
            if not self._is_in_front(run.id):
                self._services.notify(text, "warn", ("Open", self._way_to(run.folder)), cause)
            self._call_for(run, f"silent {run.marks.attempt} {run.marks.moved}", text, cause, needs=True)

    def _on_room(self) -> None:
        """Tell once of each attempt that its disk runs full (F10)."""
        low = self._services.room.low
        key = f"low {low.run.folder.name} {low.run.attempt}" if low is not None else ""
        if low is None or key in self._waiting:
            return
        self._waiting.add(key)
        title, text = words_of(low)
        at_home = getattr(self._window, "page_name", "") == "home"  # it says the same
        if not (at_home or self._is_in_front(low.run.folder.name)):
            self._services.notify(f"{title}.", "warn", ("Open", self._way_to(low.run.folder)), text)
        self.call(Call(key, f"{title}.", text, True, "monitor", {"run": low.run.folder}))

    def _on_queue_changed(self) -> None:
        """Tell that the queue stands still by itself; who put it on hold knows."""
        held, self._held = self._held, self._services.run_queue.held
        if self._held and self._held != held and not self._held.startswith("You "):
            see = ("See the queue", lambda: self._services.navigate("runs", None))
            self._services.notify("The queue is on hold.", "warn", see, self._held)
            self.call(Call(f"held {_queue_stamp()}", "The queue is on hold.", self._held, needs=True))

    def _on_run_ended(self, run: str, ending: dict[str, Any]) -> None:
        going = self._going.pop(run, None)
        if going is None:
            return
        status = str(ending.get("status"))
        words, kind = WORDS.get(status, ("{name} has ended: its process was killed or died.", "bad"))
        text, bad = words.format(name=going.name), kind == "bad"
        cause = " ".join(str(ending.get(key) or "") for key in ("message", "hint")).strip() if bad else ""
        folder = Path(going.folder)
        if not bad or not self._is_in_front(run):  # there the card over it says more
            self._services.notify(text, kind, ("Open", self._way_to(folder)), cause)
        self._ended.append(status)
        code = str(ending.get("code") or "")
        more = [f"{cause} ({code})" if code and bad else cause or _result(going), self._queue_words()]
        self._call_for(going, f"ended {_attempt(going)}", text, " ".join(filter(None, more)), needs=bad)

    def _queue_words(self) -> str:
        """Return how the whole queue ended, where this was the last of several runs."""
        waiting = self._services.run_queue
        if waiting.queued() or any(Path(run.folder).name in self._going for run in waiting.active()):
            return ""
        ended, self._ended = self._ended, []
        if len(ended) < 2:
            return ""
        good = sum(status == "finished" for status in ended)
        return f"The queue is done: {number(good)} of {number(len(ended))} runs finished."

    # -- who is called -------------------------------------------------------------------------------------
    def _call_for(self, run: Any, event: str, title: str, text: str, *, needs: bool) -> None:
        folder = Path(run.folder)
        self.call(Call(f"{folder.name} {event}", title, text, needs, "monitor", {"run": folder}))

    def call(self, call: Call) -> None:
        """Call a person who looks at something else: the task bar marks the window, the desktop says why.

        What was told in a window that is looked at is told, too: nobody is called for it later.
        """
        if call.key in self._called:
            return
        self._called[call.key] = call
        settings = self._services.settings.value
        wanted = settings.notify and (settings.notify_needs if call.needs else settings.notify_finished)
        calls = wanted and not self._is_looked_at()

        def answer(new: bool) -> None:
            if new and calls:
                self._show(call)

        self._services.background.run(partial(claim, call.key), answer)

    def try_out(self) -> None:
        """Show a notice now, whatever is in front."""
        title, text, key = (
            "This is a notice of Tunesmith.",
            "Press it to come back.",
            f"trial {time.time_ns()}",
        )
        self._called[key] = call = Call(key, title, text, page="settings", argument={"section": "notices"})
        self._show(call)

    def _show(self, call: Call) -> None:
        QApplication.alert(self._window)  # until somebody looks at the window
        title = " ".join(show_text(call.title, 200).split())
        self.desktop.show(call.key, title, show_text(call.text, MOST_TEXT))

    def _is_looked_at(self) -> bool:
        """Return whether a window of ours is the one that is used now."""
        return QApplication.activeWindow() is not None and not self._window.isMinimized()

    def _is_in_front(self, run: str) -> bool:
        """Return whether the page of a run is what the person sees now."""
        page = getattr(self._window, "page", None)
        watch = getattr(page, "watch", None) if getattr(self._window, "page_name", "") == "monitor" else None
        return watch is not None and watch.id == run and self._window.isVisible()

    # -- ways back -----------------------------------------------------------------------------------------
    def _on_pressed(self, key: str) -> None:
        call = self._called.get(key)
        if call is not None:
            self._come_back(call.page, call.argument)

    def _way_to(self, folder: Path) -> Callable[[], None]:
        return partial(self._come_back, "monitor", {"run": Path(folder)})

    def _come_back(self, page: str, argument: dict[str, Any] | None) -> None:
        """Bring the window to the front, at a page."""
        minimized = Qt.WindowState.WindowMinimized
        self._window.setWindowState(self._window.windowState() & ~minimized | Qt.WindowState.WindowActive)
        self._window.show()
        self._window.raise_()
        self._window.activateWindow()
        self._services.navigate(page, argument)


def _attempt(run: Any) -> int:
    marks = getattr(run, "marks", None)
    return marks.attempt if marks is not None else 0


def _result(run: Any) -> str:
    """Return what came of a run that ended well."""
    history = getattr(run, "history", None)
    if history is None or not history.step:
        return ""
    best = history.best
    steps = f"{number(history.step)} steps"
    return f"{steps}, best validation {loss(best.loss)} at {number(best.step)}." if best else f"{steps}."


def _queue_stamp() -> int:
    """Return what tells this hold of the queue from others."""
    try:
        return queue.queue_file().stat().st_mtime_ns
    except OSError:
        return time.time_ns()
