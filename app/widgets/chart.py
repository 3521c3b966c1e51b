"""A line chart for up to millions of steps: crosshair, zoom, log axis, smoothing, words.

Imports pyqtgraph and numpy: import this module after the window's first paint only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QContextMenuEvent, QFocusEvent, QGuiApplication, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.chart_axis import ChartAxis
from app.widgets.chart_curve import LARGEST, Curve
from app.widgets.chart_group import ChartGroup, HorizontalLine, SeriesSpec
from app.widgets.chart_menu import chart_menu
from app.widgets.chart_overlay import ChartOverlay, Pointed
from app.widgets.chart_pointer import ChartPointer
from app.widgets.chart_words import announce, csv_of

TINY = 1e-12
END_PIXELS = 7


class Chart(QWidget):
    """Curves over steps. `set_series` takes rising sequences that may have grown; `refresh` draws.

    Signals:
        smoothing_changed: the share of the old value, 0 to 0.99.
        log_changed: whether the y axis is logarithmic.
        table_requested: T was pressed.
        chosen: a step was clicked or Enter was pressed on it.
    """

    smoothing_changed = Signal(float)
    log_changed = Signal(bool)
    table_requested = Signal()
    chosen = Signal(float)

    def __init__(
        self,
        title: str,
        specs: Sequence[SeriesSpec],
        wording: Callable[[float], str] = lambda value: f"{value:g}",
        group: ChartGroup | None = None,
        *,
        told: Callable[[float], str] | None = None,
        from_zero: bool = False,
        smoothing: float = 0.9,
    ) -> None:
        super().__init__()
        self.title, self.wording, self.from_zero = title, wording, from_zero
        self.told = told or wording
        self.group = group or ChartGroup(self)
        self.summary = ""
        self.logarithmic = False
        self._smoothing, self._last_smoothing = smoothing, smoothing or 0.9
        self._curves = {spec.name: Curve(spec, smoothing) for spec in specs}
        self._levels: list[HorizontalLine] = []
        self._level_items: list[Any] = []
        self._ticks: list[float] = []
        self._star: tuple[float, float] | None = None
        self.setAccessibleName(title)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._build()
        self._connect()
        self.follow_theme()

    # -- building ------------------------------------------------------------------------------------------
    def _build(self) -> None:
        self._left = ChartAxis("left", self.wording, grid=True)
        self._bottom = ChartAxis("bottom", lambda value: self.group.x_wording(value), grid=False, whole=True)
        self.view = pg.PlotWidget(axisItems={"left": self._left, "bottom": self._bottom}, background=None)
        self.view.setFrameShape(self.view.Shape.NoFrame)
        self.view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.view.setStyleSheet("background: transparent")
        self._bottom.unit = self.group.x_unit
        self.plot = self.view.getPlotItem()
        for axis in (self._left, self._bottom):
            axis.setZValue(-1000)  # the grid lies below the curves
        self.plot.hideButtons()
        self.plot.setMenuEnabled(False)
        self.plot.layout.setContentsMargins(0, 6, 8, 0)
        self.box = self.plot.getViewBox()
        self.box.setMouseEnabled(x=False, y=False)
        self.box.setDefaultPadding(0)
        self.box.disableAutoRange()
        self._marks = pg.PlotCurveItem(connect="pairs")
        self._stars = pg.ScatterPlotItem(pxMode=True)
        for curve in self._curves.values():
            for item in curve.items:
                self.plot.addItem(item, ignoreBounds=True)
        self.plot.addItem(self._marks, ignoreBounds=True)
        self.plot.addItem(self._stars, ignoreBounds=True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.view)
        self.overlay = ChartOverlay(self)
        self.view.viewport().setMouseTracking(True)
        self._pointer = ChartPointer(self)
        self.view.viewport().installEventFilter(self._pointer)

    def _connect(self) -> None:
        current_theme().changed.connect(self.follow_theme)
        self.group.step_pointed.connect(self._on_step_pointed)
        self.group.stretch_changed.connect(lambda _stretch: self.refresh())
        self.group.axis_changed.connect(self._on_axis_changed)
        self._late = QTimer(self, singleShot=True, interval=0)
        self._late.timeout.connect(self.refresh)

    def follow_theme(self) -> None:
        """Take colours as the theme is now."""
        theme = current_theme()
        for axis in (self._left, self._bottom):
            axis.follow_theme()
        for curve in self._curves.values():
            curve.follow_theme()
        self._marks.setPen(pg.mkPen(theme.color("edge"), width=1.5))
        self._make_levels()
        self.refresh()

    # -- filling -------------------------------------------------------------------------------------------
    def set_series(
        self, name: str, steps: Sequence[float], values: Sequence[float], version: int = 0
    ) -> None:
        """Show a series as it is now; another `version` says that earlier values have changed."""
        self._curves[name].follow(self.group, steps, values, version)

    def set_levels(self, levels: Sequence[HorizontalLine]) -> None:
        """Draw horizontal lines with their words."""
        if list(levels) != self._levels:
            self._levels = [level for level in levels if abs(level.value) < LARGEST]
            self._make_levels()

    def set_ticks(self, steps: Sequence[float]) -> None:
        """Mark steps at the bottom (checkpoints)."""
        self._ticks = list(steps)

    def set_star(self, point: tuple[float, float] | None) -> None:
        """Mark the best point."""
        self._star = point if point is not None and abs(point[1]) < LARGEST else None

    def set_summary(self, words: str) -> None:
        """Say the curves in words, for a screen reader."""
        self.summary = words
        self.setAccessibleDescription(words)

    @property
    def smoothing(self) -> float:
        """Return the share of the old value in the smoothed curve."""
        return self._smoothing

    def set_smoothing(self, share: float) -> None:
        """Smooth more or less, 0 to 0.99."""
        share = round(min(0.99, max(0.0, share)), 3)
        if share == self._smoothing:
            return
        self._last_smoothing = self._smoothing or self._last_smoothing
        self._smoothing = share
        for curve in self._curves.values():
            curve.set_smoothing(share)
        self.refresh()
        self.smoothing_changed.emit(share)

    def set_log(self, logarithmic: bool) -> None:
        """Make the y axis logarithmic or linear."""
        if logarithmic != self.logarithmic:
            self.logarithmic = self._left.logarithmic = logarithmic
            self._make_levels()
            self.refresh()
            self.log_changed.emit(logarithmic)

    def series(self) -> list[tuple[SeriesSpec, Sequence[float], Sequence[float]]]:
        """Return what is shown: spec, steps and values of each series."""
        return [(curve.spec, curve.steps, curve.values) for curve in self._curves.values()]

    # -- drawing -------------------------------------------------------------------------------------------
    def refresh(self) -> None:
        """Draw what was set: O(pixels), however many points there are."""
        start, end = self.stretch()
        columns = max(50, int(self.box.width()))
        low, high = math.inf, -math.inf
        for curve in self._curves.values():
            for item, pyramid in curve.pictures():
                x, y = pyramid.points(start, end, columns)
                if self.logarithmic:
                    y = np.log10(np.where(y > 0, y, np.nan))
                curve.draw(item, x, y, columns)
                inside = y[np.isfinite(y)]
                if len(inside):
                    low, high = min(low, float(inside.min())), max(high, float(inside.max()))
        low, high = self._y_range(low, high)
        self._place_marks(low, high)
        empty = not any(len(curve.steps) for curve in self._curves.values())
        self.overlay.empty_words = "nothing yet" if empty else ""
        for axis in (self._left, self._bottom):
            axis.blank = empty and not (axis is self._left and self._levels)
        if self._left.width() != (width := self._left.fit_width(low, high, self.box.height())):
            self._left.setWidth(width)
        self._place_words(low, high)
        beyond = (end - start) * END_PIXELS / columns  # a star at the last step is seen whole
        self.box.setRange(xRange=(start, end + beyond), yRange=(low, high), padding=0, disableAutoRange=True)
        self.overlay.plot_area = self.box.sceneBoundingRect()
        self._on_step_pointed(self.group.step)

    def stretch(self) -> tuple[float, float]:
        """Return the stretch of x that is shown."""
        whole = self.whole()
        if self.group.stretch is None:
            return whole
        return self.group.stretch

    def whole(self) -> tuple[float, float]:
        """Return the stretch of x that holds everything."""
        ends = [(c.data.raw.x[0], c.data.raw.x[-1]) for c in self._curves.values() if len(c.data.raw)]
        if not ends:
            return 0.0, 1.0
        first, last = min(e[0] for e in ends), max(e[1] for e in ends)
        first = 0.0 if 0 < first < 0.05 * last else first
        return (float(first), float(last)) if last > first else (float(first) - 0.5, float(first) + 0.5)

    def _y_range(self, low: float, high: float) -> tuple[float, float]:
        values = [math.log10(v.value) if self.logarithmic else v.value for v in self._levels if v.value > 0]
        if not math.isfinite(low):
            return (0.0, max(values, default=1.0) * 1.06 or 1.0) if not self.logarithmic else (-1.0, 1.0)
        low, high = min([low, *values]), max([high, *values])
        if self.from_zero and not self.logarithmic:
            low = min(0.0, low)
        span = high - low
        margin = 0.06 * span if span > TINY else max(abs(high) * 0.1, 1e-9)
        return (low if low == 0.0 and self.from_zero else low - margin), high + margin

    def _place_marks(self, low: float, high: float) -> None:
        if self._ticks:
            x = np.repeat(self.group.place(np.array(self._ticks)), 2)
            y = np.tile([low, low + 0.035 * (high - low)], len(self._ticks))
            self._marks.setData(x, y)
        else:
            self._marks.setData([], [])
        if self._star is None or (self.logarithmic and self._star[1] <= 0):
            self._stars.setData([], [])
            return
        value = math.log10(self._star[1]) if self.logarithmic else self._star[1]
        theme = current_theme()
        self._stars.setData(
            self.group.place(np.array([self._star[0]])),
            np.array([value]),
            symbol="star",
            size=theme.px(17),
            brush=theme.color("series2"),
            pen=pg.mkPen(theme.color("surface"), width=1.5),
        )

    def _place_words(self, low: float, high: float) -> None:
        """Put a level's words over its line or below it; nowhere, where another line would strike them."""
        tall = current_theme().metrics("least").height() * (high - low) / max(1.0, self.box.height())
        for item in self._level_items:
            below = item.value() - low > 0.75 * (high - low)
            away = [each.value() - item.value() for each in self._level_items if each is not item]
            item.label.setVisible(not any(0 < (-room if below else room) < tall for room in away))
            side = 1 if item.label.orthoPos > 0.5 else 0
            anchor = (side, 0 if below else 1)
            if item.label.anchors != [anchor, anchor]:
                item.label.anchors = [anchor, anchor]
                item.label.updatePosition()

    def _make_levels(self) -> None:
        theme = current_theme()
        for item in self._level_items:
            self.plot.removeItem(item)
        self._level_items = []
        for level in self._levels:
            if self.logarithmic and level.value <= 0:
                continue
            style = Qt.PenStyle.DashLine if level.dash else Qt.PenStyle.SolidLine
            # The highest has its words at the right, the others at the left.
            highest = level.value == max(each.value for each in self._levels)
            place = {"position": 0.99 if highest else 0.01, "color": theme.color(level.token)}
            item = pg.InfiniteLine(
                math.log10(level.value) if self.logarithmic else level.value,
                angle=0,
                pen=pg.mkPen(theme.color(level.token), width=1, style=style),
                label=level.label,
                labelOpts=place,
            )
            item.label.setFont(theme.font("least"))
            self.plot.addItem(item, ignoreBounds=True)
            self._level_items.append(item)

    def _on_axis_changed(self) -> None:
        self._bottom.whole = self.group.x_name == "step"
        self._bottom.spacings = self.group.x_spacings
        self._bottom.unit = self.group.x_unit
        for curve in self._curves.values():
            curve.data.reset()
            curve.follow(self.group, curve.steps, curve.values, curve.version)
        self.refresh()

    # -- places --------------------------------------------------------------------------------------------
    def place_at(self, x: float) -> float:
        """Return the place on the x axis under a pixel of the viewport."""
        return float(self.box.mapSceneToView(QPointF(x, 0.0)).x())

    def crosshair_place(self) -> float | None:
        """Return where the crosshair stands on the x axis."""
        return None if self.group.step is None else float(self.group.place(np.array([self.group.step]))[0])

    def leading_steps(self) -> Sequence[float]:
        """Return the steps the crosshair wanders along: those of the longest series."""
        return max((curve.steps for curve in self._curves.values()), key=len, default=())

    def _on_step_pointed(self, step: object) -> None:
        place = self.crosshair_place()
        start, end = self.stretch()
        if place is None or not start <= place <= end or not self.leading_steps():
            self.overlay.point(None)
            return
        assert self.group.step is not None
        spot = self._pixel(place, 0.0)
        leads = self.group.leader in (None, self)
        pointed = Pointed(spot.x(), self.group.heading(self.group.step) if leads else "")
        for curve, point in self._told(self.group.step):
            words = self.told(point[1])
            at = f" at {point[0]:,.0f}" if point[0] != self.group.step else ""
            pointed.lines.append((curve.spec.token, f"{curve.spec.label} {words}{at}" if leads else words))
            height = point[1] if not self.logarithmic else (math.log10(point[1]) if point[1] > 0 else None)
            if height is not None and not at:
                pointed.dots.append((self._pixel(place, height).y(), curve.spec.token))
        self.overlay.point(pointed)

    def _told(self, step: float) -> list[tuple[Curve, tuple[float, float]]]:
        """Return each curve with the (step, value) that is told at `step`."""
        start, end = self.stretch()
        found = []
        for curve in self._curves.values():
            reach = 0.5 if curve.spec.kind != "dots" else max(0.5, (end - start) * 0.25)
            reach = reach if self.group.x_name == "step" else math.inf if curve.spec.kind == "dots" else 0.5
            point = curve.shown_value(step, reach)
            if point is not None:
                found.append((curve, point))
        return found

    def _pixel(self, place: float, height: float) -> QPointF:
        return self.box.mapViewToScene(QPointF(place, height))

    # -- words and copies ----------------------------------------------------------------------------------
    def spoken_crosshair(self) -> str:
        """Return the crosshair in words: step and values."""
        if self.group.step is None:
            return self.summary
        told = [f"{c.spec.label} {self.told(p[1])}" for c, p in self._told(self.group.step)]
        return ", ".join([self.group.heading(self.group.step), *told])

    def speak_crosshair(self) -> None:
        """Tell a screen reader where the crosshair stands."""
        announce(self, self.spoken_crosshair())

    def toggle_smoothing(self) -> None:
        """Smooth as before, or not at all."""
        self.set_smoothing(0.0 if self._smoothing else self._last_smoothing)

    def copy_picture(self) -> None:
        """Put the chart as a picture on the clipboard."""
        QGuiApplication.clipboard().setPixmap(self.grab())

    def copy_csv(self) -> None:
        """Put all values as CSV on the clipboard."""
        QGuiApplication.clipboard().setText(csv_of(self.series()))

    # -- events --------------------------------------------------------------------------------------------
    def keyPressEvent(self, event: QKeyEvent) -> None:
        if not self._pointer.press(event):
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        mouse = event.reason() == Qt.FocusReason.MouseFocusReason
        self.overlay.focused = not mouse
        self.overlay.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.overlay.focused = False
        self.group.point(None)
        self.overlay.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.overlay.setGeometry(self.rect())
        self.overlay.raise_()
        self._late.start()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        chart_menu(self).popup(event.globalPos())
