"""Resume from the window: what is not as it was is told before the run goes on, in the page itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject

from app.pages.monitor_actions import FROM_ADAPTER
from app.pages.monitor_told import Action, Told
from engine.errors import EngineError
from engine.runs import resume_gate
from engine.runs.resume_gate import Verdict

if TYPE_CHECKING:
    from app.pages.monitor import MonitorPage


class MonitorResume(QObject):
    """Asks the gate off this thread (large files are read); `verdict` waits for an answer of the person."""

    def __init__(self, page: MonitorPage) -> None:
        super().__init__(page)
        self._page = page
        self.verdict: Verdict | None = None
        self.asking: Path | None = None

    def ask(self, values: Mapping[str, Any] | None = None) -> None:
        """Let the run go on, with some values of its recipe otherwise, if nothing speaks against it."""
        watch = self._page.watch
        if watch is None or self.asking is not None:
            return
        folder, wanted = watch.folder, dict(values or {})
        self.asking, self.verdict = folder, None
        self._page.services.background.run(
            lambda: resume_gate.examine(folder, wanted), self._examined, self._failed
        )

    def forget(self) -> None:
        """Ask nothing more."""
        self.verdict = None
        self._page.show_notice()

    def _examined(self, verdict: Verdict) -> None:
        weighty = [each for each in verdict.findings if each.severity != "info"]
        if not weighty:
            self._pass(verdict)
            return
        self.asking = None
        self.verdict = verdict
        self._page.show_notice()

    def _pass(self, verdict: Verdict, anyway: bool = False) -> None:
        folder = verdict.folder
        self.asking, self.verdict = folder, None
        self._page.services.background.run(
            lambda: resume_gate.pass_through(folder, anyway=anyway, verdict=verdict),
            self._passed,
            self._failed,
        )

    def _passed(self, verdict: Verdict) -> None:
        self.asking = None
        try:
            self._page.services.run_queue.resume(verdict.folder)
        except EngineError as error:
            self._failed(error)
            return
        self._page.show_notice()

    def _failed(self, error: EngineError) -> None:
        self.asking = None
        self._page.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)

    # -- what is said ------------------------------------------------------------------------------------
    def told(self) -> Told | None:
        """Return the card that asks, None where nothing is to be asked of the run in front."""
        verdict, watch = self.verdict, self._page.watch
        if verdict is None or watch is None or verdict.folder != watch.folder:
            return None
        stop = verdict.stop()
        first = stop or next(each for each in verdict.findings if each.severity != "info")
        hint = f"{first.hint} Going on anyway: {first.way_on}" if stop and first.way_on else first.hint
        return Told(
            "bad" if stop else "warn",
            first.message,
            hint,
            self._actions(verdict),
            _details(verdict),
            first.code,
        )

    def _actions(self, verdict: Verdict) -> list[Action]:
        actions: list[Action] = []
        if verdict.stop() is None:
            actions.append(("Go on", lambda: self._pass(verdict)))
        elif verdict.stop(anyway=True) is None:
            actions.append(("Go on anyway", lambda: self._pass(verdict, anyway=True)))
        stop = verdict.stop()
        if stop is not None and stop.code == "MODEL-08" and self._page.has_adapter:
            actions.append((FROM_ADAPTER, self._page.run_from_adapter))
        actions.append(("Run again with changes", self._page.run_again))
        return [*actions, ("Not now", self.forget)]


def _details(verdict: Verdict) -> str:
    """Return all that was found, with the tables of before and now."""
    lines = []
    for each in verdict.findings:
        lines.append(f"{each.message} {each.hint} ({each.code})")
        lines += [f"  {what}: {before} -> {now}" for what, before, now in each.table]
    return "\n".join(lines)
