"""What was deleted, as a Qt table: what it is, when it was deleted, how long it stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from app.i18n import number, when
from app.tables.column import Column
from app.widgets.cells import Cell

if TYPE_CHECKING:
    from engine.runs.trash import Trashed

Index = QModelIndex | QPersistentModelIndex
# kind: (word, icon)
KINDS: dict[str, tuple[str, str]] = {
    "run": ("Run", "chart"),
    "adapter": ("Adapter", "link"),
    "model": ("Model", "layers"),
    "conversation": ("Conversation", "chat"),
    "test": ("Kept test", "check"),
    "draft": ("Unfinished run", "edit"),
}


def days_words(item: Trashed) -> str:
    """Return how long a thing can still be brought back."""
    return "1 day" if item.days_left == 1 else f"{number(item.days_left)} days"


COLUMNS = (
    Column("name", "Name", lambda t: t.name, lambda t: t.name.lower(), 360),
    Column("kind", "What", lambda t: KINDS[t.kind][0], lambda t: t.kind, 160),
    Column("deleted", "Deleted", lambda t: when(t.deleted), lambda t: -t.deleted, 160),
    Column("left", "Stays", days_words, lambda t: t.days_left, 110),
)


class TrashModel(QAbstractTableModel):
    """Rows of Trashed."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._items: list[Trashed] = []

    @property
    def items(self) -> list[Trashed]:
        """Return the rows."""
        return list(self._items)

    def show_items(self, items: Sequence[Trashed]) -> None:
        """Show other rows; the same ones stay as they are."""
        if list(items) != self._items:
            self.beginResetModel()
            self._items = list(items)
            self.endResetModel()

    def item_at(self, row: int) -> Trashed:
        """Return the thing of a row."""
        return self._items[row]

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008  (Qt's own signature)
        return 0 if parent.isValid() else len(self._items)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section].title
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        item, column = self._items[index.row()], COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(item)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{column.title} {column.text(item)}"
        if role == Cell.SORT:
            return column.sort(item)
        if role == Cell.SECOND_LINE:
            return (item.note or None) if column.key == "name" else None
        if role == Cell.TOKEN:
            return "text" if column.key == "name" else "warn" if _soon(item, column) else "dim"
        if role == Cell.ICON:
            return KINDS[item.kind][1] if column.key == "kind" else None
        return column.key == "name" if role == Cell.STRONG else None


def _soon(item: Trashed, column: Column) -> bool:
    return column.key == "left" and item.days_left <= 3
