"""Python's collector of cycles, kept in the window's thread.

Left to itself it runs in whichever thread happens to allocate, and would destroy widgets there.
What is there for as long as the window (modules, pages) is put where it does not look: 0.1 s each time else.
"""

from __future__ import annotations

import gc
import sys

from PySide6.QtCore import QObject, QTimer

COLLECT_MS = 5000
WHOLE_EVERY = 12
# A worker that computes gives Python's lock up after so long. The window asks for it anew after each call
# into Qt that let it go, at a paint hundreds of times; the usual 5 ms each would be felt.
SWITCH_SECONDS = 5e-4


class Collector(QObject):
    """Collects now and then from its own thread; automatic collection is off while it lives."""

    lives = False

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._rounds = 0
        gc.disable()
        Collector.lives = True
        sys.setswitchinterval(SWITCH_SECONDS)
        self._timer = QTimer(self)
        self._timer.setInterval(COLLECT_MS)
        self._timer.timeout.connect(self.collect)
        self._timer.start()

    def collect(self) -> None:
        """Collect young objects, and from time to time all."""
        self._rounds += 1
        gc.collect(2 if self._rounds % WHOLE_EVERY == 0 else 1)


def keep_what_stands() -> None:
    """Look no more through what is there now; nothing happens without a Collector, as in tests."""
    if Collector.lives:
        gc.freeze()
