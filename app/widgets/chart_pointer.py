"""Mouse and keyboard on a chart: crosshair, zoom, wandering along the curve."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QWheelEvent

if TYPE_CHECKING:
    from app.widgets.chart import Chart

GLIDE = 1.6  # one press of + or one notch of the wheel
FEWEST_STEPS = 8.0


class ChartPointer(QObject):
    """Turns events of a chart's viewport and its keys into the group's crosshair and stretch."""

    def __init__(self, chart: Chart) -> None:
        super().__init__(chart)
        self._chart = chart
        self._group = chart.group
        self._drag: tuple[float, tuple[float, float]] | None = None
        self._moved = False

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        kind = event.type()
        if isinstance(event, QMouseEvent):
            return self._on_mouse(event, kind)
        if isinstance(event, QWheelEvent):
            return self._on_wheel(event)
        if kind == QEvent.Type.Leave and not self._chart.hasFocus():
            self._group.point(None)
        return False

    def _on_mouse(self, event: QMouseEvent, kind: QEvent.Type) -> bool:
        x = event.position().x()
        if kind == QEvent.Type.MouseButtonPress and event.button() == Qt.MouseButton.LeftButton:
            self._chart.setFocus(Qt.FocusReason.MouseFocusReason)
            self._drag, self._moved = (x, self._chart.stretch()), False
            return True
        if kind == QEvent.Type.MouseMove:
            if self._drag is not None and event.buttons() & Qt.MouseButton.LeftButton:
                self._pan(x)
            else:
                self.point_at(x)
            return True
        if kind == QEvent.Type.MouseButtonRelease and event.button() == Qt.MouseButton.LeftButton:
            if not self._moved and self._group.step is not None:
                self._chart.chosen.emit(self._group.step)
            self._drag = None
            return True
        if kind == QEvent.Type.MouseButtonDblClick:
            self._group.show_stretch(None)
            return True
        return False

    def _on_wheel(self, event: QWheelEvent) -> bool:
        """Zoom with Ctrl, or where the chart has the focus; else the page scrolls."""
        notches = event.angleDelta().y() / 120
        wanted = event.modifiers() & Qt.KeyboardModifier.ControlModifier or self._chart.hasFocus()
        if not notches or not wanted:
            return False
        self.zoom(GLIDE**notches, self._chart.place_at(event.position().x()))
        return True

    def point_at(self, x: float) -> None:
        """Put the crosshair on the step nearest to a pixel."""
        steps = self._chart.leading_steps()
        if not len(steps):
            return
        self._group.leader = self._chart
        wanted = self._group.step_at(self._chart.place_at(x))
        self._group.point(steps[_nearest(steps, wanted)])

    def _pan(self, x: float) -> None:
        assert self._drag is not None
        begun, (start, end) = self._drag
        if self._group.stretch is None or abs(x - begun) < 3 and not self._moved:
            return
        self._moved = True
        shift = self._chart.place_at(begun) - self._chart.place_at(x)
        first, last = self._chart.whole()
        now_start, now_end = self._chart.stretch()
        shift = max(first - now_start, min(last - now_end, shift))
        self._group.show_stretch((now_start + shift, now_end + shift))
        self._drag = (x, (start, end))

    def zoom(self, factor: float, about: float | None = None) -> None:
        """Show a stretch `factor` times shorter around a place, the crosshair, or the middle."""
        start, end = self._chart.stretch()
        first, last = self._chart.whole()
        if about is None:
            about = self._chart.crosshair_place()
        if about is None or not start <= about <= end:
            about = (start + end) / 2
        span = min(last - first, (end - start) / factor)
        span = max(span, min(last - first, FEWEST_STEPS if self._group.x_name == "step" else 1e-6))
        left = about - (about - start) / (end - start) * span if end > start else first
        left = max(first, min(last - span, left))
        whole = span >= (last - first) * 0.999
        self._group.show_stretch(None if whole else (left, left + span))

    # -- keyboard ------------------------------------------------------------------------------------------
    def press(self, event: QKeyEvent) -> bool:
        """Obey a key; return False for keys that mean nothing here."""
        key, chart = event.key(), self._chart
        pace = 10 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            return self._press_with_control(event)
        moves = {
            Qt.Key.Key_Left: -pace,
            Qt.Key.Key_Right: pace,
            Qt.Key.Key_Home: -(10**9),
            Qt.Key.Key_End: 10**9,
        }
        if key in moves:
            self._wander(moves[Qt.Key(key)])
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(GLIDE)
        elif key == Qt.Key.Key_Minus:
            self.zoom(1 / GLIDE)
        elif key == Qt.Key.Key_0:
            self._group.show_stretch(None)
        elif key == Qt.Key.Key_L:
            chart.set_log(not chart.logarithmic)
        elif key == Qt.Key.Key_T:
            chart.table_requested.emit()
        elif key == Qt.Key.Key_M:
            chart.toggle_smoothing()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._group.step is not None:
            chart.chosen.emit(self._group.step)
        elif key == Qt.Key.Key_Escape and self._group.step is not None:
            self._group.point(None)
        else:
            return False
        return True

    def _press_with_control(self, event: QKeyEvent) -> bool:
        if event.key() != Qt.Key.Key_C:
            return False
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._chart.copy_csv()
        else:
            self._chart.copy_picture()
        return True

    def _wander(self, by: int) -> None:
        steps = self._chart.leading_steps()
        if not len(steps):
            return
        if self._group.step is None:
            index = len(steps) - 1
        else:
            index = max(0, min(len(steps) - 1, _nearest(steps, self._group.step) + by))
        self._group.leader = self._chart
        self._group.point(steps[index])
        self._keep_in_sight(steps[index])
        self._chart.speak_crosshair()

    def _keep_in_sight(self, step: float) -> None:
        if self._group.stretch is None:
            return
        start, end = self._group.stretch
        place = self._chart.crosshair_place()
        if place is not None and not start <= place <= end:
            shift = place - (start if place < start else end)
            self._group.show_stretch((start + shift, end + shift))


def _nearest(steps: object, wanted: float) -> int:
    """Return the index of the step nearest to `wanted`."""
    index = min(bisect_left(steps, wanted), len(steps) - 1)  # type: ignore[arg-type,call-overload]
    if index and abs(steps[index - 1] - wanted) <= abs(steps[index] - wanted):  # type: ignore[index]
        index -= 1
    return index
