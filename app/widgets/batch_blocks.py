"""The batch as blocks: one square an example, one group a micro-batch, all of them one optimizer step."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.theme.style import current_theme

MOST_BLOCKS, MOST_GROUPS = 16, 8


class BatchBlocks(QWidget):
    """Draws `batch` x `accumulation`; what is too many to draw is said as a number."""

    def __init__(self) -> None:
        super().__init__()
        self._batch, self._accumulation = 1, 1
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("One optimizer step")
        current_theme().changed.connect(self.updateGeometry)

    def show_batch(self, batch: int, accumulation: int) -> None:
        """Draw another batch."""
        self._batch, self._accumulation = batch, accumulation
        self.setAccessibleDescription(f"{batch} examples at once, {accumulation} times")
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(360), current_theme().px(46))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        side, gap, pad = theme.px(9), theme.px(2), theme.px(5)
        blocks = min(self._batch, MOST_BLOCKS)
        columns = blocks if blocks <= 4 else (blocks + 1) // 2
        rows = 1 if blocks <= 4 else 2
        width = columns * side + (columns - 1) * gap + 2 * pad
        height = rows * side + (rows - 1) * gap + 2 * pad
        x, y = 0.0, (self.height() - height) / 2
        more = f"… x {self._accumulation}" if self._accumulation > MOST_GROUPS else ""
        for group in range(min(self._accumulation, MOST_GROUPS)):
            if x + width > self.width() - theme.px(60):
                more = f"… x {self._accumulation}"
                break
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("accentbg"))
            painter.drawRoundedRect(QRectF(x, y, width, height), theme.px(4), theme.px(4))
            painter.setBrush(theme.color("accent", max(0.45, 1 - group * 0.08)))
            for index in range(blocks):
                left = x + pad + (index % columns) * (side + gap)
                top = y + pad + (index // columns) * (side + gap)
                painter.drawRoundedRect(QRectF(left, top, side, side), 2, 2)
            x += width + theme.px(6)
        if self._batch > MOST_BLOCKS:
            more = f"{self._batch} each {more}".strip()
        painter.setPen(theme.color("dim"))
        painter.setFont(theme.font("small"))
        area = QRectF(x + theme.px(4), 0, self.width() - x, self.height())
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, more)
