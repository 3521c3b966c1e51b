"""Jumps in a curve: a value far above what it was of late, by the spread of those values themselves.

The median and the median distance from it (times 1.4826, which is a normal deviation) are not moved by the
jump that is looked for, as a mean would be.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

LOOKED_AT = 32
LEAST = 8  # values before anything is called a jump
TIMES = 2.0  # the usual
DEVIATIONS = 10.0
NORMAL = 1.4826


class SpikeWatch:
    """Takes the values of a curve in their order; a jump is told once, until it is back at the usual."""

    def __init__(self, times: float = TIMES) -> None:
        self._times = times
        self._seen: deque[float] = deque(maxlen=LOOKED_AT)
        self._up = False

    def see(self, value: float | None) -> float | None:
        """Return what was usual before where `value` jumps above it, else None."""
        if value is None or not math.isfinite(value):
            return None
        usual = median(self._seen) if len(self._seen) >= LEAST else math.inf
        spread = NORMAL * median(abs(v - usual) for v in self._seen) if math.isfinite(usual) else 0.0
        jumps = value > self._times * usual and value > usual + DEVIATIONS * spread
        told = usual if jumps and not self._up else None
        self._up = jumps
        self._seen.append(value)
        return told
