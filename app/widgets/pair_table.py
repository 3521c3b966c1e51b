"""A table of two columns to be filled by hand or pasted from a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QApplication, QHeaderView, QTableWidget, QTableWidgetItem

from app.theme.style import current_theme

MOST_ROWS = 20_000


def pasted_cells(text: str) -> list[list[str]]:
    """Return the cells that a spreadsheet put on the clipboard: tabs between them, quotes around lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    if not text:
        return []
    if "\t" not in text and not text.startswith('"'):
        return [[line] for line in text.split("\n")]
    try:
        return [list(row) for row in csv.reader(io.StringIO(text), delimiter="\t")]
    except csv.Error:
        return [line.split("\t") for line in text.split("\n")]


class PairTable(QTableWidget):
    """Rows of question and answer; the last row is always empty, so that there is room for one more.

    Signals:
        pairs_changed: a cell has other text.
    """

    pairs_changed = Signal()

    def __init__(self, first: str = "Prompt", second: str = "Answer") -> None:
        super().__init__(1, 2)
        self.setAccessibleName("Table of prompts and answers; Ctrl+V pastes from a spreadsheet")
        self.setHorizontalHeaderLabels([first, second])
        self.verticalHeader().setVisible(False)
        self.setShowGrid(True)
        self.setWordWrap(True)
        self.setTabKeyNavigation(True)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.verticalHeader().setDefaultSectionSize(current_theme().px(34))
        ways = QAbstractItemView.EditTrigger
        self.setEditTriggers(
            ways.DoubleClicked | ways.AnyKeyPressed | ways.EditKeyPressed | ways.SelectedClicked
        )
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.itemChanged.connect(lambda _item: self._on_changed())

    def pairs(self) -> list[tuple[str, str]]:
        """Return the rows that have both a prompt and an answer."""
        rows = (self._pair(row) for row in range(self.rowCount()))
        return [pair for pair in rows if pair[0].strip() and pair[1].strip()]

    def halves(self) -> int:
        """Return how many rows have only one of the two."""
        rows = (self._pair(row) for row in range(self.rowCount()))
        return sum(1 for pair in rows if bool(pair[0].strip()) != bool(pair[1].strip()))

    def _pair(self, row: int) -> tuple[str, str]:
        first, second = self.item(row, 0), self.item(row, 1)
        return (first.text() if first else "", second.text() if second else "")

    def paste(self, text: str) -> None:
        """Put what was copied from a spreadsheet into the table, from the cell in focus on."""
        cells = pasted_cells(text)[:MOST_ROWS]
        if cells:
            self._fill(max(0, self.currentRow()), max(0, self.currentColumn()), cells)

    def _fill(self, top: int, left: int, cells: Sequence[Sequence[str]]) -> None:
        if cells and max(len(row) for row in cells) > 1:
            left = 0
        self.blockSignals(True)
        self.setRowCount(max(self.rowCount(), top + len(cells) + 1))
        for row, values in enumerate(cells, top):
            for column, value in enumerate(values[: 2 - left], left):
                self.setItem(row, column, QTableWidgetItem(value))
        self.blockSignals(False)
        self._on_changed()

    def _on_changed(self) -> None:
        if any(self._pair(self.rowCount() - 1)) and self.rowCount() < MOST_ROWS:
            self.blockSignals(True)
            self.setRowCount(self.rowCount() + 1)
            self.blockSignals(False)
        self.pairs_changed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Paste):
            self.paste(QApplication.clipboard().text())
        elif event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            for item in self.selectedItems():
                item.setText("")
        else:
            super().keyPressEvent(event)
