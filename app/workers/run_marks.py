"""What a run's events say beside its curves: that it waits, that the computer slept, a remark, its pace."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median

from engine.events import Event, Step, Warned

# Remarks of a child that a person is to see without opening the log, the first the most pressing.
TOLD = ("DISK-01", "RUN-04", "RUN-08", "RUN-06", "DATA-11", "GPU-04", "DISK-04")
GOES_ON = ("step", "checkpoint_saved", "resumed", "started", "finished", "stopped", "failed")
SIGNS_OF_LIFE = ("heartbeat", "hardware")
LEAST_PATIENCE_SECONDS = 60.0
LEAST_SLEEP_SECONDS = 60.0
CLOCK_JUMP = "clock_jump"


class RunMarks:
    """Folds events.

    `waits` is why the run stands still until somebody frees room: a full disk that is told right before a
    pause (one told alone is that room runs short). `attempt` is the one of the last event. `slept` counts the
    seconds in which the wall clock went on and the computer's own did not; `told` are the newest remarks by
    code; `moved` counts the events that are more than a sign of life.
    """

    def __init__(self) -> None:
        self.waits: Warned | None = None
        self.attempt = 0
        self._full: Warned | None = None
        self.told: dict[str, Warned] = {}
        self.slept_seconds = 0.0
        self.sleeps = 0
        self.moved = 0
        self._steps: deque[float] = deque(maxlen=50)
        self._before: tuple[int, float, float] | None = None
        self._last_gap = 0.0

    def fold(self, events: Iterable[Event]) -> None:
        """Take events in the order of the file."""
        for event in events:
            self.attempt = event.attempt
            self._measure(event)
            # That the child says RUN-11 means that nothing moves.
            self.moved += event.type not in SIGNS_OF_LIFE and _code(event) != "RUN-11"
            if isinstance(event, Step):
                self._steps.append(event.seconds)
            if isinstance(event, Warned):
                if event.code in TOLD:
                    self.told[event.code] = event
                if event.code == "DISK-01":
                    self._full = event
            elif event.type == "paused":
                self.waits = self._full
            elif event.type in GOES_ON:
                self.waits = self._full = None
                if event.type == "started":
                    self.told.clear()

    def patience(self) -> float:
        """Return after how many seconds without a step something is wrong: ten steps, at least a minute."""
        return (
            max(LEAST_PATIENCE_SECONDS, 10 * median(self._steps)) if self._steps else LEAST_PATIENCE_SECONDS
        )

    def _measure(self, event: Event) -> None:
        """A clock that was set says so itself (`clock_jump`); what else the clocks differ by was sleep."""
        before, self._before = self._before, (event.attempt, event.time, event.mono)
        if before is None or before[0] != event.attempt:
            self._last_gap = 0.0
            return
        gap = (event.time - before[1]) - (event.mono - before[2])
        if event.type == CLOCK_JUMP or _code(event) == CLOCK_JUMP:
            self._forget_last()
        elif gap >= LEAST_SLEEP_SECONDS:
            self._last_gap = gap
            self.slept_seconds += gap
            self.sleeps += 1

    def _forget_last(self) -> None:
        if self._last_gap:
            self.slept_seconds -= self._last_gap
            self.sleeps -= 1
            self._last_gap = 0.0


def _code(event: Event) -> str:
    return event.code if isinstance(event, Warned) else ""
