"""How long a run still takes: the median step of late, plus the evaluations and saves to come."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

STEPS_BEFORE_ESTIMATE = 20
SECONDS_BEFORE_ESTIMATE = 30.0
STEPS_LOOKED_AT = 50
BLOCKS = 5  # of those, whose medians are compared
LEAST_BAND = 0.05  # to either side, however even the steps were
UNSURE = 2.0  # times or part of what only the plan knows


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

    def seconds_left(self, step: int, total_steps: int, foreseen: float = 0.0) -> float | None:
        """Return the seconds until the last step, None while too little is known.

        `foreseen` is what the plan has for all evaluations, answers and saves: taken until there was one.
        """
        if not self._steps or total_steps <= 0:
            return None
        if self._count < STEPS_BEFORE_ESTIMATE and self._stepping < SECONDS_BEFORE_ESTIMATE:
            return None
        left = max(0, total_steps - step)
        between = (
            self._interruptions_left(step, total_steps) if self._pauses else foreseen * left / total_steps
        )
        return left * median(self._steps) + between

    def band(self, step: int, total_steps: int, foreseen: float = 0.0) -> tuple[float, float] | None:
        """Return between which bounds the seconds left lie: how much the pace changed over the steps of late.

        Steps are compared in blocks, since it is the drift of the machine that lasts, not one slow step.
        """
        middle = self.seconds_left(step, total_steps, foreseen)
        if middle is None:
            return None
        steps = list(self._steps)
        size = max(1, math.ceil(len(steps) / BLOCKS))
        paces = [median(steps[i : i + size]) for i in range(0, len(steps), size)]
        usual, left = median(steps), max(0, total_steps - step)
        between = middle - left * usual
        costs = [cost for _, cost in self._pauses]
        usual_cost = median(costs) if costs else 0.0
        low_cost = between * (min(costs) / usual_cost if usual_cost else 1 / UNSURE)
        high_cost = between * (max(costs) / usual_cost if usual_cost else UNSURE)
        low = left * min(min(paces), usual * (1 - LEAST_BAND)) + low_cost
        high = left * max(max(paces), usual * (1 + LEAST_BAND)) + high_cost
        return low, high

    def _interruptions_left(self, step: int, total_steps: int) -> float:
        """Return the time of evaluations and saves to come, as they came so far."""
        places = [place for place, _ in self._pauses]
        apart = [b - a for a, b in zip(places, places[1:], strict=False) if b > a] or [places[0]]
        interval = max(1.0, median(apart))
        return math.floor(max(0, total_steps - step) / interval) * median(cost for _, cost in self._pauses)


def spoken_band(band: tuple[float, float] | None) -> str:
    """Return a band as a person would say it: between 34 and 41 min left; empty where both ends are one."""
    if band is None or not all(math.isfinite(end) for end in band) or band[1] < 60:
        return ""
    first, last = (spoken_eta(end).removeprefix("about ") for end in band)
    if first == last:
        return ""
    number, _, unit = first.partition(" ")
    # The same unit is said once.
    return f"between {number if last.endswith(f' {unit}') else first.removesuffix(' left')} and {last}"


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
