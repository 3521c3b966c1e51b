"""A place to drop files on, which can be pressed as well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import TextLabel
from app.widgets.mark import Mark


class DropZone(QWidget):
    """A dashed frame with an icon, a sentence and one button; `upright` is for a narrow place.

    Signals:
        dropped: the files that were let go over it.
    """

    dropped = Signal(list)

    def __init__(
        self, sentence: str, detail: str, press: tuple[str, Callable[[], object]], upright: bool = False
    ) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        self.setAccessibleName(sentence)
        self._over = False
        theme = current_theme()
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(22), theme.px(20), theme.px(22), theme.px(20))
        row.setSpacing(18)
        row.addWidget(Mark("database", "accent", 32))
        words = QVBoxLayout()
        words.setSpacing(3)
        words.addWidget(TextLabel(sentence, "strong", wrap=upright))
        words.addWidget(TextLabel(detail, "small", wrap=True))
        row.addLayout(words, 1)
        kind = "secondary" if upright else "primary"
        made = button(press[0], "plus", kind, on_click=press[1])
        if upright:
            words.addSpacing(theme.px(7))
            words.addWidget(made, 0, Qt.AlignmentFlag.AlignLeft)
        else:
            row.addWidget(made)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        theme.changed.connect(self.update)

    def minimumSizeHint(self) -> QSize:
        return QSize(current_theme().px(300), current_theme().px(104))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls():
            event.acceptProposedAction()
            self._set_over(True)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._set_over(False)

    def dropEvent(self, event: QDropEvent) -> None:
        self._set_over(False)
        files = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if files:
            event.acceptProposedAction()
            self.dropped.emit(files)

    def _set_over(self, over: bool) -> None:
        self._over = over
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        pen = QPen(theme.color("accent" if self._over else "edge"), 1.5, Qt.PenStyle.CustomDashLine)
        pen.setDashPattern([4, 4])
        painter.setPen(pen)
        painter.setBrush(theme.color("accentbg" if self._over else "surface"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), theme.px(10), theme.px(10))
