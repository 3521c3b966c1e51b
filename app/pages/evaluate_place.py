"""Where an evaluation runs: on a free GPU, else a person chooses what to do beside a training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from app.i18n import tr
from engine.runs import gpu_gate
from engine.runs.start_gate import Start

if TYPE_CHECKING:
    from app.pages.evaluate import EvaluatePage

Begin = Callable[[dict[str, str]], None]


class EvaluatePlace(QObject):
    """Asks the gate off this thread; without a known GPU nothing is asked: the child looks itself."""

    def __init__(self, page: EvaluatePage) -> None:
        super().__init__(page)
        self._page = page
        self._begin: Begin | None = None

    def find(self, begin: Begin) -> None:
        """Call `begin` with the environment of the child, once it is known or chosen."""
        machine = self._page.services.hardware.machine
        if machine is None or not machine.devices:
            begin({})
            return
        self._begin = begin
        self._page.services.background.run(gpu_gate.examine, self._on_examined, self._page.say_error)

    def _on_examined(self, found: Start) -> None:
        stop = found.stop()
        if stop is None:
            self._go(found.environment)
            return
        actions = [
            (tr("Use the CPU"), partial(self._go, gpu_gate.ON_CPU)),
            (tr("Start it beside"), partial(self._go, found.environment)),
            (tr("Not now"), self._page.notice.hide),
        ]
        words = tr("Both share its memory and its time, and one of them may run out of memory.")
        self._page.notice.show_notice("warn", stop.message, f"{stop.hint} {words}", actions, "", stop.code)
        self._page.notice.show()

    def _go(self, environment: dict[str, str]) -> None:
        begin, self._begin = self._begin, None
        self._page.notice.hide()
        if begin is not None:
            begin(environment)
