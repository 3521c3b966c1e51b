"""One row as the model will get it, with ways to the others and out of a row that is broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices, QIntValidator
from PySide6.QtWidgets import QApplication, QHBoxLayout, QPushButton, QWidget

from app import i18n
from app.pages.wizard.data_peek import ShownRow, row_at, rows_of
from app.services import Services
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card, Inset
from app.widgets.example_view import ExampleView
from app.widgets.label import ElidedLabel, TextLabel
from app.widgets.notice import Notice
from app.widgets.pill import Pill
from app.widgets.typed_editors import LineField
from engine.errors import EngineError
from engine.paths import show_name

TRAINED_WORDS = {
    "assistant": "trained: assistant",
    "last": "trained: last answer",
    "all": "trained: everything",
}


class ExamplePanel(Card):
    """One row, rendered and tokenised.

    Signals:
        skip_requested: rows like the one shown are to be left out.
        filter_left: all rows are to be paged through again.
    """

    skip_requested = Signal()
    filter_left = Signal()

    def __init__(self, services: Services) -> None:
        self._services = services
        super().__init__("As the model will get it", self._build_tools())
        self.problem = Notice("bad")
        self.problem.hide()
        self.body.addWidget(self.problem)
        inset = Inset()
        self.example = ExampleView()
        self.example.paged.connect(self.page)
        inset.body.addWidget(self.example)
        self.body.addWidget(inset)
        foot = QHBoxLayout()
        foot.setSpacing(8)
        self.words = ElidedLabel("", "small")
        foot.addWidget(self.words, 1)
        self.copy = button("Copy", "copy", kind="link", compact=True, on_click=self._on_copy_pressed)
        self.copy.setAccessibleName("Copy what the model sees")
        foot.addWidget(self.copy)
        self.body.addLayout(foot)
        self.index = 0
        self.shown: ShownRow | None = None
        self._view: Any = None
        self._only: tuple[int, ...] | None = None
        self._turn = self._answered = 0

    def _build_tools(self) -> QWidget:
        tools = QWidget()
        row = QHBoxLayout(tools)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        self.filter: QPushButton = button("", "x", kind="chip", on_click=self.leave_filter)
        self.filter.hide()
        self.place = LineField()
        self.place.setAccessibleName("Number of the row (Ctrl+G)")
        self.place.setValidator(QIntValidator(1, 1_000_000_000, self.place))
        self.place.setFixedWidth(current_theme().px(64))
        self.place.editingFinished.connect(self._on_place_entered)
        self.count = TextLabel("", "small")
        self.trained = Pill()
        before = button(icon="chevron-left", kind="ghost", name="Previous row (Page Up)", compact=True)
        after = button(icon="chevron-right", kind="ghost", name="Next row (Page Down)", compact=True)
        before.clicked.connect(lambda: self.page(-1))
        after.clicked.connect(lambda: self.page(1))
        self.pagers = (before, after)
        row.addWidget(self.filter)
        for widget in (TextLabel("row", "small"), self.place, self.count, before, after, self.trained):
            row.addWidget(widget)
        return tools

    # -- which row -----------------------------------------------------------------------------------------
    def settled(self) -> bool:
        """Say whether the row asked for is the one shown."""
        return self._turn == self._answered

    def show_view(self, view: Any, train_on: str) -> None:
        """Show the present row of some data."""
        if view is not self._view:
            self._view = view
            self._only = None if self._only is None else tuple(i for i in self._only if i < rows_of(view))
        self.trained.set(TRAINED_WORDS[train_on], "accent", "")
        self._show()

    def page(self, pace: int) -> None:
        """Show the row before or after, of those that are paged through."""
        rows = self._rows()
        if rows:
            at = self._at(rows)
            self.index = rows[(at + pace) % len(rows)]
            self._show()

    def go_to(self, index: int) -> None:
        """Show one row (counted from 0)."""
        self.index = index
        self._show()

    def show_only(self, indices: Sequence[int], name: str) -> None:
        """Page through these rows alone; `name` says what they are."""
        if not indices:
            return
        self._only = tuple(indices)
        self.filter.setText(name)
        self.filter.setAccessibleName(f"Only {name}; press to see all rows")
        self.filter.show()
        self.index = self._only[0]
        self._show()

    def leave_filter(self) -> None:
        """Page through all rows again."""
        self._only = None
        self.filter.hide()
        self.filter_left.emit()
        self._show()

    def _rows(self) -> Sequence[int]:
        if self._only is not None:
            return self._only
        return range(rows_of(self._view) if self._view is not None else 0)

    def _at(self, rows: Sequence[int]) -> int:
        """Return the place of the present row, or of the nearest before, among those paged through."""
        if isinstance(rows, range):
            return max(0, min(self.index, len(rows) - 1))
        return max((at for at, row in enumerate(rows) if row <= self.index), default=0)

    def _on_place_entered(self) -> None:
        if self.place.text() and self.place.text() != str(self.index + 1):
            self.go_to(int(self.place.text()) - 1)

    # -- what is shown -------------------------------------------------------------------------------------
    def _show(self) -> None:
        view, rows = self._view, self._rows()
        if view is None or not rows:
            return
        self.index = max(0, min(self.index, rows_of(view) - 1))
        self.place.setText(str(self.index + 1))
        of = i18n.number(rows_of(view))
        if self._only is not None:
            of += f" ({i18n.number(self._at(rows) + 1)} of {i18n.number(len(rows))} shown)"
        self.count.setText(f"of {of}")
        self._turn += 1
        turn, index = self._turn, self.index

        def taken(example: ShownRow) -> None:
            if turn == self._turn:
                self._answered = turn
                self.show_example(example)

        def failed(error: EngineError) -> None:
            if turn == self._turn:
                self._answered = turn
                self._show_problem(error, None, None)

        # Far rows are looked for in the file itself, which takes its time.
        self._services.background.run(lambda: row_at(view, index), taken, failed)

    def show_example(self, example: ShownRow) -> None:
        """Show a row that was looked up, or why it cannot be used."""
        self.shown = example
        name = f"cut at {i18n.number(example.limit)}" if example.limit else "cut here"
        self.example.show_example(example.segments, example.marks, example.beyond, name)
        self.problem.setVisible(example.problem is not None)
        if example.problem is not None:
            self._show_problem(example.problem, example.file, example.line)
        self.words.setText(example_words(example))

    def _show_problem(self, problem: Any, file: str | None, line: int | None) -> None:
        actions: list[tuple[str, Callable[[], object]]] = [("Skip such rows", self.skip_requested.emit)]
        file = file or getattr(problem, "file", None)
        if file:
            actions.append(("Edit the file…", lambda: open_folder_of(file)))
        place = f"{show_name(Path(file).name)}, line {i18n.number(line)}" if file and line else ""
        hint = " ".join(filter(None, (problem.hint, place)))
        self.problem.show_notice("bad", problem.message, hint, actions, code=problem.code)
        self.problem.show()

    def _on_copy_pressed(self) -> None:
        QApplication.clipboard().setText(self.example.whole_text())
        self._services.notify("Copied as the model sees it.", "ok")


def example_words(example: ShownRow) -> str:
    """Return the line below a row: its length, what of it is trained, and where it stands."""
    name = show_name(Path(example.file).name, 60)
    place = f"{name}, line {i18n.number(example.line)}" if example.line else ""
    if example.problem is not None:
        return place
    cut = f", cut at {i18n.number(example.limit)}" if example.beyond else ""
    trained = f"{i18n.number(example.trained)} of them trained (tinted)"
    return " · ".join(filter(None, (f"{i18n.number(example.tokens)} tokens{cut}, {trained}", place)))


def open_folder_of(file: str) -> None:
    """Open the folder that a file lies in."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(Path(file).expanduser().parent)))
