"""The editor of the rank: a slider over the usual ones, or a number."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QSlider

from app.widgets.typed_editors import UsualEditor
from engine.recipe.fields import FieldSpec

RANKS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


class _RankSlider(QSlider):
    """Arrows go to the next usual rank, with Shift three further.

    Signals:
        pointed_at: the place under the pointer, -1 when it leaves.
    """

    pointed_at = Signal(int)

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setMouseTracking(True)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        if event.buttons() == Qt.MouseButton.NoButton:
            share = event.position().x() / max(1, self.width())
            self.pointed_at.emit(max(0, min(self.maximum(), round(share * self.maximum()))))

    def leaveEvent(self, event: QEvent) -> None:
        self.pointed_at.emit(-1)
        super().leaveEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        pace = {Qt.Key.Key_Left: -1, Qt.Key.Key_Down: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: 1}.get(
            Qt.Key(event.key())
        )
        if pace is None:
            super().keyPressEvent(event)
            return
        far = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        self.setValue(self.value() + pace * (3 if far else 1))


class RankEditor(UsualEditor):
    """A slider over the usual ranks, the typed value beside it, and the most usual as chips."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.grows = True
        self.slider = _RankSlider()
        self.slider.setRange(0, len(RANKS) - 1)
        self.slider.setAccessibleName(f"{spec.label}, slider")
        self.slider.setAccessibleDescription(spec.help)
        self._row.insertWidget(0, self.slider, 1)
        self._row.setSpacing(12)
        self._showing = False
        self.slider.valueChanged.connect(self._on_slid)
        self.slider.pointed_at.connect(self._on_pointed_at)

    def _end_line(self) -> None:
        """The slider takes what room there is."""

    def show_value(self, value: Any) -> None:
        super().show_value(value)
        self._showing = True
        nearest = min(range(len(RANKS)), key=lambda index: abs(RANKS[index] - int(value)))
        self.slider.setValue(nearest)
        self._showing = False

    def _on_slid(self, index: int) -> None:
        if not self._showing:
            self.line.setText(str(RANKS[index]))
            self.edited.emit(RANKS[index])

    def _on_pointed_at(self, index: int) -> None:
        self.looked_at.emit((RANKS[index],) if index >= 0 else None)
