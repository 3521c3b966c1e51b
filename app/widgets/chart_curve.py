"""One series inside a chart: its source, its picture, and the items that draw it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt

from app.theme.style import current_theme
from app.widgets.chart_group import ChartGroup, SeriesSpec
from app.widgets.chart_series import CurveData, Floats

DENSE_POINTS = 1200
LARGEST = 1e30  # what an axis can hold beside its other values
SPARSE, FULL, DENSE = range(3)  # fewer points than columns, more, very many


class Curve:
    """A series inside a chart: its source, its picture, and the items that show it."""

    def __init__(self, spec: SeriesSpec, smoothing: float) -> None:
        self.spec = spec
        self.steps: Sequence[float] = ()
        self.values: Sequence[float] = ()
        self.version = -1
        self.data = CurveData(smoothing if spec.kind == "smooth" else 0.0)
        self.line = _line_item()
        self.over = _line_item() if spec.kind == "smooth" else None
        self._density: dict[Any, int] = {}
        self.dots = pg.ScatterPlotItem(pxMode=True) if spec.kind == "dots" else None

    @property
    def items(self) -> list[Any]:
        """Return what is drawn, the lowest first."""
        return [item for item in (self.line, self.over, self.dots) if item is not None]

    def nearest(self, step: float, reach: float) -> tuple[float, float] | None:
        """Return the (step, value) nearest to `step`, None where it is farther than `reach`."""
        if not len(self.steps):
            return None
        index = min(bisect_left(self.steps, step), len(self.steps) - 1)
        if index and abs(self.steps[index - 1] - step) <= abs(self.steps[index] - step):
            index -= 1
        value = self.values[index]
        if abs(self.steps[index] - step) > reach or not math.isfinite(value):
            return None
        return self.steps[index], value

    def follow(
        self, group: ChartGroup, steps: Sequence[float], values: Sequence[float], version: int
    ) -> None:
        """Take the series as it is now; only what is new costs anything, unless `version` changed."""
        self.steps, self.values, self.version = steps, values, version
        known = self.data.known(version)
        if len(steps) < known:
            self.data.reset()
            known = 0
        if len(steps) > known or not known:
            fresh = np.array(steps[known:], dtype=float)
            self.data.extend(group.place(fresh), _drawable(values[known:]), version)

    def pictures(self) -> list[tuple[Any, Any]]:
        """Return the items with the pyramids they show."""
        found = [(self.line, self.data.raw)]
        if self.over is not None:
            self.over.setVisible(self.data.smoothing > 0)
            if self.data.smoothing > 0:
                found.append((self.over, self.data.smooth))
        if self.dots is not None:
            found.append((self.dots, self.data.raw))
        return found

    def shown_value(self, step: float, reach: float) -> tuple[float, float] | None:
        """Return the (step, value) that the crosshair tells: the smoothed one where there is one."""
        found = self.nearest(step, reach)
        if found is None or self.over is None or not self.data.smoothing:
            return found
        index = bisect_left(self.steps, found[0])
        return (found[0], float(self.data.smooth.y[index])) if index < len(self.data.smooth) else found

    def draw(self, item: Any, x: Floats, y: Floats, columns: int) -> None:
        """Show points; very many are drawn thin and hard, which looks the same and costs a tenth."""
        if item is not self.dots:
            density = DENSE if len(x) > DENSE_POINTS else FULL if len(x) > columns else SPARSE
            if density != self._density.get(item):
                self._density[item] = density
                self._set_pen(item, density)
            if density == DENSE and item is self.over:
                # An average hardly moves within a column: its middle is the line.
                x, y = x[::2], (y[::2] + y[1::2]) / 2 if len(y) % 2 == 0 else y[::2]
        item.setData(x, y)

    def follow_theme(self) -> None:
        """Take colours as the theme is now."""
        theme = current_theme()
        for item in (self.line, self.over):
            if item is not None:
                self._set_pen(item, self._density.get(item, SPARSE))
        if self.dots is not None:
            self.dots.setSize(theme.px(8))
            self.dots.setBrush(theme.color(self.spec.token))
            self.dots.setPen(pg.mkPen(theme.color("surface"), width=1))

    def _set_pen(self, item: Any, density: int) -> None:
        theme, spec = current_theme(), self.spec
        style, share, width = Qt.PenStyle.SolidLine, 1.0, 1.5 * theme.scale
        if item is self.over:
            width = 2.0 * theme.scale
        elif spec.kind == "smooth" and self.data.smoothing:
            share, width = 0.35, 1.0
        elif spec.kind == "dots":
            style, share, width = Qt.PenStyle.DashLine, 0.8, 1.2
        elif spec.dash:
            style = Qt.PenStyle.DashLine
        if density != SPARSE:
            style, width = Qt.PenStyle.SolidLine, 1.0 if item is self.line else width
        item.opts["antialias"] = density != DENSE
        item.setPen(pg.mkPen(theme.color(spec.token, share), width=width, style=style))

    def set_smoothing(self, share: float) -> None:
        """Smooth more or less; without smoothing the raw line stands in full colour."""
        if self.spec.kind == "smooth":
            self.data.set_smoothing(share)
            self._set_pen(self.line, self._density.get(self.line, SPARSE))


def _drawable(values: Sequence[float]) -> Floats:
    """Return values with a gap for what no axis can hold: a log from anybody may say 1e308."""
    found = np.array(values, dtype=float)
    found[~(np.abs(found) < LARGEST)] = np.nan
    return found


def _line_item() -> pg.PlotCurveItem:
    """Return an item that draws apart segments: joined ones wider than a pixel cost ten times as much."""
    item = pg.PlotCurveItem(connect="finite", antialias=True)
    item.setSegmentedLineMode("on")
    return item
