"""Choosing a chat template: the model's own, a built-in one, or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QFileDialog

from app.widgets.editors import ComboEditor
from engine.paths import resources
from engine.recipe.fields import FieldSpec

FROM_FILE = "\0file"
LONGEST_NAME = 40


class TemplateEditor(ComboEditor):
    """A list of templates; another one (a file, or the template itself) is added when it is chosen."""

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec, ())
        self.combo.addItem("Auto: the model's own", "auto")
        # By their files: the engine's room of templates brings jinja2, which a form does not need.
        for file in sorted(resources("templates").glob("*.jinja")):
            self.combo.addItem(file.stem, file.stem)
        self.combo.addItem("From a file…", FROM_FILE)
        self._value = "auto"
        self.combo.activated.disconnect()
        self.combo.activated.connect(self._on_activated)

    def show_value(self, value: Any) -> None:
        self._value = str(value)
        if self.combo.findData(self._value) < 0:
            name = "The recipe's own" if "{" in self._value else Path(self._value).name
            self.combo.insertItem(self.combo.count() - 1, name[:LONGEST_NAME], self._value)
        super().show_value(self._value)

    def _on_activated(self, index: int) -> None:
        value = self.combo.itemData(index)
        if value == FROM_FILE:
            chosen, _ = QFileDialog.getOpenFileName(
                self, "Choose a chat template", "", "Templates (*.jinja *.j2 *.txt)"
            )
            self.show_value(chosen or self._value)
            if not chosen:
                return
            value = chosen
        self._value = value
        self.edited.emit(value)
