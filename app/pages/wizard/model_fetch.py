"""A model on its way to this computer: how far it is, a stop, what went wrong, in its page's notice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from app import i18n
from app.services import Services
from app.widgets.notice import Notice
from engine.errors import EngineError
from engine.hub import Progress

LOOK_MS = 150
GOES_ON = "It goes on while you fill the next steps."


class ModelFetch(QObject):
    """Brings one model at a time.

    Signals:
        brought: what was brought, as it was called.
    """

    brought = Signal(str)

    def __init__(self, notice: Notice, services: Services, parent: QObject) -> None:
        super().__init__(parent)
        self.what = ""  # on its way, empty for nothing
        self._notice = notice
        self._services = services
        self._told: dict[str, Any] = {}  # written in the background
        self._timer = QTimer(self, interval=LOOK_MS)
        self._timer.timeout.connect(self._tell)

    def begin(self, what: str, act: Callable[[Progress], Path], then: Callable[[], object]) -> None:
        """Call `act` in the background with what hears of its progress, then `then` here."""
        if self.what:
            return
        self.what, told = what, self._told
        told.clear()

        def progress(done: int, total: int) -> None:
            # Called in the background: nothing of Qt may be touched.
            if told.get("stop"):
                raise EngineError(
                    "The download was stopped.", "What is here is kept for the next time.", "HUB-02"
                )
            told["bytes"] = (done, total)

        def done(_folder: object) -> None:
            self._end()
            self._notice.hide()
            then()
            self.brought.emit(what)

        def failed(error: EngineError) -> None:
            self._end()
            self._notice.show_error(error, [("Try again", lambda: self.begin(what, act, then))])
            self._notice.show()

        self._notice.show_notice(
            "info", f"Bringing {what} to this computer…", GOES_ON, [("Stop", self._on_stop_pressed)]
        )
        self._notice.show()
        self._timer.start()
        self._services.background.run(lambda: act(progress), done, failed)

    def _on_stop_pressed(self) -> None:
        self._told["stop"] = True
        self._notice.set_text("Stopping…")

    def _tell(self) -> None:
        if "bytes" in self._told and "stop" not in self._told:
            here, total = (i18n.size(count) for count in self._told["bytes"])
            self._notice.set_text(f"{here} of {total} are here. {GOES_ON}")

    def _end(self) -> None:
        self.what = ""
        self._timer.stop()
