"""Marks on a curve where it jumped: small triangles that point at it.

Imports pyqtgraph: import this module after the window's first paint only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QObject

from app.theme.style import current_theme
from app.widgets.chart import Chart
from app.widgets.chart_curve import LARGEST


class ChartFlags(QObject):
    """The marks of one chart, which they live and die with; they follow its axes and the theme."""

    def __init__(self, chart: Chart) -> None:
        super().__init__(chart)
        self._chart = chart
        self._points: list[tuple[float, float]] = []
        self._item = pg.ScatterPlotItem(pxMode=True)
        chart.plot.addItem(self._item, ignoreBounds=True)
        chart.group.axis_changed.connect(self._draw)
        chart.log_changed.connect(self._draw)
        current_theme().changed.connect(self._draw)

    def show(self, points: Sequence[tuple[float, float]]) -> None:
        """Mark these points, (step, value) each, in the order of their steps."""
        kept = [(step, value) for step, value in points if abs(value) < LARGEST]
        if kept != self._points:
            self._points = kept
            self._draw()

    def _draw(self, *_: object) -> None:
        points = [p for p in self._points if p[1] > 0] if self._chart.logarithmic else self._points
        theme = current_theme()
        values = [math.log10(value) if self._chart.logarithmic else value for _, value in points]
        self._item.setData(
            self._chart.group.place(np.array([step for step, _ in points], dtype=float)),
            np.array(values, dtype=float),
            symbol="t",
            size=theme.px(11),
            brush=theme.color("warn"),
            pen=pg.mkPen(theme.color("surface"), width=1.5),
        )
