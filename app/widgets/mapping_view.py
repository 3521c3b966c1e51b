"""Which column plays which role: a line for each, with the role to choose and a value from the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QComboBox, QGridLayout, QSizePolicy, QWidget

from app.theme.style import current_theme
from app.widgets.label import ElidedLabel, hairline

UNUSED = "not used"


@dataclass(frozen=True)
class ColumnLine:
    """One column of the data: its role (or UNUSED), whether that is trained, and a value of it."""

    column: str
    role: str
    trained: bool
    sample: str


class Thread(QWidget):
    """The line from a column to its role; accent where it is trained."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        current_theme().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(110), current_theme().px(20))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        y, end = self.height() / 2, self.width() - theme.px(5)
        painter.setPen(QPen(theme.color(self._token), 2))
        painter.drawLine(QPointF(2, y), QPointF(end, y))
        painter.setBrush(theme.color(self._token))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawEllipse(QPointF(end, y), theme.px(4), theme.px(4))


class MappingView(QWidget):
    """Columns, lines and roles.

    Signals:
        role_chosen: (column, role), the role being UNUSED to leave the column out.
    """

    role_chosen = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(14)
        self._grid.setVerticalSpacing(0)
        for column, stretch in enumerate((3, 3, 0, 6)):
            self._grid.setColumnStretch(column, stretch)
        self.combos: dict[str, QComboBox] = {}
        self._words: Mapping[str, str] = {}
        self._shown: tuple[tuple[ColumnLine, ...], tuple[str, ...]] = ((), ())

    def show_columns(
        self, lines: Sequence[ColumnLine], roles: Sequence[str], words: Mapping[str, str] | None = None
    ) -> None:
        """Draw other columns; `roles` are those a column may play and `words` what a role is called."""
        if (tuple(lines), tuple(roles)) == self._shown:
            return
        self._shown, self._words = (tuple(lines), tuple(roles)), words or {}
        focused = next((name for name, combo in self.combos.items() if combo.hasFocus()), "")
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.combos = {}
        for index, line in enumerate(lines):
            token = "accent" if line.trained else "line" if line.role == UNUSED else "dim"
            sample = ElidedLabel(line.sample, "small")
            parts = (ElidedLabel(line.column, "mono"), Thread(token), self._role_combo(line, roles), sample)
            for column, widget in enumerate(parts):
                self._grid.addWidget(widget, 2 * index, column)
            self._grid.setRowMinimumHeight(2 * index, current_theme().px(36))
            if index + 1 < len(lines):
                self._grid.addWidget(hairline(), 2 * index + 1, 0, 1, 4)
        if focused in self.combos:
            self.combos[focused].setFocus()

    def _role_combo(self, line: ColumnLine, roles: Sequence[str]) -> QComboBox:
        combo = QComboBox()
        combo.setProperty("quiet", "true")
        combo.setProperty("unused", "true" if line.role == UNUSED else "false")
        combo.setAccessibleName(f"Role of {line.column}")
        for role in (*roles, UNUSED):
            words = self._words.get(role, role)
            combo.addItem(f"{words} (trained)" if line.trained and role == line.role else words, role)
        combo.setCurrentIndex(max(0, combo.findData(line.role)))
        combo.setMinimumWidth(current_theme().px(170))
        combo.activated.connect(
            lambda index, c=combo, name=line.column: self.role_chosen.emit(name, c.itemData(index))
        )
        self.combos[line.column] = combo
        return combo
