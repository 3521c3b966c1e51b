"""Columns and their roles, what else they could be, and the names in them that want a meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from app.pages.wizard.data_facts import FORMAT_WORDS
from app.pages.wizard.data_names import KNOWN_ROLES, NamesInData
from app.pages.wizard.fields import counted
from app.pages.wizard.mapping import ROLE_WORDS
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.flow import FlowLayout
from app.widgets.label import TextLabel
from app.widgets.mapping_view import ColumnLine, MappingView
from app.widgets.names_editor import NamesEditor
from engine.paths import show_name


class ColumnsCard(Card):
    """The mapping of one file at a time.

    Signals:
        role_chosen: (column, role), as MappingView tells it.
        format_chosen: another format for the file.
        source_chosen: the number of the file whose columns are to be shown.
        role_names_edited, label_names_edited: the whole mapping as it is now.
    """

    role_chosen = Signal(str, str)
    format_chosen = Signal(str)
    source_chosen = Signal(int)
    role_names_edited = Signal(object)
    label_names_edited = Signal(object)

    def __init__(self) -> None:
        self._others = QWidget()
        self._others_row = QHBoxLayout(self._others)
        self._others_row.setContentsMargins(0, 0, 0, 0)
        self._others_row.setSpacing(6)
        super().__init__("Columns", self._others)
        self.sources = QWidget()
        self._sources_row = FlowLayout(self.sources)
        self.body.addWidget(self.sources)
        self.mapping = MappingView()
        self.body.addWidget(self.mapping)
        self.roles_place, self.roles = self._names("Roles that are not known", KNOWN_ROLES)
        self.labels_place, self.labels = self._names("What the numbers of the answer are called", ())
        self.chips: dict[str, QPushButton] = {}
        self._files: tuple[str, ...] = ()
        self.mapping.role_chosen.connect(self.role_chosen)
        self.roles.edited.connect(self.role_names_edited)
        self.labels.edited.connect(self.label_names_edited)
        self.show_alternatives(())
        self.show_sources((), 0)
        self.show_names(NamesInData(), {}, {})

    def _names(self, title: str, choices: Sequence[str]) -> tuple[QWidget, NamesEditor]:
        place, editor = QWidget(), NamesEditor(choices)
        column = QVBoxLayout(place)
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(6)
        column.addWidget(TextLabel(title, "strong"))
        column.addWidget(editor)
        self.body.addWidget(place)
        return place, editor

    def show_sources(self, files: Sequence[str], chosen: int) -> None:
        """Offer the files whose columns can be shown; one alone needs no choice."""
        if tuple(files) != self._files:
            self._files = tuple(files)
            _clear(self._sources_row)
            self._group = QButtonGroup(self)
            for number, name in enumerate(files):
                chip = button(show_name(name, 40), kind="chip", name=f"Columns of {name}")
                chip.clicked.connect(lambda _checked=False, n=number: self.source_chosen.emit(n))
                self._group.addButton(chip, number)
                self._sources_row.addWidget(chip)
        self.sources.setVisible(len(files) > 1)
        if len(files) > 1:
            self._group.button(min(chosen, len(files) - 1)).setChecked(True)

    def show_columns(self, lines: Sequence[ColumnLine], roles: Sequence[str]) -> None:
        """Draw the columns of one file."""
        self.mapping.show_columns(lines, roles, ROLE_WORDS)
        self.mapping.setVisible(bool(lines))

    def show_alternatives(self, formats: Sequence[str]) -> None:
        """Offer what else the columns could be."""
        if list(formats) == list(self.chips) and formats:
            return
        _clear(self._others_row)
        self.chips = {}
        self._others.setVisible(bool(formats))
        if formats:
            self._others_row.addWidget(TextLabel("Could also be", "small"))
        for format in formats:
            words = FORMAT_WORDS.get(format, format)
            chip = button(words, kind="chip", name=f"Read as {words}")
            chip.setCheckable(False)
            chip.clicked.connect(lambda _checked=False, f=format: self.format_chosen.emit(f))
            self._others_row.addWidget(chip)
            self.chips[format] = chip

    def show_names(
        self, found: NamesInData, role_names: Mapping[str, str], label_names: Mapping[str, str]
    ) -> None:
        """Offer a meaning for unknown roles, and a name for labels that are numbers."""
        known = {*KNOWN_ROLES, "human", "gpt", "model", "bot", "prompter", "developer", "function"}
        roles = [name for name in found.roles if name.lower() not in known or name in role_names]
        self._show(self.roles_place, self.roles, roles, role_names, found.roles)
        self._show(
            self.labels_place, self.labels, sorted(found.labels, key=_as_number), label_names, found.labels
        )

    @staticmethod
    def _show(
        place: QWidget, editor: NamesEditor, names: list[str], meanings: Mapping[str, str], counts: Any
    ) -> None:
        place.setVisible(bool(names))
        notes = {name: f"{counted(counts[name], 'time', 'times')} in the first rows" for name in names}
        editor.show_names(names, meanings, notes)

    def focus_names(self) -> bool:
        """Put the cursor on the first role without a meaning; False when there is none."""
        editor = next(iter(self.roles.editors.values()), None)
        if editor is None or self.roles_place.isHidden():
            return False
        editor.setFocus()
        return True


def _as_number(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return 0.0, label


def _clear(layout: Any) -> None:
    while (item := layout.takeAt(0)) is not None:
        widget = item.widget()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
