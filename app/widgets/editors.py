"""Editors of fields that are chosen or written at length, and the editor that goes with a field."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QButtonGroup, QComboBox, QPlainTextEdit, QPushButton

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.editor import Editor
from app.widgets.field_text import choice_words
from app.widgets.switch import Switch
from app.widgets.typed_editors import PathEditor, StepsEditor, TypedEditor, UsualEditor
from engine.recipe.fields import FieldSpec


class SwitchEditor(Editor):
    """On or off."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.switch = Switch()
        self._give_name(self.switch)
        self._in_line().addWidget(self.switch)
        self.switch.clicked.connect(lambda checked: self.edited.emit(bool(checked)))
        self._watch(self.switch, lambda: not self.switch.isChecked())

    def show_value(self, value: Any) -> None:
        self.switch.setChecked(bool(value))


class SegmentsEditor(Editor):
    """A few choices side by side, one of them chosen."""

    grows = True

    def __init__(self, spec: FieldSpec, choices: Iterable[Any]) -> None:
        super().__init__(spec)
        row = self._in_flow()
        self._group = QButtonGroup(self)
        self.chips: dict[Any, QPushButton] = {}
        for choice in choices:
            chip = button(choice_words(spec, choice), kind="chip", tip=str(choice))
            chip.setAccessibleName(f"{spec.label}: {choice_words(spec, choice)}")
            chip.clicked.connect(lambda _checked=False, value=choice: self.edited.emit(value))
            self._watch(chip, lambda value=choice: value)
            self._group.addButton(chip)
            row.addWidget(chip)
            self.chips[choice] = chip
        self.setFocusProxy(next(iter(self.chips.values())))

    def show_value(self, value: Any) -> None:
        if (chip := self.chips.get(value)) is not None:
            chip.setChecked(True)
            self.setFocusProxy(chip)


class ComboEditor(Editor):
    """Many choices, one of them chosen."""

    def __init__(self, spec: FieldSpec, choices: Iterable[Any]) -> None:
        super().__init__(spec)
        self.combo = QComboBox()
        self._give_name(self.combo)
        for choice in choices:
            self.combo.addItem(choice_words(spec, choice), choice)
        self._in_line().addWidget(self.combo)
        self.combo.activated.connect(lambda index: self.edited.emit(self.combo.itemData(index)))
        self.combo.highlighted.connect(lambda index: self.looked_at.emit((self.combo.itemData(index),)))
        self.combo.view().installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Hide:  # the list is closed
            self.looked_at.emit(None)
        return super().eventFilter(watched, event)

    def show_value(self, value: Any) -> None:
        if (index := self.combo.findData(value)) >= 0:
            self.combo.setCurrentIndex(index)


class ParagraphEditor(Editor):
    """Several lines: one long text, or a list with one entry a line."""

    grows = True

    def __init__(self, spec: FieldSpec, lines: int = 3) -> None:
        super().__init__(spec)
        self._lines = lines
        self.area = QPlainTextEdit()
        self.area.setTabChangesFocus(True)
        self._give_name(self.area)
        if spec.kind == "names":
            self.area.setPlaceholderText("One a line")
        self._in_line().addWidget(self.area, 1)
        self._showing = False
        self.area.textChanged.connect(self._on_text_changed)
        current_theme().changed.connect(self._on_theme_changed)
        self._on_theme_changed()

    def show_value(self, value: Any) -> None:
        text = "\n".join(value) if isinstance(value, (list, tuple)) else (value or "")
        # What is being typed may end in a space that the recipe leaves out; it is not taken away.
        if self.area.toPlainText().strip() != text.strip():
            self._showing = True
            self.area.setPlainText(text)
            self._showing = False

    def _read(self) -> Any:
        text = self.area.toPlainText()
        if self.spec.kind == "names":
            return [line.strip() for line in text.splitlines() if line.strip()]
        return text if text.strip() or not self.spec.optional else None

    def _on_text_changed(self) -> None:
        if not self._showing:
            self.edited.emit(self._read())

    def _on_theme_changed(self) -> None:
        line = current_theme().metrics("body").lineSpacing()
        self.area.setFixedHeight(line * self._lines + current_theme().px(20))


MOST_SEGMENTS = 5
# Numbers that memory and time hang on: their usual values stand beside them, to be tried by pointing.
USUAL = frozenset({"training.per_device_train_batch_size", "training.gradient_accumulation_steps"})
PARAGRAPHS = frozenset({"data.system_prompt", "evaluation.sample_prompts"})
_MAKERS: dict[str, Callable[[FieldSpec], Editor]] = {
    "boolean": SwitchEditor,
    "path": PathEditor,
    "integer_or_auto": StepsEditor,
}


def make_editor(spec: FieldSpec, choices: Iterable[Any] | None = None) -> Editor:
    """Return the editor for a field; `choices` narrows the offered ones."""
    if spec.kind == "choice":
        offered = list(spec.choices if choices is None else choices)
        short = sum(len(choice_words(spec, choice)) for choice in offered) <= 44
        return (
            SegmentsEditor(spec, offered)
            if len(offered) <= MOST_SEGMENTS and short
            else ComboEditor(spec, offered)
        )
    if spec.path in PARAGRAPHS:
        return ParagraphEditor(spec)
    if spec.path in USUAL:
        return UsualEditor(spec)
    return _MAKERS.get(spec.kind, TypedEditor)(spec)
