"""A thread that looks at the machine's devices once a second."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from PySide6.QtCore import QObject, QThread, Signal

log = logging.getLogger(__name__)

HISTORY_SECONDS = 300


class _Sampler(QThread):
    """Samples until it is interrupted.

    Signals:
        probed: the machine's description, once.
        sampled: a HardwareSample, every second.
    """

    probed = Signal(object)
    sampled = Signal(object)

    def run(self) -> None:
        # Imported here: the drivers' libraries take a moment and the window's first paint does not need them.
        from engine.hardware.devices import probe
        from engine.hardware.monitor import sample

        try:
            self.probed.emit(probe())
            while not self.isInterruptionRequested():
                self.sampled.emit(sample())
                for _ in range(10):
                    if self.isInterruptionRequested():
                        return
                    self.msleep(100)
        except Exception:  # a driver that misbehaves must cost the strip, not the window
            log.exception("watching the hardware ended")


class HardwareMonitor(QObject):
    """The machine as it is now, and as it was during the last five minutes.

    Signals:
        probed: the machine's description (engine.hardware.devices.Machine) is known.
        sampled: a new sample (the fields of the hardware event), once a second.
    """

    probed = Signal(object)
    sampled = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.machine: Any = None
        self.latest: Any = None
        self.history: deque[Any] = deque(maxlen=HISTORY_SECONDS)
        self._thread: _Sampler | None = None

    def start(self) -> None:
        """Begin to look, unless that is already so."""
        if self._thread is None:
            self._thread = _Sampler(self)
            self._thread.probed.connect(self._on_probed)
            self._thread.sampled.connect(self._on_sampled)
            self._thread.start(QThread.Priority.LowPriority)

    def stop(self) -> None:
        """Stop looking and wait for the thread to end."""
        if self._thread is not None:
            self._thread.requestInterruption()
            self._thread.wait(3000)
            self._thread = None

    def _on_probed(self, machine: object) -> None:
        self.machine = machine
        self.probed.emit(machine)

    def _on_sampled(self, sample: object) -> None:
        self.latest = sample
        self.history.append(sample)
        self.sampled.emit(sample)
