"""The clocks of a job: the wall's, one that only goes on, and how long the computer has slept meanwhile.

Durations, speeds and what is left come of `mono` alone: the wall's clock is set by people, by time servers
and by a dead battery. Sleep is what the system's clock that counts it is ahead of the one that does not.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from engine import faults

JUMP_SECONDS = 10.0  # time servers nudge a clock by less
SLEEP_SECONDS = 2.0
HELD_SECONDS = 3.0  # a thread that wakes up so late was not let run
BUSY_SHARE = 0.5  # of the time in which the process computed: then only this thread had to wait
MONO_COUNTS_SLEEP = sys.platform == "win32"
_PUSHED = {"clock+3600": 3600.0, "clock-3600": -3600.0}


def wall() -> float:
    """Return the seconds since 1970 as the wall's clock has them (point of `faults`: clock)."""
    return time.time() + _PUSHED.get(faults.point("clock"), 0.0)


def mono() -> float:
    """Return seconds that only go on; on Linux and macOS they stand still while the computer sleeps."""
    return time.monotonic()


def slept() -> float:
    """Return the seconds this computer has slept since some fixed moment; 0 where that is not known."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC) - time.clock_gettime(time.CLOCK_UPTIME_RAW)
    if sys.platform == "win32":
        import ctypes

        awake = ctypes.c_ulonglong()
        ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(awake))
        return time.monotonic() - awake.value / 1e7
    return 0.0


@dataclass(frozen=True)
class Gap:
    """Something that happened to time between two looks.

    `kind` is clock_jump (the wall's clock was set by so many seconds), suspended (the computer slept) or held
    (the process was not let run). `in_mono` says that `mono` went on meanwhile.
    """

    kind: str
    seconds: float
    in_mono: bool = False


class Watch:
    """Looks at the clocks again and again, and says what happened to them in between."""

    def __init__(self) -> None:
        self._before = self._read()

    def _read(self) -> tuple[float, float, float, float]:
        return wall(), mono(), slept(), time.process_time()

    def look(self, expected: float) -> list[Gap]:
        """Return the gaps since the last look, which was to be `expected` seconds ago."""
        now = self._read()
        walled, passed, slept_for, computed = (b - a for a, b in zip(self._before, now, strict=True))
        self._before = now
        found = []
        if slept_for > SLEEP_SECONDS:
            found.append(Gap("suspended", slept_for, MONO_COUNTS_SLEEP))
        awake = passed - (slept_for if MONO_COUNTS_SLEEP else 0.0)
        late = awake - expected
        if late > HELD_SECONDS and computed < BUSY_SHARE * late:
            found.append(Gap("held", late, True))
        if abs(walled - awake - slept_for) > JUMP_SECONDS:
            found.append(Gap("clock_jump", walled - awake - slept_for))
        return found
