"""A small table filled by hand, written as a file of rows that can be trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout

from app.pages.wizard.fields import counted
from app.services import Services
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import TextLabel
from app.widgets.notice import Notice
from app.widgets.pair_table import PairTable
from app.widgets.typed_editors import LineField
from engine.durable import write_file
from engine.errors import EngineError, from_os_error
from engine.paths import datasets_dir, slug

USUAL_NAME = "my-examples"


def write_pairs(name: str, pairs: Sequence[tuple[str, str]]) -> Path:
    """Write prompts and answers as JSONL into the folder of data sets, beside what is there; return the file.

    Raises EngineError DISK-* where it cannot be written.
    """
    stem = slug(name, USUAL_NAME)
    lines = [json.dumps({"prompt": p, "answer": a}, ensure_ascii=False) for p, a in pairs]
    try:
        folder = datasets_dir()
        file, number = folder / f"{stem}.jsonl", 2
        while file.exists():
            file, number = folder / f"{stem}-{number}.jsonl", number + 1
        write_file(file, "\n".join(lines) + "\n")
    except OSError as error:
        raise from_os_error(error, str(error.filename or stem)) from error
    return file


class HandTable(Card):
    """The table with its name and the press that makes a file of it.

    Signals:
        made: the file that was written.
        closed: the table is to be put away.
    """

    made = Signal(object)
    closed = Signal()

    def __init__(self, services: Services) -> None:
        self.count = TextLabel("", "small")
        super().__init__("Make a table by hand", self.count)
        self._services = services
        words = "Type prompts and answers, or paste two columns copied from a spreadsheet (Ctrl+V)."
        self.body.addWidget(TextLabel(words, "small", wrap=True))
        self.table = PairTable("Prompt", "Answer")
        self.table.setMinimumHeight(current_theme().px(240))
        self.body.addWidget(self.table, 1)
        self.error = Notice("bad")
        self.error.hide()
        self.body.addWidget(self.error)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(TextLabel("Name", "body"))
        self.name = LineField()
        self.name.setAccessibleName("Name of the table")
        self.name.setPlaceholderText(USUAL_NAME)
        self.name.setFixedWidth(current_theme().px(220))
        row.addWidget(self.name)
        row.addStretch(1)
        row.addWidget(button("Put away", on_click=self.closed.emit))
        self.use = button("Use this table", kind="primary", on_click=self.write)
        row.addWidget(self.use)
        self.body.addLayout(row)
        self.table.pairs_changed.connect(self._show_count)
        self._show_count()

    def focus_table(self) -> None:
        """Put the cursor into the first cell."""
        self.table.setCurrentCell(0, 0)
        self.table.setFocus(Qt.FocusReason.OtherFocusReason)

    def write(self) -> None:
        """Write the rows in the background and tell the file."""
        pairs, name = self.table.pairs(), self.name.text()
        if pairs:
            self.use.setEnabled(False)
            self._services.background.run(lambda: write_pairs(name, pairs), self._on_written, self._on_failed)

    def _on_written(self, file: Path) -> None:
        self.error.hide()
        self._show_count()
        self.made.emit(file)

    def _on_failed(self, error: EngineError) -> None:
        self._show_count()
        self.error.show_error(error, [("Try again", self.write)])
        self.error.show()

    def _show_count(self) -> None:
        whole, halves = len(self.table.pairs()), self.table.halves()
        words = [counted(whole, "row", "rows")] if whole else ["no row yet"]
        if halves:
            words.append(f"{counted(halves, 'row has', 'rows have')} one side only")
        self.count.setText(" · ".join(words))
        self.use.setEnabled(whole > 0)
