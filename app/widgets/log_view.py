"""Lines of a log with a filter; what is new is appended, and the end stays in sight if it was."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QApplication, QHBoxLayout, QLineEdit, QPlainTextEdit, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.button import button

MOST_LINES = 5000
LONGEST_LINE = 2000


class LogView(QWidget):
    """Plain lines, newest last."""

    def __init__(self, name: str = "Log") -> None:
        super().__init__()
        self._lines: list[str] = []
        self._mark: object = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        row = QHBoxLayout()
        row.setSpacing(6)
        self.filter = QLineEdit(placeholderText="Filter lines", clearButtonEnabled=True)
        self.filter.setAccessibleName("Filter lines")
        self.filter.textChanged.connect(self._fill)
        row.addWidget(self.filter, 1)
        row.addWidget(button(icon="copy", kind="ghost", name="Copy the log", on_click=self._copy))
        column.addLayout(row)
        self.view = QPlainTextEdit(readOnly=True)
        self.view.setProperty("flat", "true")
        self.view.setAccessibleName(name)
        self.view.setMaximumBlockCount(MOST_LINES)
        column.addWidget(self.view, 1)
        self._follow_theme()
        current_theme().changed.connect(self._follow_theme)

    def show_lines(self, lines: Sequence[str], mark: object = None) -> None:
        """Show lines; those already there are kept while `mark` stays the same."""
        known = len(self._lines)
        fresh = list(lines[known:]) if mark == self._mark and known <= len(lines) else None
        if fresh == []:
            return
        self._mark = mark
        self._lines = [line[:LONGEST_LINE] for line in lines]
        if fresh is None:
            self._fill()
        else:
            self._append([line[:LONGEST_LINE] for line in fresh])

    def _append(self, lines: list[str]) -> None:
        bar = self.view.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 4
        matching = self._matching(lines)[-MOST_LINES:]
        if matching:
            self.view.appendPlainText("\n".join(matching))  # at once: each call lays the view out
        if at_end:
            bar.setValue(bar.maximum())

    def _fill(self) -> None:
        self.view.setPlainText("\n".join(self._matching(self._lines)))
        bar = self.view.verticalScrollBar()
        bar.setValue(bar.maximum())

    def _matching(self, lines: list[str]) -> list[str]:
        wanted = self.filter.text().strip().lower()
        return [line for line in lines if wanted in line.lower()]

    def _copy(self) -> None:
        QApplication.clipboard().setText("\n".join(self._lines))

    def _follow_theme(self) -> None:
        self.view.setFont(current_theme().font("least", mono=True))
