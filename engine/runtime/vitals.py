"""Signs of life from threads of their own: a heartbeat with the phase, and the hardware once a second."""

from __future__ import annotations

import threading
import time

from engine.events import Hardware, Heartbeat
from engine.hardware import monitor
from engine.runs.event_log import EventWriter

HEARTBEAT_SECONDS = 5.0
HARDWARE_SECONDS = 1.0


class Vitals:
    """Starts and ends the two threads; `phase` is what is done now, `others` are the other ranks."""

    def __init__(self, writer: EventWriter) -> None:
        self.phase = "start"
        self.others: tuple[int, ...] = ()
        self._writer = writer
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._beat, name="heartbeat", daemon=True),
            threading.Thread(target=self._measure, name="hardware", daemon=True),
        ]

    def start(self) -> None:
        """Begin to write."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop writing; returns when both threads are through."""
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout=3)

    def _beat(self) -> None:
        while not self._ended.is_set():
            self._writer.write(Heartbeat(phase=self.phase))
            self._ended.wait(HEARTBEAT_SECONDS)

    def _measure(self) -> None:
        while not self._ended.is_set():
            before = time.monotonic()
            self._writer.write(Hardware(**monitor.sample(others=self.others).as_dict()))
            self._ended.wait(max(0.1, HARDWARE_SECONDS - (time.monotonic() - before)))
