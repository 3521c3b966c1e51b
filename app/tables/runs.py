"""The runs of the library as a Qt table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from app.i18n import duration, loss, number, when
from app.seals import mark_state, mark_words
from app.tables.column import Column
from app.widgets.cells import Cell
from app.widgets.seal_view import STATE_TOKENS

if TYPE_CHECKING:
    from engine.runs.store import RunSummary

Index = QModelIndex | QPersistentModelIndex

# state: (word, token, icon)
STATES: dict[str, tuple[str, str, str]] = {
    "queued": ("Queued", "dim", "clock"),
    "running": ("Training", "accent", "dot"),
    "paused": ("Paused", "warn", "pause"),
    "finished": ("Finished", "ok", "check"),
    "stopped": ("Stopped", "warn", "stop"),
    "failed": ("Failed", "bad", "octagon"),
    "crashed": ("Crashed", "bad", "octagon"),
}


def state_word(run: RunSummary) -> str:
    """Return a run's state in a word."""
    if run.newer:
        return "Newer version"
    if run.problem:
        return "Damaged"
    if run.damage:
        return "Result damaged"
    if run.state == "queued" and run.place is None:
        return "Not started"
    word = STATES[run.state][0]
    if run.state == "running":
        return f"{word} {100 * run.step // run.total_steps} %" if run.total_steps else "Preparing"
    return word


def state_detail(run: RunSummary) -> str:
    """Return what belongs to the state: how far it came, or why it ended."""
    if run.problem:
        return run.problem
    if run.damage:
        return run.damage
    if run.state == "failed" and run.message:
        return run.message
    if run.place is not None:
        return "next in the queue" if run.place == 1 else f"place {number(run.place)} in the queue"
    if not run.total_steps:
        return ""
    if run.state == "finished":
        return f"{number(run.step)} steps"
    return f"step {number(run.step)} of {number(run.total_steps)}"


def state_words(run: RunSummary) -> str:
    """Return a run's state in one line, as a person would say it."""
    return ", ".join(part for part in (state_word(run), state_detail(run)) if part)


def state_token(run: RunSummary) -> str:
    """Return the colour of a run's state."""
    if run.newer:
        return "warn"
    return "bad" if run.problem or run.damage else STATES[run.state][1]


def state_icon(run: RunSummary) -> str:
    """Return the icon of a run's state."""
    if run.newer:
        return "triangle"
    return "octagon" if run.problem or run.damage else STATES[run.state][2]


def about(run: RunSummary) -> str:
    """Return base and method in one line."""
    return " · ".join(part for part in (run.base, run.method) if part)


def _seal_order(run: RunSummary) -> tuple[int, int]:
    """Sort runs with red seals first, then by how few are green; runs without any come last."""
    red = sum(seal.state == "red" for seal in run.seals)
    return (-red, sum(seal.state == "green" for seal in run.seals)) if run.seals else (1, 0)


def _number(value: float | None) -> float:
    return float("inf") if value is None else value


COLUMNS: dict[str, Column] = {
    column.key: column
    for column in (
        Column("name", "Run", lambda r: r.name, lambda r: r.name.lower(), 190, dim=False),
        Column("curve", "Loss", lambda r: "", lambda r: _number(r.loss), 146),
        Column("state", "State", state_word, lambda r: r.state, 190),
        Column("base", "Base", lambda r: r.base, lambda r: r.base.lower(), 150),
        Column("data", "Data", lambda r: r.data, lambda r: r.data.lower(), 160),
        Column("method", "Method", lambda r: r.method, lambda r: r.method, 100),
        Column(
            "best",
            "Best",
            lambda r: loss(r.best_validation),
            lambda r: _number(r.best_validation),
            80,
            True,
            False,
        ),
        Column("time", "Time", lambda r: duration(r.seconds), lambda r: _number(r.seconds), 110),
        Column("seals", "Seals", lambda r: mark_words(r.seals), lambda r: _seal_order(r), 84),
        Column("date", "When", lambda r: when(r.created), lambda r: -r.created, 130),
    )
}
LIBRARY = ("name", "curve", "state", "seals", "base", "data", "method", "best", "time", "date")
HOME = ("name", "curve", "state", "seals", "best", "date")


class RunsModel(QAbstractTableModel):
    """Rows of RunSummary in the chosen columns; the name can be edited.

    Signals:
        rename_requested: a run (RunSummary) shall have another name (str).
    """

    rename_requested = Signal(object, str)

    def __init__(self, columns: Sequence[str] = LIBRARY, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._columns = [COLUMNS[key] for key in columns]
        self._runs: list[RunSummary] = []
        self._folded: tuple[str, ...] = ()

    def fold(self, keys: Sequence[str]) -> None:
        """Tell in the name's second line what columns that have no room would have said."""
        if tuple(keys) != self._folded:
            self._folded = tuple(keys)
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._runs) - 1, 0))

    def show_runs(self, runs: Sequence[RunSummary]) -> None:
        """Show other runs; a row that stays keeps its selection and the place of the keyboard."""
        places = {run.id: place for place, run in enumerate(runs)}
        if not any(run.id in places for run in self._runs):
            self.beginResetModel()
            self._runs = list(runs)
            self.endResetModel()
            return
        for row in reversed(range(len(self._runs))):
            if self._runs[row].id not in places:
                self.beginRemoveRows(QModelIndex(), row, row)
                del self._runs[row]
                self.endRemoveRows()
        self._order(places)
        for row, run in enumerate(runs):
            if row == len(self._runs) or self._runs[row].id != run.id:
                self.beginInsertRows(QModelIndex(), row, row)
                self._runs.insert(row, run)
                self.endInsertRows()
            elif self._runs[row] != run:
                self._runs[row] = run
                self.dataChanged.emit(self.index(row, 0), self.index(row, len(self._columns) - 1))

    def _order(self, places: dict[str, int]) -> None:
        """Put the rows in the order of `places`; whoever holds an index of one holds it on."""
        ordered = sorted(self._runs, key=lambda run: places[run.id])
        rows = {run.id: row for row, run in enumerate(ordered)}
        if list(rows) == [run.id for run in self._runs]:
            return
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        after = [self.index(rows[self._runs[each.row()].id], each.column()) for each in before]
        self._runs = ordered
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    @property
    def runs(self) -> list[RunSummary]:
        """Return the rows."""
        return list(self._runs)

    def run_at(self, row: int) -> RunSummary:
        """Return the run of a row."""
        return self._runs[row]

    def column(self, key: str) -> int:
        """Return the place of a column by its key."""
        return [column.key for column in self._columns].index(key)

    def columns(self) -> list[Column]:
        """Return the columns in order."""
        return list(self._columns)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008  (Qt's own signature)
        return 0 if parent.isValid() else len(self._runs)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._columns)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return self._columns[section].title
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        editable = self._columns[index.column()].key == "name" and not self._runs[index.row()].problem
        return flags | Qt.ItemFlag.ItemIsEditable if editable else flags

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        name = str(value).strip()
        run = self._runs[index.row()]
        if role != Qt.ItemDataRole.EditRole or not name or name == run.name:
            return False
        self.rename_requested.emit(run, name)
        return True

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        run, column = self._runs[index.row()], self._columns[index.column()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return column.text(run)
        if role == Cell.SORT:
            return column.sort(run)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{column.title} {column.text(run)}"
        if role == Cell.SECOND_LINE:
            return self._second_line(run, column)
        answer = _CELLS.get(role)
        return answer(run, column) if answer is not None else None

    def _second_line(self, run: RunSummary, column: Column) -> str | None:
        if column.key == "state":
            return state_detail(run) or None
        if column.key != "name":
            return None
        # Base and method always stand somewhere; the data only if its column was folded away.
        columns = {each.key for each in self._columns}
        apart = {*self._folded, *({"base", "method"} - columns)}
        parts = [COLUMNS[key].text(run) for key in ("base", "method", "data") if key in apart]
        return " · ".join(part for part in parts if part) or None


def _token(run: RunSummary, column: Column) -> str:
    if column.key == "seals":
        return STATE_TOKENS[mark_state(run.seals)]
    if column.key in ("state", "curve"):
        return state_token(run)
    return "dim" if column.dim else "text"


def _icon(run: RunSummary, column: Column) -> str | None:
    if column.key == "seals" and run.seals:
        return f"seal-{mark_state(run.seals)}"
    return state_icon(run) if column.key == "state" else None


_CELLS: dict[int, Callable[[RunSummary, Column], Any]] = {
    Cell.TOKEN: _token,
    Cell.ICON: lambda run, column: _icon(run, column),
    Cell.CURVE: lambda run, column: run.curve if column.key == "curve" else None,
    Cell.MONO: lambda run, column: column.mono,
    Cell.STRONG: lambda run, column: column.key in ("name", "state"),
}
