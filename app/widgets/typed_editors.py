"""Editors of fields that are typed: text, numbers with their usual values, numbers or a word, files."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QEvent
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.editor import Editor, row_of
from app.widgets.field_text import bound_words, way_out, write_value
from app.widgets.label import TextLabel
from engine.recipe.fields import FieldSpec, parse_text


def _set_invalid(widget: QWidget, faulty: bool) -> None:
    if (widget.property("invalid") == "true") != faulty:
        widget.setProperty("invalid", "true" if faulty else "false")
        widget.style().unpolish(widget)
        widget.style().polish(widget)


class LineField(QLineEdit):
    """A line whose Ctrl+Z belongs to the form, which undoes whole field changes."""

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and (
            event.matches(QKeySequence.StandardKey.Undo) or event.matches(QKeySequence.StandardKey.Redo)
        ):
            event.ignore()
            return False
        return super().event(event)


class TypedEditor(Editor):
    """A line of text that is read by `parse_text`: numbers, names, mappings, plain text."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self._row = self._in_line()
        self.line = LineField()
        self._give_name(self.line)
        self._typing = False
        numeric = spec.kind in ("integer", "number", "integer_or_auto")
        self.grows = not numeric
        if numeric:
            self.line.setFont(current_theme().font("body", mono=True))
            current_theme().changed.connect(self._on_theme_changed)
            self._on_theme_changed()
        if spec.optional:
            self.line.setPlaceholderText("none" if numeric else "")
        self._row.addWidget(self.line, 0 if numeric else 1)
        self.line.textEdited.connect(self._on_text_edited)
        self.line.editingFinished.connect(self._on_left)

    def show_value(self, value: Any) -> None:
        text = write_value(self.spec, value)
        if self.line.text() != text and not self._says(value):
            self.line.setText(text)

    def _says(self, value: Any) -> bool:
        """Say whether the text being typed already means `value`; then it is left alone."""
        if not self._typing:
            return False
        try:
            return bool(parse_text(self.spec, self.line.text()) == value)
        except ValueError:
            return False

    def show_text(self, text: str) -> None:
        self.line.setText(text)

    def mark_faulty(self, faulty: bool) -> None:
        _set_invalid(self.line, faulty)

    def _on_theme_changed(self) -> None:
        self.line.setFixedWidth(current_theme().px(92))
        self.line.setFont(current_theme().font("body", mono=True))

    def _on_text_edited(self, text: str) -> None:
        self._typing = True
        try:
            value = parse_text(self.spec, text)
        except ValueError as error:
            self.misread.emit(text, way_out(self.spec, error))
            return
        if fault := bound_words(self.spec, value):
            self.misread.emit(text, fault)
        else:
            self.edited.emit(value)

    def _on_left(self) -> None:
        self._typing = False
        self.left.emit()


class UsualEditor(TypedEditor):
    """A number with its usual values below it, one press each."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.chips: dict[Any, QPushButton] = {}
        self.usual = QWidget()
        row = row_of(self.usual)
        for value in spec.suggestions:
            words = write_value(spec, value)
            chip = button(words, kind="chip", name=f"{spec.label}: {words}")
            chip.clicked.connect(lambda _checked=False, v=value: self._on_chip_pressed(v))
            self._watch(chip, lambda v=value: v)
            row.addWidget(chip)
            self.chips[value] = chip
        row.addStretch(1)
        self._end_line()
        self._column.addWidget(self.usual)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.EnabledChange:  # what cannot be pressed is not offered
            self.usual.setVisible(self.isEnabled())
        super().changeEvent(event)

    def _end_line(self) -> None:
        self._row.addWidget(TextLabel(self.spec.unit, "dim"))
        self._row.addStretch(1)

    def _in_line(self) -> QHBoxLayout:
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(6)
        row = row_of()
        self._column.addLayout(row)
        return row

    def show_value(self, value: Any) -> None:
        super().show_value(value)
        for usual, chip in self.chips.items():
            chip.setChecked(usual == value)

    def _on_chip_pressed(self, value: Any) -> None:
        self._typing = False
        self.show_value(value)
        self.edited.emit(value)


class StepsEditor(TypedEditor):
    """A whole number, or one of the words that stand for it: auto, once an epoch, off."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.line.setPlaceholderText("")
        self._chips: dict[str, QPushButton] = {}
        self._words = {"Auto": "auto", "Each epoch": "epoch", "Off": None}
        for word, value in self._words.items():
            if value not in spec.choices and not (value is None and spec.optional):
                continue
            chip = button(word, kind="chip", name=f"{spec.label}: {word}")
            chip.clicked.connect(lambda _checked=False, v=value: self._on_chip_pressed(v))
            self._watch(chip, lambda v=value: v)
            self._row.addWidget(chip)
            self._chips[word] = chip

    def show_value(self, value: Any) -> None:
        if not (self._typing and self.line.text().strip().lower() == str(value)):
            super().show_value(None if isinstance(value, str) else value)
        for word, chip in self._chips.items():
            chip.setChecked(value == self._words[word])

    def _on_chip_pressed(self, value: Any) -> None:
        self.line.clear()
        self.show_value(value)
        self.edited.emit(value)
        self.left.emit()

    def _on_text_edited(self, text: str) -> None:
        if text.strip():
            super()._on_text_edited(text)
        else:
            self._on_chip_pressed("auto")


class PathEditor(TypedEditor):
    """A file that can be typed or looked for."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self._row.addWidget(button("Browse...", icon="folder", on_click=self._on_browse_pressed))

    def _on_browse_pressed(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, self.spec.label, self.line.text())
        if chosen:
            self.line.setText(chosen)
            self.edited.emit(chosen)
