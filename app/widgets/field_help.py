"""The card that explains one field: what it does, usual values to press, what a larger value costs."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from app.widgets.button import button
from app.widgets.field_text import write_value
from app.widgets.floating import Floating
from app.widgets.label import TextLabel
from app.widgets.look import Look
from app.widgets.mark import Mark
from engine.recipe.fields import FieldSpec

# What a field's larger value does: effect -> direction -> words.
EFFECT_WORDS = {
    "memory": {1: "More needs more memory", -1: "Saves memory", 0: ""},
    "time": {1: "More takes longer", -1: "Saves time", 0: ""},
    "quality": {1: "More can learn more", -1: "May cost a little quality", 0: ""},
}


class HelpCard(Floating):
    """What F1 opens at a field.

    Signals:
        chosen: one of the usual values was pressed.
        looked_at: (value,) of the usual value that is pointed at, None when it is left.
    """

    chosen = Signal(object)
    looked_at = Signal(object)

    def __init__(self, spec: FieldSpec, anchor: QWidget) -> None:
        super().__init__(anchor, 330)
        self.setAccessibleName(f"About {spec.label}")
        column = self.column
        column.addWidget(TextLabel(spec.label, "strong"))
        column.addWidget(TextLabel(spec.help, "body", wrap=True))
        if spec.suggestions:
            column.addLayout(self._build_suggestions(spec))
        column.addLayout(self._build_effects(spec))
        bounds = _bounds(spec)
        if bounds:
            column.addWidget(TextLabel(bounds, "small", wrap=True))
        column.addWidget(TextLabel(spec.path, "mono_dim").make_selectable())

    def _build_suggestions(self, spec: FieldSpec) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(TextLabel("Usual", "small"))
        self.chips: list[QPushButton] = []
        for value in spec.suggestions:
            chip = button(write_value(spec, value), kind="chip", name=f"Use {write_value(spec, value)}")
            chip.setCheckable(False)
            chip.clicked.connect(lambda _checked=False, v=value: self._on_chip_pressed(v))
            Look(chip, lambda over, v=value: self.looked_at.emit((v,) if over else None), self)
            row.addWidget(chip)
            self.chips.append(chip)
        row.addStretch(1)
        return row

    def _build_effects(self, spec: FieldSpec) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(4)
        for name, words in EFFECT_WORDS.items():
            direction = int(spec.effects.get(name, 0))
            if not words[direction]:
                continue
            row = QHBoxLayout()
            row.setSpacing(6)
            good = direction > 0 if name == "quality" else direction < 0
            row.addWidget(Mark("arrow-up" if direction > 0 else "arrow-down", "ok" if good else "warn", 14))
            row.addWidget(TextLabel(words[direction], "small_text"), 1)
            column.addLayout(row)
        return column

    def _on_chip_pressed(self, value: Any) -> None:
        self.chosen.emit(value)
        self.close_now()


def _bounds(spec: FieldSpec) -> str:
    low = None if spec.minimum is None else write_value(spec, spec.minimum)
    high = None if spec.maximum is None else write_value(spec, spec.maximum)
    unit = f" {spec.unit}" if spec.unit else ""
    if low is not None and high is not None:
        return f"Between {low} and {high}{unit}."
    if low is not None:
        return f"{'More than' if spec.exclusive_minimum else 'At least'} {low}{unit}."
    return f"At most {high}{unit}." if high is not None else ""
