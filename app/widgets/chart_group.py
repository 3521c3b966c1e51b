"""What charts of one run share: the crosshair's step, the stretch shown, and what x means."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QObject, Signal

from app.widgets.chart_series import Floats


@dataclass(frozen=True)
class SeriesSpec:
    """One series: how it is called, coloured, drawn (line, smooth, dots) and how its values are written."""

    name: str
    label: str
    token: str = "accent"
    kind: str = "line"
    dash: bool = False


@dataclass(frozen=True)
class HorizontalLine:
    """A level worth knowing: capacity, plan, clip."""

    value: float
    label: str
    token: str = "dim"
    dash: bool = True


class ChartGroup(QObject):
    """What charts of one run share: the crosshair's step, the stretch shown, and what x means.

    Signals:
        step_pointed: the crosshair stands at a step now, None where it is nowhere.
        stretch_changed: all charts show another stretch of x (start, end), None for everything.
        axis_changed: x means something else now.
    """

    step_pointed = Signal(object)
    stretch_changed = Signal(object)
    axis_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.step: float | None = None
        self.leader: QObject | None = None  # the chart that is pointed at; the others tell their value only
        self.stretch: tuple[float, float] | None = None
        self.x_name = "step"
        self.x_wording: Callable[[float], str] = lambda value: f"{value:,.0f}"
        self.x_spacings: Sequence[float] = ()
        self.x_unit = "step"
        self._steps: Sequence[float] = ()
        self._places: Sequence[float] = ()
        self.heading: Callable[[float], str] = lambda step: f"step {step:,.0f}"

    def point(self, step: float | None) -> None:
        """Move the crosshair of all charts."""
        if step != self.step:
            self.step = step
            self.step_pointed.emit(step)

    def show_stretch(self, stretch: tuple[float, float] | None) -> None:
        """Show another stretch of x in all charts."""
        if stretch != self.stretch:
            self.stretch = stretch
            self.stretch_changed.emit(stretch)

    def set_axis(
        self,
        name: str,
        wording: Callable[[float], str],
        steps: Sequence[float] = (),
        places: Sequence[float] = (),
        spacings: Sequence[float] = (),
    ) -> None:
        """Let x mean something else: `places[i]` is where `steps[i]` stands; none for the step itself."""
        changed = name != self.x_name or places is not self._places
        self.x_spacings = spacings
        self.x_unit = "" if spacings else name
        self.x_name, self.x_wording, self._steps, self._places = name, wording, steps, places
        if changed:
            self.stretch = None
            self.axis_changed.emit()

    def place(self, steps: Floats) -> Floats:
        """Return where steps stand on the x axis."""
        if not len(self._steps) or not len(steps):
            return steps
        first = max(0, bisect_left(self._steps, float(steps[0])) - 1)
        return np.interp(steps, np.array(self._steps[first:]), np.array(self._places[first:]))

    def step_at(self, place: float) -> float:
        """Return the step that stands at an x."""
        if not len(self._steps):
            return place
        return float(np.interp(place, np.array(self._places), np.array(self._steps)))
