"""The folders on this computer that cannot be used: greyed, each with its code, the reason and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from app.i18n import number
from app.widgets.button import button
from app.widgets.label import ElidedLabel, TextLabel, set_tip
from app.widgets.mark import Mark
from engine.models.refused import Refused

SHOWN_AT_FIRST = 3


class RefusedRow(QFrame):
    """One folder; it can be reached by keyboard, to be heard, and never be chosen."""

    def __init__(self, refused: Refused) -> None:
        super().__init__()
        self.refused = refused
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        error = refused.error
        row = QHBoxLayout(self)
        row.setContentsMargins(13, 3, 13, 3)
        row.setSpacing(10)
        row.addWidget(Mark("octagon", "dim", 14), 0, Qt.AlignmentFlag.AlignTop)
        words = QVBoxLayout()
        words.setSpacing(1)
        head = QHBoxLayout()
        head.setSpacing(8)
        self.name = ElidedLabel(refused.name, "dim")
        self.code = TextLabel(error.code, "mono_dim").make_selectable()
        head.addWidget(self.name, 1)
        head.addWidget(self.code)
        words.addLayout(head)
        self.reason = TextLabel(f"{error.message} {error.hint}", "least", wrap=True).make_selectable()
        words.addWidget(self.reason)
        row.addLayout(words, 1)
        set_tip(self, str(refused.path))
        self.setAccessibleName(f"{refused.name}: cannot be used, {error.code}")
        self.setAccessibleDescription(self.reason.text())


class RefusedList(QWidget):
    """Stands below what can be used; the first few are shown, the rest by a press."""

    def __init__(self) -> None:
        super().__init__()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 6, 0, 0)
        self._column.setSpacing(2)
        self.title = TextLabel("Here, but cannot be used", "small")
        self._column.addWidget(self.title)
        self.rows: list[RefusedRow] = []
        self.more = button("", kind="link", on_click=self._show_all)
        self._column.addWidget(self.more, 0, Qt.AlignmentFlag.AlignLeft)
        self._words: list[str] = []
        self._all = False
        self.hide()

    def show_refused(self, found: Sequence[Refused]) -> None:
        """Show other folders."""
        for row in self.rows:
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.rows = [RefusedRow(refused) for refused in found]
        for row in self.rows:
            self._column.insertWidget(self._column.count() - 1, row)
        self._show_fitting()

    def filter(self, words: str) -> int:
        """Show the folders whose name or place holds the words; return how many do."""
        self._words = words.lower().split()
        return self._show_fitting()

    def _show_fitting(self) -> int:
        fitting = [row for row in self.rows if self._fits(row)]
        shown = fitting if self._all or self._words else fitting[:SHOWN_AT_FIRST]
        for row in self.rows:
            row.setHidden(row not in shown)
        self.more.setText(f"Show all {number(len(fitting))}")
        self.more.setHidden(len(shown) == len(fitting))
        self.setHidden(not fitting)
        return len(fitting)

    def _fits(self, row: RefusedRow) -> bool:
        text = f"{row.refused.name} {row.refused.path}".lower()
        return all(word in text for word in self._words)

    def _show_all(self) -> None:
        self._all = True
        self._show_fitting()
