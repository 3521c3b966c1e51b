"""The arithmetic of curves: smallest and largest value of each pixel column, and smoothing.

numpy is imported with this module, so it is imported after the window's first paint only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
FANOUT = 4
SMALLEST_LEVEL = 256
BLOCK = 256


class _Growing:
    """A float array that grows at the end at a fair price."""

    def __init__(self, dtype: Any = np.float64) -> None:
        self._store = np.empty(1024, dtype)
        self.size = 0

    @property
    def data(self) -> npt.NDArray[Any]:
        """Return what is in it, without a copy."""
        return self._store[: self.size]

    def put(self, start: int, values: npt.NDArray[Any]) -> None:
        """Write `values` from `start` on; what lay behind is gone."""
        need = start + len(values)
        if need > len(self._store):
            grown = np.empty(need + need // 2 + 1024, self._store.dtype)
            grown[: self.size] = self._store[: self.size]
            self._store = grown
        self._store[start:need] = values
        self.size = need


class Pyramid:
    """A curve kept at falling resolutions: each level holds the extremes of four entries of the one below.

    Appending k points costs O(k + levels); any stretch of it is drawn from about two points a pixel
    column, and no value is lost: every spike is the extreme of its column. NaN is a gap.
    """

    def __init__(self) -> None:
        self._x = _Growing()
        self._y = _Growing()
        self._low: list[_Growing] = []
        self._high: list[_Growing] = []

    def __len__(self) -> int:
        return self._x.size

    @property
    def x(self) -> Floats:
        """Return all x values."""
        return self._x.data

    @property
    def y(self) -> Floats:
        """Return all y values."""
        return self._y.data

    def append(self, x: Floats, y: Floats) -> None:
        """Add points behind the last; x rises."""
        first = self._x.size
        self._x.put(first, x)
        self._y.put(first, y)
        low, high = self._y, self._y
        level = 0
        while low.size > SMALLEST_LEVEL:
            if level == len(self._low):
                self._low.append(_Growing())
                self._high.append(_Growing())
                first = 0
            first //= FANOUT
            self._low[level].put(first, _extremes(low.data[first * FANOUT :], np.fmin))
            self._high[level].put(first, _extremes(high.data[first * FANOUT :], np.fmax))
            low, high = self._low[level], self._high[level]
            level += 1

    def cut(self, size: int) -> None:
        """Keep the first `size` points only."""
        x, y = self.x[:size].copy(), self.y[:size].copy()
        self._x, self._y, self._low, self._high = _Growing(), _Growing(), [], []
        self.append(x, y)

    def points(self, start: float, end: float, columns: int) -> tuple[Floats, Floats]:
        """Return the picture of the stretch from x `start` to `end` in about two points a column."""
        x = self.x
        first = max(0, int(np.searchsorted(x, start, "left")) - 1)
        last = min(len(x), int(np.searchsorted(x, end, "right")) + 1)
        count, columns = last - first, max(16, columns)
        if count <= 2 * columns:
            return x[first:last], self.y[first:last]
        level = min(int(np.log(count / columns) / np.log(FANOUT)), len(self._low))
        size = FANOUT**level
        low = self._low[level - 1].data if level else self.y
        high = self._high[level - 1].data if level else self.y
        # Columns hold whole multiples of a bucket, counted from the first point of all: they stay where
        # they are while points arrive.
        group = max(1, round(count / size / columns))
        begin = first // (size * group) * group
        stop = -(-last // size)
        lows = _extremes(low[begin:stop], np.fmin, group)
        highs = _extremes(high[begin:stop], np.fmax, group)
        y = np.empty(2 * len(lows))
        y[0::2], y[1::2] = lows, highs
        places = np.minimum((begin + group * np.arange(len(lows))) * size, len(x) - 1)
        return np.repeat(x[places], 2), y


def _extremes(values: Floats, pick: Any, group: int = FANOUT) -> Floats:
    """Return the extreme of each `group` values in a row; the last row may be short. NaN does not count."""
    if group == 1:
        return values
    whole = len(values) // group * group
    found = pick.reduce(values[:whole].reshape(-1, group), axis=1)
    if whole < len(values):
        found = np.append(found, pick.reduce(values[whole:]))
    return np.asarray(found)


class Smoother:
    """An exponential moving average that is not drawn towards zero at its start (bias-corrected).

    `share` is what stays of the old value a step, 0 to 0.99. NaN is passed through and does not count.
    """

    def __init__(self, share: float) -> None:
        self.share = min(0.99, max(0.0, share))
        self._carry = 0.0
        self._count = 0

    def extend(self, values: Floats) -> Floats:
        """Return the average at each of the next values."""
        if self.share == 0.0:
            return values
        good = np.isfinite(values)
        out = np.full(len(values), np.nan)
        kept = values[good]
        if len(kept):
            averages = self._average(kept)
            powers = self._count + 1 + np.arange(len(kept))
            out[good] = averages / (1.0 - self.share**powers)
            self._carry = float(averages[-1])
            self._count += len(kept)
        return out

    def _average(self, values: Floats) -> Floats:
        share = self.share
        if len(values) < 64:
            out, carry = np.empty(len(values)), self._carry
            for index, value in enumerate(values):
                carry = share * carry + (1.0 - share) * value
                out[index] = carry
            return out
        # All blocks at once against zero, then what each inherits from the one before.
        blocks = -(-len(values) // BLOCK)
        padded = np.zeros(blocks * BLOCK)
        padded[: len(values)] = values
        apart = np.arange(BLOCK)[:, None] - np.arange(BLOCK)[None, :]
        kernel = np.where(apart >= 0, (1.0 - share) * share ** np.maximum(apart, 0), 0.0)
        local = padded.reshape(blocks, BLOCK) @ kernel.T
        decay = share ** np.arange(1, BLOCK + 1)
        inherited, carry = np.empty(blocks), self._carry
        for index in range(blocks):
            inherited[index] = carry
            carry = carry * decay[-1] + local[index, -1]
        return np.asarray((local + inherited[:, None] * decay[None, :]).reshape(-1)[: len(values)])


class CurveData:
    """One series as it is drawn: raw, and smoothed where that is asked for, over any x."""

    def __init__(self, smoothing: float = 0.0) -> None:
        self.raw = Pyramid()
        self.smooth = Pyramid()
        self._smoother = Smoother(smoothing)
        self._version = -1

    @property
    def smoothing(self) -> float:
        """Return the share of the old value."""
        return self._smoother.share

    def known(self, version: int) -> int:
        """Return how many points of that version are in it already."""
        return len(self.raw) if version == self._version else 0

    def extend(self, x: Floats, y: Floats, version: int) -> None:
        """Add points that lie behind the known ones of `version`; another version begins anew."""
        if version != self._version:
            self.reset()
            self._version = version
        if len(x):
            self.raw.append(x, y)
            if self._smoother.share:
                self.smooth.append(x, self._smoother.extend(y))

    def set_smoothing(self, share: float) -> None:
        """Smooth anew with another share."""
        self._smoother, self.smooth = Smoother(share), Pyramid()
        if share and len(self.raw):
            self.smooth.append(self.raw.x, self._smoother.extend(self.raw.y))

    def reset(self) -> None:
        """Forget all points."""
        self.raw, self.smooth = Pyramid(), Pyramid()
        self._smoother = Smoother(self._smoother.share)
        self._version = -1
