"""The trash: everything that was deleted in the last thirty days, to be brought back or to go for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QSortFilterProxyModel, Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QHeaderView

from app.i18n import number
from app.services import Services
from app.tables.trash import COLUMNS, KINDS, TrashModel
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.cells import Cell, RowTable
from app.widgets.label import text_label
from app.widgets.question import ask
from engine.errors import EngineError
from engine.runs import trash
from engine.runs.trash import KEEP_DAYS, Trashed

FOLDED_FIRST = ("deleted", "kind")


class TrashView(Card):
    """A table with what can be done about it.

    Signals:
        changed: something was brought back or went for good.
        left: back to the runs.
    """

    changed = Signal()
    left = Signal()

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self.model = TrashModel(self)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self.model)
        self._sorted.setSortRole(Cell.SORT)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(button("Back to the runs", "chevron-left", on_click=self.left.emit))
        self.words = text_label("", "small", wrap=True)
        row.addWidget(self.words, 1)
        self.restore_button = button("Restore", "undo", on_click=self.restore_chosen)
        self.remove_button = button("Delete for good…", "trash", "danger", on_click=self.remove_chosen)
        self.empty_button = button("Empty trash…", "trash", "danger", on_click=self.empty)
        for made in (self.restore_button, self.remove_button, self.empty_button):
            row.addWidget(made)
        self.body.addLayout(row)
        self.table = RowTable("Deleted things")
        self.table.setModel(self._sorted)
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.body.addWidget(self.table, 1)
        self.table.resized.connect(self._fit_columns)
        current_theme().changed.connect(self._fit_columns)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._show_buttons())
        self.table.activated.connect(lambda _index: self.restore_chosen())
        shortcut = QShortcut(QKeySequence("Del"), self.table)
        shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
        shortcut.activated.connect(self.remove_chosen)
        self.show_items([])

    def show_items(self, items: Sequence[Trashed]) -> None:
        """Show what is in the trash now."""
        chosen = {each.place for each in self.chosen()}
        self.model.show_items(items)
        for row in range(self._sorted.rowCount()):
            if self._item(row).place in chosen:
                self.table.selectRow(row)
        if not self.chosen() and self._sorted.rowCount():
            self.table.selectRow(0)
        self.words.setText(f"Deleted things stay here for {KEEP_DAYS} days. Enter brings one back.")
        self._show_buttons()

    def chosen(self) -> list[Trashed]:
        """Return what is selected."""
        return [self._item(index.row()) for index in self.table.selectionModel().selectedRows()]

    def restore_chosen(self) -> None:
        """Bring back what is selected."""
        items = self.chosen()
        if not items:
            return

        def restored(_: Any) -> None:
            words = items[0].name if len(items) == 1 else f"{number(len(items))} things"
            self._services.notify(f"{words} is back." if len(items) == 1 else f"{words} are back.", "ok")
            self.changed.emit()

        self._do(lambda: [trash.restore(each) for each in items], restored)

    def remove_chosen(self) -> None:
        """Let what is selected go for good, after asking."""
        self._remove(self.chosen())

    def empty(self) -> None:
        """Let everything go for good, after asking."""
        self._remove(self.model.items)

    def _remove(self, items: list[Trashed]) -> None:
        if not items:
            return
        words = counted(items)
        text = f"{words} with all files. This cannot be undone."
        if ask(self, f"Delete {words} for good?", text, "Delete for good"):
            self._do(lambda: [trash.remove(each) for each in items], lambda _: self.changed.emit())

    def _do(self, act: Callable[[], Any], then: Callable[[Any], None]) -> None:
        self._services.background.run(act, then, self._tell)

    def _tell(self, error: EngineError) -> None:
        self._services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)
        self.changed.emit()

    def _item(self, row: int) -> Trashed:
        return self.model.item_at(self._sorted.mapToSource(self._sorted.index(row, 0)).row())

    def _show_buttons(self) -> None:
        some = bool(self.chosen())
        self.restore_button.setEnabled(some)
        self.remove_button.setEnabled(some)
        self.empty_button.setEnabled(bool(self.model.items))

    def _fit_columns(self) -> None:
        theme, room = current_theme(), self.table.viewport().width()
        need = sum(theme.px(column.width) for column in COLUMNS)
        for place, column in enumerate(COLUMNS):
            hidden = column.key in FOLDED_FIRST and need > room
            need -= theme.px(column.width) if hidden else 0
            self.table.setColumnHidden(place, hidden)
            self.table.setColumnWidth(place, theme.px(column.width))
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)


def counted(items: Sequence[Trashed]) -> str:
    """Return what things there are, as 2 runs and 1 adapter."""
    counts: dict[str, int] = {}
    for each in items:
        counts[each.kind] = counts.get(each.kind, 0) + 1
    words = [_many(kind, count) for kind, count in counts.items()]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _many(kind: str, count: int) -> str:
    word = KINDS[kind][0].lower()
    return f"1 {word}" if count == 1 else f"{number(count)} {word}s"
