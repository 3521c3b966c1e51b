"""Python's collector of cycles, kept in the window's thread.

Left to itself it runs in whichever thread happens to allocate, and would destroy widgets there.
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

COLLECT_MS = 5000
WHOLE_EVERY = 12


class Collector(QObject):
    """Collects now and then from its own thread; automatic collection is off while it lives."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._rounds = 0
        gc.disable()
        self._timer = QTimer(self)
        self._timer.setInterval(COLLECT_MS)
        self._timer.timeout.connect(self.collect)
        self._timer.start()

    def collect(self) -> None:
        """Collect young objects, and from time to time all."""
        self._rounds += 1
        gc.collect(2 if self._rounds % WHOLE_EVERY == 0 else 1)
