"""The axes of a chart: round numbers with units, linear or logarithmic, in the theme's quiet colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pyqtgraph as pg

from app.theme.style import current_theme

ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


def round_ticks(
    low: float, high: float, most: int, whole: bool = False, spacings: Sequence[float] = ()
) -> list[float]:
    """Return at most `most` round values inside low..high, evenly spaced; `spacings` are to be preferred."""
    span = high - low
    if not math.isfinite(span) or span <= 0 or most < 1:
        return []
    rough = span / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    spacing = next(f * power for f in (*ROUND, 20.0) if f * power >= rough * 0.999)
    spacing = next((s for s in spacings if s >= rough), spacing)
    if whole:
        spacing = max(1.0, math.ceil(spacing))
    first = math.ceil(low / spacing - 1e-9)
    return [i * spacing for i in range(first, math.floor(high / spacing + 1e-9) + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return logarithms of round values inside the decades low..high: 1-2-5, or even steps in a short one."""
    if high - low < 1.0:
        plain = round_ticks(10.0**low, 10.0**high, most)
        return [math.log10(value) for value in plain if value > 0]
    factors: tuple[float, ...] = (1.0, 2.0, 5.0) if (high - low) * 3 <= most else (1.0,)
    every = max(1, math.ceil((high - low) / most)) if len(factors) == 1 else 1
    decades = range(math.floor(low), math.ceil(high) + 1)
    found = [math.log10(f) + d for d in decades if d % every == 0 for f in factors]
    return [value for value in found if low - 1e-9 <= value <= high + 1e-9]


class ChartAxis(pg.AxisItem):
    """An axis without a line; its grid is a hairline and its numbers are written by `wording`."""

    def __init__(self, side: str, wording: Callable[[float], str], grid: bool, whole: bool = False) -> None:
        super().__init__(side, showValues=True)
        self.wording, self.whole, self.logarithmic = wording, whole, False
        self.spacings: Sequence[float] = ()
        self.unit = ""
        self.blank = False
        self._grid_wanted = grid
        self.enableAutoSIPrefix(False)
        self.setStyle(tickLength=0, maxTickLevel=0, hideOverlappingLabels=False, autoExpandTextSpace=False)
        self.follow_theme()

    def follow_theme(self) -> None:
        """Take colours and font as the theme is now."""
        theme = current_theme()
        self.setStyle(tickFont=theme.font("least"), tickTextOffset=theme.px(6))
        self.setTextPen(theme.color("dim"))
        line = theme.color("line")
        self.setTickPen(pg.mkPen(line, width=1))
        self.setPen(pg.mkPen(line if self.orientation == "bottom" else theme.color("line", 0.0), width=1))
        self.setGrid(255 if self._grid_wanted else False)
        if self.orientation == "bottom":
            self.setHeight(theme.metrics("least").height() + theme.px(8))

    def fit_width(self, low: float, high: float, height: float) -> int:
        """Return the width the numbers between low and high need on an axis of that height."""
        metrics = current_theme().metrics("least")
        words = [self.wording(10**v if self.logarithmic else v) for v in self._values(low, high, height)]
        return max((metrics.horizontalAdvance(word) for word in words), default=10) + current_theme().px(11)

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:
        values = self._values(minVal, maxVal, size)
        spacing = values[1] - values[0] if len(values) > 1 else 1.0
        return [(spacing, values)]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        if self.blank:
            return [""] * len(values)
        words = [self.wording(10**value if self.logarithmic else value) for value in values]
        return [f"{self.unit} {words[0]}", *words[1:]] if self.unit and words else words

    def _values(self, low: float, high: float, size: float) -> list[float]:
        theme = current_theme()
        room = theme.px(30 if self.orientation == "left" else 66)
        most = max(2, min(7, int(size / room)))
        if self.logarithmic:
            return log_ticks(low, high, most)
        return round_ticks(low, high, most, self.whole, self.spacings)

    def boundingRect(self) -> Any:
        """Let numbers stand over the ends; pyqtgraph leaves out what does not fit into this."""
        over = 48 if self.orientation == "bottom" else 0
        return super().boundingRect().adjusted(-over, -10 + over // 5, over, 10)

    def generateDrawSpecs(self, p: Any) -> Any:
        """Leave the grid line out where the axis line of the other side lies."""
        specs = super().generateDrawSpecs(p)
        if specs is None or self.orientation == "left":
            return specs
        axis, ticks, texts = specs
        return axis, ticks if self._grid_wanted else [], texts
