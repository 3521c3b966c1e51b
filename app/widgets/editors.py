"""One editor for each kind of recipe field; every editor speaks the same four words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from PySide6.QtCore import QEvent, QObject, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.field_text import bound_words, choice_words, way_out, write_value
from app.widgets.flow import FlowLayout
from app.widgets.label import TextLabel
from app.widgets.look import Look
from app.widgets.switch import Switch
from engine.recipe.fields import FieldSpec, parse_text


def _row(place: QWidget | None = None) -> QHBoxLayout:
    row = QHBoxLayout(place)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(6)
    return row


class Editor(QWidget):
    """A control for one field.

    Signals:
        edited: the person chose or typed a value that can be read.
        misread: what stands there cannot be read: (text, the way out).
        left: the focus went away or Enter was pressed, so that a fault may be said at once.
        looked_at: (value,) of a choice that is pointed at or has the keyboard, None when it is left.
    """

    looked_at = Signal(object)
    edited = Signal(object)
    misread = Signal(str, str)
    left = Signal()

    # Whether the control takes all the room to the right.
    grows = False

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__()
        self.spec = spec
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def _in_line(self) -> QHBoxLayout:
        """Give the editor a row for its parts and return it."""
        return _row(self)

    def _in_flow(self) -> FlowLayout:
        """Give the editor a row for chips that wraps, and return it."""
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        return FlowLayout(self)

    def show_value(self, value: Any) -> None:
        """Show a value without telling anybody."""
        raise NotImplementedError

    def show_text(self, text: str) -> None:
        """Show text that could not be read, as it was typed."""

    def mark_faulty(self, faulty: bool) -> None:
        """Draw the control's border in `bad`, or as usual."""

    def _watch(self, widget: QWidget, value: Callable[[], Any]) -> None:
        """Tell what pressing a part of the control would choose, while it is looked at."""
        Look(widget, lambda looked: self.looked_at.emit((value(),) if looked else None), self)

    def _give_name(self, widget: QWidget) -> None:
        widget.setAccessibleName(self.spec.label)
        widget.setAccessibleDescription(self.spec.help)
        self.setFocusProxy(widget)


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
        usual = QWidget()
        row = _row(usual)
        for value in spec.suggestions:
            words = write_value(spec, value)
            chip = button(words, kind="chip", name=f"{spec.label}: {words}")
            chip.clicked.connect(lambda _checked=False, v=value: self._on_chip_pressed(v))
            self._watch(chip, lambda v=value: v)
            row.addWidget(chip)
            self.chips[value] = chip
        row.addStretch(1)
        self._end_line()
        self._column.addWidget(usual)

    def _end_line(self) -> None:
        self._row.addWidget(TextLabel(self.spec.unit, "dim"))
        self._row.addStretch(1)

    def _in_line(self) -> QHBoxLayout:
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(6)
        row = _row()
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
