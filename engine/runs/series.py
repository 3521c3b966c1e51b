"""One curve of a run: steps and values that grow at the end and are cut when a later attempt goes back.

A curve holds at most 12,000 values, so that a run of any length takes the same memory: when it is full, of
each four values in a row the smallest and the largest stay. No spike is lost, and the newest are all there.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right

NAN = math.nan
LARGEST = 1e30  # beyond this nothing is drawn: squares and spans of such numbers are no numbers any more
MOST_VALUES = 12_000
GROUP = 4
NEWEST_KEPT = 3000  # left as they are: speed, trend and time left are taken from them


class Series:
    """Values over rising steps; `version` rises when something already appended was taken back."""

    __slots__ = ("steps", "values", "version")

    def __init__(self) -> None:
        self.steps = array("d")
        self.values = array("d")
        self.version = 0

    def __len__(self) -> int:
        return len(self.steps)

    def append(self, step: float, value: float | None) -> None:
        """Add a value at a step after all others; an earlier step first takes back what lies behind it.

        None, NaN, and what is too large to be drawn are a gap.
        """
        steps = self.steps
        if steps and step <= steps[-1]:
            self.drop_after(step, inclusive=True)
        steps.append(step)
        self.values.append(value if value is not None and abs(value) <= LARGEST else NAN)
        if len(steps) >= MOST_VALUES:
            self._thin()

    def _thin(self) -> None:
        """Keep the smallest and the largest of each four older values, in their order; NaN is a gap."""
        import numpy as np  # brought in by the first run this long, not by the first paint

        groups = (len(self.steps) - NEWEST_KEPT) // GROUP
        values = np.frombuffer(self.values)[: groups * GROUP].reshape(groups, GROUP)
        low = np.argmin(np.where(np.isnan(values), np.inf, values), axis=1)
        high = np.argmax(np.where(np.isnan(values), -np.inf, values), axis=1)
        high = np.where(high == low, np.where(low < GROUP - 1, GROUP - 1, 0), high)
        inner = np.sort(np.stack([low, high], axis=1), axis=1)
        chosen = (inner + GROUP * np.arange(groups)[:, None]).reshape(-1)
        rest = np.arange(groups * GROUP, len(self.steps))
        kept = np.concatenate([chosen, rest])
        steps, found = np.frombuffer(self.steps)[kept], np.frombuffer(self.values)[kept]
        self.steps, self.values = array("d", steps.tobytes()), array("d", found.tobytes())
        self.version += 1

    def drop_after(self, step: float, *, inclusive: bool = False) -> None:
        """Take back all values after `step` (and at it, when inclusive)."""
        keep = bisect_right(self.steps, step)
        while inclusive and keep and self.steps[keep - 1] == step:
            keep -= 1
        if keep < len(self.steps):
            del self.steps[keep:]
            del self.values[keep:]
            self.version += 1

    @property
    def last(self) -> float | None:
        """Return the newest value that is a number."""
        for value in reversed(self.values[-100:]):
            if math.isfinite(value):
                return value
        return None

    def at(self, step: float) -> float | None:
        """Return the value at exactly `step`, None where there is none."""
        index = bisect_right(self.steps, step) - 1
        if index < 0 or self.steps[index] != step or not math.isfinite(self.values[index]):
            return None
        return self.values[index]

    def finite(self, newest: int | None = None) -> list[float]:
        """Return the values that are numbers, of the newest `newest` or of all."""
        chosen = self.values if newest is None else self.values[-newest:]
        return [value for value in chosen if math.isfinite(value)]
