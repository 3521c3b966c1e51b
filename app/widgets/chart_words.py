"""A chart in words: as CSV, as a table, and spoken."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent
from PySide6.QtWidgets import QWidget

from app.widgets.chart_group import SeriesSpec
from engine.encoders import csv_text

Told = Sequence[tuple[SeriesSpec, Sequence[float], Sequence[float]]]
Index = QModelIndex | QPersistentModelIndex
NOWHERE = QModelIndex()
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


def csv_of(series: Told) -> str:
    """Return all series as CSV: a row a step that any of them has, empty where a series has none."""
    columns = [dict(zip(steps, values, strict=True)) for _, steps, values in series]
    steps = sorted(set().union(*columns)) if columns else []
    rows: list[list[object]] = [["step", *(spec.label for spec, _, _ in series)]]
    rows += [[f"{step:.10g}", *(_cell(column.get(step)) for column in columns)] for step in steps]
    return csv_text(rows)


def _cell(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(value)


def announce(widget: QWidget, words: str) -> None:
    """Let a screen reader say something; nothing happens where none listens."""
    if QAccessible.isActive():
        QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(widget, words))


class SeriesTable(QAbstractTableModel):
    """The values behind a chart, newest step first, read where they lie."""

    def __init__(self, wording: Callable[[float], str]) -> None:
        super().__init__()
        self._wording = wording
        self._series: Told = ()
        self._steps: Sequence[float] = ()
        self._count = 0

    def show_series(self, series: Told) -> None:
        """Show series as they are now."""
        self.beginResetModel()
        self._series = series
        self._steps = max((steps for _, steps, _ in series), key=len, default=())
        self._count = len(self._steps)
        self.endResetModel()

    def rowCount(self, parent: Index = NOWHERE) -> int:
        return 0 if parent.isValid() else self._count

    def columnCount(self, parent: Index = NOWHERE) -> int:
        return 0 if parent.isValid() else 1 + len(self._series)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return RIGHT
        if role != Qt.ItemDataRole.DisplayRole or orientation != Qt.Orientation.Horizontal:
            return None
        return "Step" if section == 0 else self._series[section - 1][0].label

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return RIGHT
        row = self._count - 1 - index.row()
        if role != Qt.ItemDataRole.DisplayRole or not 0 <= row < len(self._steps):
            return None
        step = self._steps[row]
        if index.column() == 0:
            return f"{step:,.0f}"
        _, steps, values = self._series[index.column() - 1]
        place = bisect_left(steps, step)
        if place >= len(steps) or steps[place] != step or not math.isfinite(values[place]):
            return ""
        return self._wording(values[place])
