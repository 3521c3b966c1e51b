"""Signs of life from threads of their own: a heartbeat with the phase, and the hardware once a second.

The same thread notices what the working one cannot say: that the computer slept, that the process was not
let run, that somebody set the clock, and that the work itself has said nothing for too long (RUN-11).
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Any

from engine import clocks
from engine.events import Hardware, Heartbeat, Log, Unknown, Warned
from engine.hardware import monitor
from engine.runs.event_log import EventWriter
from engine.runtime.resident import limit_bytes, resident_bytes

HEARTBEAT_SECONDS = 5.0
HARDWARE_SECONDS = 1.0
LOOK_SECONDS = 1.0
SILENT_SECONDS = 60.0  # a step may take ten times the usual, and never less than this
SILENT_STEPS = 10
SLOW_PHASE_SECONDS = 600.0  # to load, to save, to measure: of these it is not known how long they take
STEPS_LOOKED_AT = 50


class Vitals:
    """Starts and ends the two threads; `phase` is what is done now, `others` are the other ranks."""

    def __init__(self, writer: EventWriter) -> None:
        self.phase = "start"
        self.others: tuple[int, ...] = ()
        self.also: list[Callable[[], None]] = []  # what else is looked at once a second
        self._writer = writer
        self._ended = threading.Event()
        self._steps: deque[float] = deque(maxlen=STEPS_LOOKED_AT)
        self._saved_step = 0
        self._alive_at = clocks.mono()
        self._silent = False
        self._threads = [
            threading.Thread(target=self._beat, name="heartbeat", daemon=True),
            threading.Thread(target=self._measure, name="hardware", daemon=True),
        ]

    def start(self) -> None:
        """Begin to write."""
        self.alive()
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop writing; returns when both threads are through."""
        self._ended.set()
        for thread in self._threads:
            thread.join(timeout=3)

    def enter(self, phase: str) -> None:
        """Note what is done now; the heartbeat carries it."""
        self.phase = phase
        self.alive()

    def see(self, event: Any) -> None:
        """Note what the work has said: how long its steps take, which one is saved, and that it goes on."""
        if event.type == "step":
            self._steps.append(event.seconds)
        elif event.type == "checkpoint_saved":
            self._saved_step = event.step
        self.alive()

    def alive(self) -> None:
        """Note that the work goes on although it has nothing to say yet."""
        self._alive_at = clocks.mono()

    def patience(self) -> float:
        """Return for how many seconds the work may be silent in its present phase."""
        if self.phase == "paused":
            return math.inf
        if self.phase == "train" and self._steps:
            return max(SILENT_SECONDS, SILENT_STEPS * median(self._steps))
        return SLOW_PHASE_SECONDS

    def _beat(self) -> None:
        watch, due, peak = clocks.Watch(), clocks.mono(), 0
        while True:
            peak = max(peak, resident_bytes())
            if clocks.mono() >= due:
                self._say_alive(peak)
                due, peak = clocks.mono() + HEARTBEAT_SECONDS, 0
            if self._ended.wait(LOOK_SECONDS):
                return
            self._tell_gaps(watch.look(LOOK_SECONDS))
            self._look_for_silence()
            for look in self.also:
                look()

    def _say_alive(self, peak: int) -> None:
        """Write a heartbeat with the most memory since the last one."""
        facts = {"phase": self.phase, "memory_bytes": peak, "limit_bytes": limit_bytes()}
        self._writer.write(Heartbeat.model_validate(facts))

    def _tell_gaps(self, gaps: list[clocks.Gap]) -> None:
        for gap in gaps:
            if gap.kind == "held" and not self._steps:
                continue  # libraries that are loaded from a slow disk hold every thread
            said = {"type": gap.kind, "seconds": gap.seconds, "in_mono": gap.in_mono, "phase": self.phase}
            self._writer.write(Unknown.model_validate(said))
            if gap.kind != "clock_jump":
                self.alive()  # nothing could be said meanwhile

    def _look_for_silence(self) -> None:
        quiet = clocks.mono() - self._alive_at
        if quiet <= self.patience():
            if self._silent:
                self._silent = False
                self._writer.write(Log(message=f"It goes on (phase: {self.phase})."))
            return
        if self._silent:
            return
        self._silent = True
        saved = f"the save of step {self._saved_step} stays" if self._saved_step else "nothing is saved yet"
        self._writer.write(
            Warned(
                code="RUN-11",
                message=f"No sign of life for {quiet:.0f} s (phase: {self.phase}).",
                hint=f"Wait, or Stop now; {saved}.",
            )
        )

    def _measure(self) -> None:
        while not self._ended.is_set():
            before = time.monotonic()
            self._writer.write(Hardware(**monitor.sample(others=self.others).as_dict()))
            self._ended.wait(max(0.1, HARDWARE_SECONDS - (time.monotonic() - before)))
