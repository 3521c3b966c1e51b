"""How a table draws its cells: words in two lines, a colour with its icon, or a small curve."""

from __future__ import annotations

from enum import IntEnum

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QPainter, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
)

from app.theme.icons import draw_icon
from app.theme.style import current_theme
from app.widgets.spark import paint_curve

Index = QModelIndex | QPersistentModelIndex


class Cell(IntEnum):
    """What a model answers for a cell beside Qt's own roles."""

    SECOND_LINE = Qt.ItemDataRole.UserRole + 1
    TOKEN = Qt.ItemDataRole.UserRole + 2
    ICON = Qt.ItemDataRole.UserRole + 3
    CURVE = Qt.ItemDataRole.UserRole + 4
    MONO = Qt.ItemDataRole.UserRole + 5
    STRONG = Qt.ItemDataRole.UserRole + 6
    SORT = Qt.ItemDataRole.UserRole + 7


class CellDelegate(QStyledItemDelegate):
    """Draws the roles of `Cell`; row height follows the text size."""

    def __init__(self, parent: QObject, row_height: int = 42) -> None:
        super().__init__(parent)
        self._row_height = row_height

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        hint = super().sizeHint(option, index)
        return QSize(hint.width(), current_theme().px(self._row_height))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        theme = current_theme()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        state = option.state  # type: ignore[attr-defined]
        area: QRect = option.rect  # type: ignore[attr-defined]
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(area, theme.color("accentbg"))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(area, theme.color("raised", 0.5))
        painter.fillRect(QRect(area.left(), area.bottom(), area.width(), 1), theme.color("line"))
        inner = area.adjusted(theme.px(8), 0, -theme.px(8), -1)
        curve = index.data(Cell.CURVE)
        token = index.data(Cell.TOKEN) or "text"
        if curve is not None:
            room = QRectF(inner).adjusted(0, theme.px(9), 0, -theme.px(9))
            room.setWidth(min(room.width(), theme.px(130)))
            paint_curve(painter, room, curve, token)
        else:
            self._paint_words(painter, inner, index, token)
        painter.restore()

    def _paint_words(self, painter: QPainter, area: QRect, index: Index, token: str) -> None:
        theme = current_theme()
        mark = index.data(Cell.ICON)
        if mark:
            side = theme.px(14)
            draw_icon(painter, mark, QRectF(area.left(), area.center().y() - side / 2 + 1, side, side), token)
            area = area.adjusted(theme.px(20), 0, 0, 0)
        strong = 600 if index.data(Cell.STRONG) else 400
        font = theme.font("small" if index.data(Cell.MONO) else "body", strong, bool(index.data(Cell.MONO)))
        second = index.data(Cell.SECOND_LINE)
        words = str(index.data(Qt.ItemDataRole.DisplayRole) or "")
        upper = area.adjusted(0, 0, 0, -area.height() // 2) if second else area
        flags = Qt.AlignmentFlag.AlignLeft | (
            Qt.AlignmentFlag.AlignBottom if second else Qt.AlignmentFlag.AlignVCenter
        )
        painter.setFont(font)
        painter.setPen(theme.color(token))
        painter.drawText(upper, flags, _elided(QFontMetrics(font), words, area.width()))
        if second:
            small = theme.font("least")
            painter.setFont(small)
            painter.setPen(theme.color("dim"))
            lower = area.adjusted(0, area.height() // 2 + theme.px(1), 0, 0)
            place = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop
            painter.drawText(lower, place, _elided(QFontMetrics(small), str(second), area.width()))


def _elided(metrics: QFontMetrics, text: str, width: int) -> str:
    return metrics.elidedText(text, Qt.TextElideMode.ElideRight, width)


class RowTable(QTableView):
    """A table of whole rows, drawn by CellDelegate, without grid and numbers.

    Signals:
        resized: the room for columns has changed.
    """

    resized = Signal()

    def __init__(self, name: str, row_height: int = 42) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self._row_height = row_height
        self.setItemDelegate(CellDelegate(self, row_height))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setShowGrid(False)
        self.setMouseTracking(True)
        self.setTabKeyNavigation(False)
        self.setWordWrap(False)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self._fit()
        current_theme().changed.connect(self._fit)

    def height_for(self, rows: int) -> int:
        """Return the height that shows the header and `rows` rows."""
        return self.horizontalHeader().sizeHint().height() + rows * current_theme().px(self._row_height) + 2

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.resized.emit()

    def _fit(self) -> None:
        self.verticalHeader().setDefaultSectionSize(current_theme().px(self._row_height))
        self.horizontalHeader().setFont(current_theme().font("small"))
        self.viewport().update()
