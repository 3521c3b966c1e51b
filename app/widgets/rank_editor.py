"""Editors of the adapter: rank by slider or number, modules by chips."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QPushButton, QSlider

from app.widgets.button import button
from app.widgets.editors import Editor, TypedEditor
from engine.recipe.fields import FieldSpec

RANKS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
MODULE_WORDS = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "o_proj": "output",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
    "lm_head": "head",
    "embed_out": "head",
    "query_key_value": "query key value",
    "qkv_proj": "query key value",
    "c_attn": "query key value",
    "gate_up_proj": "gate and up",
}
ALL_LINEAR = "all-linear"


class _RankSlider(QSlider):
    """Arrows go to the next usual rank, with Shift three further."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        pace = {Qt.Key.Key_Left: -1, Qt.Key.Key_Down: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: 1}.get(
            Qt.Key(event.key())
        )
        if pace is None:
            super().keyPressEvent(event)
            return
        far = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        self.setValue(self.value() + pace * (3 if far else 1))


class RankEditor(TypedEditor):
    """A slider over the usual ranks with the typed value beside it."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.grows = True
        self.slider = _RankSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, len(RANKS) - 1)
        self.slider.setAccessibleName(f"{spec.label}, slider")
        self.slider.setAccessibleDescription(spec.help)
        self._row.insertWidget(0, self.slider, 1)
        self._row.setSpacing(12)
        self._showing = False
        self.slider.valueChanged.connect(self._on_slid)

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


class ModulesEditor(Editor):
    """One chip for each kind of linear module; all of them together are `all-linear`."""

    grows = True

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self._row = self._in_flow()
        self.chips: dict[str, QPushButton] = {}
        self._names: list[str] = []
        self._value: Any = ALL_LINEAR

    def show_groups(self, names: list[str]) -> None:
        """Offer the modules of another model; modules of the recipe that it lacks stay visible."""
        self._names = list(names)
        chosen = _as_list(self._value)
        wanted = [*names, *(name for name in chosen if name not in names)]
        if wanted == list(self.chips):
            return
        for chip in self.chips.values():
            self._row.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
        self.chips = {}
        for name in wanted:
            chip = button(MODULE_WORDS.get(name, name), kind="chip", tip=name)
            chip.setAccessibleName(f"{self.spec.label}: {name}")
            chip.clicked.connect(self._on_chip_clicked)
            self._row.addWidget(chip)
            self.chips[name] = chip
        if self.chips:
            self.setFocusProxy(next(iter(self.chips.values())))
        self.show_value(self._value)

    def show_value(self, value: Any) -> None:
        self._value = value
        chosen = _as_list(value)
        if any(name not in self.chips for name in chosen):
            self.show_groups(self._names)
            return
        for name, chip in self.chips.items():
            whole = value == ALL_LINEAR and not is_head(name)
            chip.setChecked(whole or name in chosen)

    def _on_chip_clicked(self) -> None:
        chosen = [name for name, chip in self.chips.items() if chip.isChecked()]
        inner = [name for name in self.chips if not is_head(name)]
        if not chosen:
            self.misread.emit("", "Choose at least one kind of module.")
            return
        self._value = ALL_LINEAR if chosen == inner else chosen
        self.edited.emit(self._value)


def is_head(name: str) -> bool:
    """Say whether a module is the output head, which `all-linear` leaves out."""
    return MODULE_WORDS.get(name) == "head"


def _as_list(value: Any) -> list[str]:
    if value == ALL_LINEAR:
        return []
    return [value] if isinstance(value, str) else list(value)
