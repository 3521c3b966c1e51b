"""What names that stand in the data mean: a field, or a list to choose from, for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QGridLayout, QLineEdit, QWidget

from app.theme.style import current_theme
from app.widgets.label import ElidedLabel, TextLabel
from engine.paths import show_name

NOT_CHOSEN = "choose…"


class NamesEditor(QWidget):
    """One line for each name in the data.

    Signals:
        edited: the whole mapping as it is now, names without a meaning left out.
    """

    edited = Signal(object)

    def __init__(self, choices: Sequence[str] = ()) -> None:
        super().__init__()
        self._choices = tuple(choices)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnMinimumWidth(0, current_theme().px(120))
        self._grid.setColumnMinimumWidth(1, current_theme().px(14))
        self._grid.setColumnStretch(3, 1)
        self.editors: dict[str, QLineEdit | QComboBox] = {}
        self._shown: tuple[tuple[str, str], ...] = ()

    def show_names(self, names: Sequence[str], meanings: Mapping[str, str], notes: Mapping[str, str]) -> None:
        """Show a line for each of `names` with what it means and a note (how often it stands there)."""
        shown = tuple((name, notes.get(name, "")) for name in names)
        if shown != self._shown:
            self._shown = shown
            self._build(names, notes)
        for name, editor in self.editors.items():
            meaning = meanings.get(name, "")
            if isinstance(editor, QComboBox):
                editor.setCurrentIndex(max(0, editor.findData(meaning)))
            elif editor.text() != meaning and not editor.hasFocus():
                editor.setText(meaning)

    def _build(self, names: Sequence[str], notes: Mapping[str, str]) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.editors = {}
        for row, name in enumerate(names):
            editor = self._combo(name) if self._choices else self._field(name)
            self.editors[name] = editor
            label = ElidedLabel(name, "mono")
            label.setFixedWidth(current_theme().px(120))
            widgets = (label, TextLabel("is", "small"), editor, ElidedLabel(notes.get(name, ""), "small"))
            for column, widget in enumerate(widgets):
                self._grid.addWidget(widget, row, column)

    def _combo(self, name: str) -> QComboBox:
        made = QComboBox()
        made.setAccessibleName(f"What {show_name(name)} means")
        made.addItem(NOT_CHOSEN, "")
        for choice in self._choices:
            made.addItem(choice, choice)
        made.setMinimumWidth(current_theme().px(170))
        made.activated.connect(lambda _index: self.edited.emit(self.meanings()))
        return made

    def _field(self, name: str) -> QLineEdit:
        made = QLineEdit()
        made.setAccessibleName(f"What {name} is called in the answer")
        made.setPlaceholderText(name)
        made.setFixedWidth(current_theme().px(220))
        made.editingFinished.connect(lambda: self.edited.emit(self.meanings()))
        return made

    def meanings(self) -> dict[str, str]:
        """Return what is chosen or typed, name by name."""
        found = {}
        for name, editor in self.editors.items():
            text = str(editor.currentData()) if isinstance(editor, QComboBox) else editor.text().strip()
            if text:
                found[name] = text
        return found
