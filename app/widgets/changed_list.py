"""Answers that became right or wrong: the prompt, and below it what was said before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import (
    QAbstractListModel,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QAbstractItemView, QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from app.theme.icons import draw_icon
from app.theme.style import current_theme

ROW_HEIGHT = 52
LINE = Qt.ItemDataRole.UserRole + 1
Index = QModelIndex | QPersistentModelIndex
NONE = QModelIndex()


@dataclass(frozen=True)
class ChangedLine:
    """One changed answer on a line each; `gained` where it became right."""

    prompt: str
    before: str
    after: str
    gained: bool


class _Lines(QAbstractListModel):
    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.lines: list[ChangedLine] = []

    def rowCount(self, parent: Index = NONE) -> int:
        return 0 if parent.isValid() else len(self.lines)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if not index.isValid():
            return None
        line = self.lines[index.row()]
        if role == LINE:
            return line
        if role == Qt.ItemDataRole.DisplayRole:
            return line.prompt
        if role == Qt.ItemDataRole.AccessibleTextRole:
            became = "wrong to right" if line.gained else "right to wrong"
            return f"{became}: {line.prompt}; before {line.before}; after {line.after}"
        return None

    def show_lines(self, lines: Sequence[ChangedLine]) -> None:
        self.beginResetModel()
        self.lines = list(lines)
        self.endResetModel()


class _Delegate(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(current_theme().px(120), current_theme().px(ROW_HEIGHT))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        theme, line = current_theme(), index.data(LINE)
        state = option.state  # type: ignore[attr-defined]
        area: QRect = option.rect  # type: ignore[attr-defined]
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(area, theme.color("accentbg"))
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(area, theme.color("raised"))
        painter.fillRect(QRect(area.left(), area.bottom(), area.width(), 1), theme.color("line"))
        inner = area.adjusted(theme.px(8), theme.px(7), -theme.px(8), -theme.px(6))
        side = theme.px(14)
        mark, token = ("check", "ok") if line.gained else ("octagon", "bad")
        draw_icon(painter, mark, QRectF(inner.left(), inner.top() + theme.px(2), side, side), token)
        words = inner.adjusted(side + theme.px(8), 0, 0, 0)
        _write(painter, words, line.prompt, "text", "body", Qt.AlignmentFlag.AlignTop)
        self._paint_answers(painter, words, line)
        painter.restore()

    def _paint_answers(self, painter: QPainter, area: QRect, line: ChangedLine) -> None:
        """Write before, an arrow, after: what was wrong in bad, what is right in ok."""
        theme, place = current_theme(), Qt.AlignmentFlag.AlignBottom
        metrics, side = theme.metrics("small"), theme.px(12)
        room = area.width() - side - theme.px(12)
        needs = [metrics.horizontalAdvance(text) + 1 for text in (line.before, line.after)]
        first = needs[0] if sum(needs) <= room else max(room // 2, room - needs[1])
        left = QRect(area.left(), area.top(), min(first, needs[0]), area.height())
        tokens = ("bad", "ok") if line.gained else ("ok", "bad")
        _write(painter, left, line.before, tokens[0], "small", place)
        arrow = QRectF(
            left.right() + theme.px(5), area.bottom() - metrics.height() / 2 - side / 2 + 1, side, side
        )
        draw_icon(painter, "arrow-right", arrow, "dim")
        right = QRect(area)
        right.setLeft(round(arrow.right()) + theme.px(5))
        _write(painter, right, line.after, tokens[1], "small", place)


def _write(
    painter: QPainter, area: QRect, words: str, token: str, role: str, place: Qt.AlignmentFlag
) -> None:
    theme = current_theme()
    painter.setFont(theme.font(role))
    painter.setPen(theme.color(token))
    elided = theme.metrics(role).elidedText(words, Qt.TextElideMode.ElideRight, area.width())
    painter.drawText(area, Qt.AlignmentFlag.AlignLeft | place, elided)


class ChangedList(QListView):
    """The lines; arrow keys walk over them.

    Signals:
        chosen: the place of the line that is shown now.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Changed answers")
        self._lines = _Lines(self)
        self.setModel(self._lines)
        self.setItemDelegate(_Delegate(self))
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.selectionModel().currentChanged.connect(lambda now, _before: self.chosen.emit(now.row()))
        current_theme().changed.connect(self.doItemsLayout)

    @property
    def lines(self) -> list[ChangedLine]:
        """Return what is listed."""
        return self._lines.lines

    @property
    def place(self) -> int:
        """Return the chosen line, -1 where there is none."""
        return self.currentIndex().row()

    def show_lines(self, lines: Sequence[ChangedLine]) -> None:
        """List other answers; the first one is chosen."""
        self._lines.show_lines(lines)
        self.go(0)

    def go(self, place: int) -> None:
        """Choose a line, the first or the last where there are fewer."""
        last = len(self._lines.lines) - 1
        index = self._lines.index(max(0, min(last, place)))
        # By the model: the view's own way would obey a Shift that is held.
        flag = QItemSelectionModel.SelectionFlag
        self.selectionModel().setCurrentIndex(index, flag.ClearAndSelect)
        if index.isValid():
            self.scrollTo(index)
