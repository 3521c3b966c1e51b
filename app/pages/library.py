"""Runs: every run of this home with its curve; open, rename, delete with undo, trash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QItemSelectionModel, QPoint, QSortFilterProxyModel, Qt, QTimer, QUrl
from PySide6.QtGui import QDesktopServices, QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QMenu,
    QPushButton,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from app.i18n import number
from app.pages.library_preview import RunPreview
from app.pages.library_queue import LibraryQueue
from app.pages.library_trash import TrashView
from app.pages.page import Page, padded_column
from app.services import Services
from app.tables.run_filter import HELP, RunFilter, parse
from app.tables.runs import LIBRARY, RunsModel
from app.theme.style import current_theme
from app.theme.tokens import GAP
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.cells import Cell, RowTable
from app.widgets.empty import EmptyState
from app.widgets.label import text_label
from app.workers.result_checker import ResultChecker
from engine.errors import EngineError
from engine.runs.check import has_adapter
from engine.runs.compared import finding_on_runs
from engine.runs.store import RunSummary, delete_run, list_runs, rename_run, restore_run
from engine.runs.trash import Trashed, everything

REFRESH_MS = 3000
LEAST_HEIGHT = 760  # below it the preview makes room for a queue
FOLDED_FIRST = ("base", "method", "data", "time", "date")


class _Filtered(QSortFilterProxyModel):
    """Sorts by the model's own sort keys and lets through what the filter matches."""

    def __init__(self, parent: Page) -> None:
        super().__init__(parent)
        self._filter = RunFilter(())
        self.setSortRole(Cell.SORT)

    def set_filter(self, chosen: RunFilter) -> None:
        self.beginFilterChange()
        self._filter = chosen
        self.endFilterChange()

    def filterAcceptsRow(self, row: int, parent: Any) -> bool:
        model = self.sourceModel()
        return not isinstance(model, RunsModel) or self._filter.matches(model.run_at(row))


class LibraryPage(Page):
    """The library of runs."""

    title = "Runs"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._loaded, self._asking, self._in_trash = False, False, False
        self._trashed: list[Trashed] | None = None  # None: to be looked at again
        self._turn = 0
        self._actions: list[QWidget] = []
        self.results = ResultChecker(self)
        self._build()
        self._connect()
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self.refresh)

    # -- making ------------------------------------------------------------------------------------------
    def _build(self) -> None:
        column = padded_column(self)
        self._stack = QStackedLayout()
        column.addLayout(self._stack)
        both = QWidget()
        rows = QVBoxLayout(both)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(GAP)
        self.card = Card()
        self.card.body.addLayout(self._tool_row())
        self.note = text_label("", "small")
        self.note.hide()
        self.card.body.addWidget(self.note)
        self.card.body.addWidget(self._make_table(), 1)
        self.empty = EmptyState(
            ("file", "chart", "chat"),
            "Your runs will be here, each with its curve, its settings and its result.",
            ("New run", self._new_run),
            ("Try the example", lambda: self.navigate_requested.emit("wizard", {"example": True})),
            title="No runs yet",
        )
        self.preview = RunPreview(self.navigate_requested.emit)
        self.preview.hide()
        self.queue = LibraryQueue(self.services, self.navigate_requested.emit)
        self.trash = TrashView(self.services)
        self.trash.hide()
        rows.addWidget(self.queue)
        rows.addWidget(self.card, 1)
        rows.addWidget(self.trash, 1)
        rows.addWidget(self.preview)
        self._list = both
        self._stack.addWidget(both)
        self._stack.addWidget(self.empty)

    def _tool_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        self.filter = QLineEdit()
        self.filter.setAccessibleName("Filter runs")
        self.filter.setAccessibleDescription(HELP)
        self.filter.setPlaceholderText(HELP)
        self.filter.setClearButtonEnabled(True)
        self.filter.setMaximumWidth(current_theme().px(430))
        row.addWidget(self.filter, 1)
        row.addStretch(1)
        self.rename_button = button("Rename", "edit", on_click=self._rename_chosen, tip="F2")
        self.folder_button = button("Folder", "folder", on_click=self._show_folder)
        self.delete_button = button("Delete", "trash", "danger", on_click=self._delete_chosen, tip="Del")
        self.trash_button = button("Trash", kind="chip", on_click=lambda: self.show_trash(True))
        for made in self._row_buttons():
            row.addWidget(made)
        row.addWidget(self.trash_button)
        return row

    def _row_buttons(self) -> tuple[QPushButton, ...]:
        return (self.rename_button, self.folder_button, self.delete_button)

    def _make_table(self) -> RowTable:
        self.model = RunsModel(LIBRARY, self)
        self.shown_model = _Filtered(self)
        self.shown_model.setSourceModel(self.model)
        self.table = RowTable("Runs")
        self.table.setModel(self.shown_model)
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.table.setEditTriggers(RowTable.EditTrigger.EditKeyPressed)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self._fit_columns()
        self.table.resized.connect(self._fit_columns)
        current_theme().changed.connect(self._fit_columns)
        return self.table

    def _fit_columns(self) -> None:
        """Fold columns away, the least telling first, until the rest has room."""
        theme = current_theme()
        columns = self.model.columns()
        room, need = self.table.viewport().width(), sum(theme.px(column.width) for column in columns)
        folded = []
        for key in FOLDED_FIRST:
            if need > room:
                folded.append(key)
                need -= theme.px(columns[self.model.column(key)].width)
        self.model.fold(folded)
        for place, column in enumerate(columns):
            self.table.setColumnHidden(place, column.key in folded)
            self.table.setColumnWidth(place, theme.px(column.width))
        for key in ("name", "state"):
            place = self.model.column(key)
            self.table.horizontalHeader().setSectionResizeMode(place, QHeaderView.ResizeMode.Stretch)
        self.table.horizontalHeader().setMinimumSectionSize(theme.px(60))

    def _connect(self) -> None:
        self.filter.textChanged.connect(self._on_filter_changed)
        self.table.activated.connect(lambda _index: self._open_chosen())
        self.table.customContextMenuRequested.connect(self._on_menu_asked)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._show_buttons())
        self.model.rename_requested.connect(self._on_rename_requested)
        self.trash.changed.connect(self._look_anew)
        self.trash.left.connect(lambda: self.show_trash(False))
        self.results.found.connect(lambda _folder: self.refresh())
        self._key("Del", self._delete_chosen)
        self._key("/", self.find)

    def _key(self, keys: str, act: Callable[[], Any]) -> None:
        shortcut = QShortcut(QKeySequence(keys), self.table)
        shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
        shortcut.activated.connect(act)

    def top_bar_actions(self) -> list[QWidget]:
        self._actions = self._actions or [
            button("Open folder…", "folder", on_click=self._open_folder),
            button("New run", "plus", "primary", on_click=self._new_run, tip="Ctrl+N"),
        ]
        return list(self._actions)

    # -- following ---------------------------------------------------------------------------------------
    def open_with(self, argument: dict[str, Any]) -> None:
        if argument.get("trash"):
            self.show_trash(True)

    def shown(self) -> None:
        self._look_anew()
        self._timer.start()

    def hidden_(self) -> None:
        self._timer.stop()

    def settled(self) -> bool:
        return self._loaded and not self.results.busy and not self._asking

    def find(self) -> None:
        self.filter.setFocus()
        self.filter.selectAll()

    def log_folder(self) -> Path | None:
        chosen = self.chosen()
        return chosen[0].folder if chosen else None

    def refresh(self) -> None:
        """Read the runs again, in the background."""
        if not self._asking:
            self._asking = True
            known, turn = self._trashed, self._turn
            self.services.background.run(lambda: _read_library(known, turn), self._on_listed, self._on_failed)

    def _look_anew(self) -> None:
        """Read the runs and the trash again: something was deleted or brought back."""
        self._trashed = None
        self._turn += 1
        self.refresh()

    def show_trash(self, wanted: bool) -> None:
        """Show what was deleted, or the runs again."""
        self._in_trash = wanted
        self.trash.setHidden(not wanted)
        self.card.setHidden(wanted)
        self._look_anew()
        self._show_buttons()

    def _on_failed(self, error: EngineError) -> None:
        self._asking, self._loaded = False, True
        self._tell(error)

    def _on_listed(self, answer: tuple[list[RunSummary], list[Trashed], int]) -> None:
        self._asking = False
        runs, trashed, turn = answer
        if turn != self._turn:
            return self.refresh()  # something changed while this reading went on
        self._loaded = True
        self._trashed = None if self._in_trash else trashed
        self.results.look(runs)
        self.queue.show_runs(runs)
        if self.table.state() == RowTable.State.EditingState:
            return  # a name is being typed; the next reading comes in three seconds
        self.trash.show_items(trashed)
        self.model.show_runs(runs)
        if not self.chosen() and self.shown_model.rowCount():
            self._choose_current()
        self.trash_button.setText(f"Trash ({number(len(trashed))})")
        self.trash_button.setHidden(not trashed)
        some = runs or trashed or self._in_trash
        self._stack.setCurrentWidget(self._list if some else self.empty)
        self._on_filter_changed()
        self._show_buttons()
        self._show_facts(runs)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._loaded:
            self._show_buttons()

    def _show_facts(self, runs: list[RunSummary]) -> None:
        going = sum(run.state in ("running", "paused") for run in runs)
        words = f"{number(len(runs))} runs" if len(runs) != 1 else "1 run"
        self.set_heading(facts=f"{words}, {going} going on" if going else words if runs else "")

    def chosen(self) -> list[RunSummary]:
        """Return the runs that are selected."""
        rows = self.table.selectionModel().selectedRows()
        return [self.model.run_at(self.shown_model.mapToSource(row).row()) for row in rows]

    def _choose_current(self) -> None:
        """Choose the row the keyboard is at, or the first; selectRow would obey a Shift that is held."""
        index = self.shown_model.index(max(0, self.table.currentIndex().row()), 0)
        flag = QItemSelectionModel.SelectionFlag
        self.table.selectionModel().setCurrentIndex(index, flag.ClearAndSelect | flag.Rows)

    def _show_buttons(self) -> None:
        chosen = self.chosen()
        one, some, trash = len(chosen) == 1, bool(chosen), self._in_trash
        self.trash_button.setChecked(trash)
        going = any(run.state in ("running", "paused") for run in chosen)
        self.rename_button.setVisible(one and not trash and not chosen[0].problem)
        self.folder_button.setVisible(one)
        self.delete_button.setVisible(some and not trash and not going)
        roomy = self.height() > current_theme().px(LEAST_HEIGHT) or self.queue.isHidden()
        self.preview.show_run(chosen[0] if one and not trash and roomy else None)
        self._show_note()

    def _on_filter_changed(self) -> None:
        self.shown_model.set_filter(parse(self.filter.text()))
        self._show_note()

    def _show_note(self) -> None:
        chosen, words = parse(self.filter.text()), ""
        if chosen.unknown:
            words = f"{' '.join(chosen.unknown)} is not understood. {HELP}."
        elif not self.shown_model.rowCount() and self.model.rowCount():
            words = "No run matches. Clear the filter to see all."
        elif found := finding_on_runs([run.folder for run in self.chosen()]):
            words = f"{found.message} ({found.rule})"
        self.note.setText(words)
        self.note.setHidden(not words)

    # -- doing -------------------------------------------------------------------------------------------
    def primary_action(self) -> None:
        self._open_chosen()

    def _open_chosen(self) -> None:
        chosen = self.chosen()
        if chosen and not self._in_trash:
            self.navigate_requested.emit("monitor", {"run": chosen[0].folder})

    def _rename_chosen(self) -> None:
        rows = self.table.selectionModel().selectedRows(self.model.column("name"))
        if rows:
            self.table.setCurrentIndex(rows[0])
            self.table.edit(rows[0])

    def _on_rename_requested(self, run: RunSummary, name: str) -> None:
        self._do(lambda: rename_run(run.folder, name))

    def _show_folder(self) -> None:
        for run in self.chosen()[:1]:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(run.folder)))

    def _delete_chosen(self) -> None:
        runs = [run for run in self.chosen() if run.state not in ("running", "paused")]
        if not runs or self._in_trash:
            return
        words = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"

        def deleted(places: list[Path]) -> None:
            self._look_anew()
            undo = ("Undo", lambda: self._do(lambda: [restore_run(place) for place in places]))
            self.services.notify(f"{words} went to the trash.", "info", undo)

        folders = [run.folder for run in runs]
        self.services.background.run(lambda: [delete_run(f) for f in folders], deleted, self._tell)

    def _do(self, act: Callable[[], Any]) -> None:
        self.services.background.run(act, lambda _: self._look_anew(), self._tell)

    def _tell(self, error: EngineError) -> None:
        self.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)

    def _new_run(self) -> None:
        self.navigate_requested.emit("wizard", None)

    def _open_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Open a run's folder")
        if chosen:
            self.navigate_requested.emit("monitor", {"run": Path(chosen)})

    def _on_menu_asked(self, place: QPoint) -> None:
        if not self.chosen():
            return
        menu = QMenu(self)
        for made in self._row_buttons():
            if made.isVisible():
                menu.addAction(made.text().replace("&&", "&"), made.click)
        run = self.chosen()[0].folder
        if len(self.chosen()) == 1 and not self._in_trash and has_adapter(run):
            menu.addAction(
                "New run from this adapter",
                lambda: self.navigate_requested.emit("wizard", {"adapter": run}),
            )
        menu.popup(self.table.viewport().mapToGlobal(place))


def _read_library(known: list[Trashed] | None, turn: int) -> tuple[list[RunSummary], list[Trashed], int]:
    """Return the runs and what is in the trash, which is looked at only where it is not known."""
    return list_runs(), everything() if known is None else known, turn
