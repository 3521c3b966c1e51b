"""The result of a run that is over, read again when the run is opened; what to do where it is damaged."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from app.i18n import number
from app.pages.monitor_told import Action, Told
from engine.errors import EngineError
from engine.paths import show_name
from engine.runs import result
from engine.runs.fsck import Report, fsck
from engine.runs.result import Verdict

if TYPE_CHECKING:
    from app.pages.monitor import MonitorPage

READ_AGAIN = ("finished", "crashed")


class MonitorDamage(QObject):
    """Reads off this thread; `verdict` is what was found of the run in front, None while nothing is known."""

    def __init__(self, page: MonitorPage) -> None:
        super().__init__(page)
        self._page = page
        self.verdict: Verdict | None = None
        self.reading: Path | None = None
        self._of: Path | None = None

    def look(self) -> None:
        """Read the result of the run in front again, whole."""
        watch = self._page.watch
        if watch is None or watch.state not in READ_AGAIN or self.reading == watch.folder:
            return
        if self._of != watch.folder:
            self._of, self.verdict = watch.folder, None
        self.reading = watch.folder
        self._page.services.background.run(_reading(watch.folder), self._on_read, self._on_failed)

    def _on_read(self, answer: tuple[Path, Verdict | None]) -> None:
        folder, verdict = answer
        if self.reading == folder:
            self.reading = None
        if self._page.watch is not None and self._page.watch.folder == folder:
            self._of, self.verdict = folder, verdict
            self._page.show_damage()

    def _on_failed(self, error: EngineError) -> None:
        self.reading = None
        self._page.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)

    def told(self) -> Told | None:
        """Return the card over a run whose result is damaged."""
        watch, verdict = self._page.watch, self.verdict
        if watch is None or verdict is None or not verdict.problem or self._of != watch.folder:
            return None
        if watch.state not in READ_AGAIN:
            return None  # it is being made again
        actions: list[Action] = [("Read it again", self.look)]
        if verdict.step:
            hint = (
                f"The save of step {number(verdict.step)} is sound: the result is made again from it. "
                "What is damaged is kept in quarantine. Until then it cannot be used."
            )
            actions.insert(0, (f"Make it again from step {number(verdict.step)}", self.mend))
        else:
            hint = "No save of it is whole. Start again with the same recipe; curves and answers remain."
            actions.insert(0, ("Run again with changes", self._page.run_again))
        title = f"The result of this run is damaged: {show_name(verdict.problem, 200)}."
        return Told("bad", title, hint, actions, f"{watch.folder / verdict.name}", "MODEL-02")

    def mend(self) -> None:
        """Move what is damaged into quarantine, then let the run go on from its save to its end."""
        watch = self._page.watch
        if watch is not None:
            work = partial(fsck, watch.folder, repair=True)
            self._page.services.background.run(work, self._on_mended, self._on_failed)

    def _on_mended(self, _report: Report) -> None:
        self.verdict = None
        self._page.show_damage()
        self._page.resuming.ask()


def _reading(folder: Path) -> Callable[[], tuple[Path, Verdict | None]]:
    """Return the work without any Qt object in it."""
    return lambda: (folder, result.verify(folder))
