"""How long a run still takes: the median step of late, plus the evaluations and saves to come."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

STEPS_BEFORE_ESTIMATE = 20
SECONDS_BEFORE_ESTIMATE = 30.0
STEPS_LOOKED_AT = 50


class Pace:
    """The speed of one attempt; `add_step` is O(1), the estimate is worked out when it is asked for."""

    def __init__(self) -> None:
        self._steps: deque[float] = deque(maxlen=STEPS_LOOKED_AT)
        self._pauses: deque[tuple[int, float]] = deque(maxlen=20)
        self._count = 0
        self._stepping = 0.0
        self._last: tuple[int, float] | None = None
        self._interrupted = False

    def add_step(self, step: int, seconds: float, mono: float) -> None:
        """Take a step that lasted `seconds` and ended at `mono`."""
        if self._last is not None:
            elapsed = max(0.0, mono - self._last[1])
            self._stepping += elapsed
            if self._interrupted:
                self._pauses.append((self._last[0], max(0.0, elapsed - seconds)))
        self._interrupted = False
        self._steps.append(seconds)
        self._count += 1
        self._last = (step, mono)

    def interrupt(self) -> None:
        """Note that an evaluation, a save or a sample came between two steps."""
        self._interrupted = True

    def forget_gap(self) -> None:
        """Leave the time until the next step out: the run was paused."""
        self._last = None
        self._interrupted = False

    def seconds_left(self, step: int, total_steps: int) -> float | None:
        """Return the seconds until the last step, None while too little is known."""
        if not self._steps or total_steps <= 0:
            return None
        if self._count < STEPS_BEFORE_ESTIMATE and self._stepping < SECONDS_BEFORE_ESTIMATE:
            return None
        left = max(0, total_steps - step)
        return left * median(self._steps) + self._interruptions_left(step, total_steps)

    def _interruptions_left(self, step: int, total_steps: int) -> float:
        """Return the time of evaluations and saves to come, as they came so far."""
        if not self._pauses:
            return 0.0
        places = [place for place, _ in self._pauses]
        apart = [b - a for a, b in zip(places, places[1:], strict=False) if b > a] or [places[0]]
        interval = max(1.0, median(apart))
        return math.floor(max(0, total_steps - step) / interval) * median(cost for _, cost in self._pauses)


def spoken_eta(seconds: float | None) -> str:
    """Return the time left as a person would say it: estimating, 36 min left, about 2 h left."""
    if seconds is None or not math.isfinite(seconds):
        return "estimating"
    if seconds < 60:
        return "less than a minute"
    minutes = seconds / 60
    if minutes < 90:
        grain = 1 if minutes < 45 else 5
        return f"{max(1, round(minutes / grain) * grain)} min left"
    hours = round(minutes / 60)
    return f"about {hours} h left" if hours < 48 else f"about {round(hours / 24)} days left"
