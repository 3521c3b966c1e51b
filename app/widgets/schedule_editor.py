"""The list of learning rate schedules, each with a small drawing of how it would run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPen, QPixmap, QPolygonF
from PySide6.QtWidgets import QStyledItemDelegate

from app.theme.style import current_theme
from app.widgets.editors import ComboEditor
from engine.recipe.fields import FieldSpec

WIDTH, HEIGHT = 44, 20


class ScheduleEditor(ComboEditor):
    """A drop-down of schedules with their lines."""

    def __init__(self, spec: FieldSpec, choices: Iterable[Any]) -> None:
        super().__init__(spec, choices)
        self._lines: dict[Any, list[tuple[int, float]]] = {}
        self.combo.setMaxVisibleItems(self.combo.count())
        # The usual one draws a menu, in which a line of the accent's colour would vanish when chosen.
        self.combo.setItemDelegate(QStyledItemDelegate(self.combo))
        current_theme().changed.connect(self._draw)

    def show_lines(self, lines: Mapping[Any, Sequence[tuple[int, float]]]) -> None:
        """Draw (step, rate) points beside each choice, the highest rate at the top."""
        told = {choice: list(points) for choice, points in lines.items()}
        if told != self._lines:
            self._lines = told
            self._draw()

    def _draw(self) -> None:
        theme = current_theme()
        self.combo.setIconSize(QSize(theme.px(WIDTH), theme.px(HEIGHT)))
        for choice, points in self._lines.items():
            index = self.combo.findData(choice)
            if index >= 0 and points:
                icon = QIcon()
                for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):
                    icon.addPixmap(self._drawn(points), mode)
                self.combo.setItemIcon(index, icon)

    def _drawn(self, points: Sequence[tuple[int, float]]) -> QPixmap:
        theme, ratio = current_theme(), self.devicePixelRatioF()
        width, height = theme.px(WIDTH), theme.px(HEIGHT)
        picture = QPixmap(round(width * ratio), round(height * ratio))
        picture.setDevicePixelRatio(ratio)
        picture.fill(Qt.GlobalColor.transparent)
        peak = max(rate for _, rate in points) or 1.0
        last = max(1, points[-1][0] - 1)
        margin = 2.0
        line = QPolygonF(
            [
                QPointF(
                    margin + (width - 2 * margin) * (step - 1) / last,
                    height - margin - (height - 2 * margin) * rate / peak,
                )
                for step, rate in points
            ]
        )
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.color("accent"), 1.5, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawPolyline(line)
        painter.end()
        return picture
