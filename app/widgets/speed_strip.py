"""How fast an answer came, token by token, as a strip of bars: a stutter is seen, an average hides it."""

from __future__ import annotations

import time

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.i18n import tr
from app.theme.style import current_theme
from app.widgets.label import set_tip

BARS = 24


class SpeedStrip(QWidget):
    """Tokens a second over the answer that is being made; the tallest bar is its fastest stretch."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token
        self._seen: list[tuple[float, int]] = []
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        set_tip(self, tr("Tokens a second while the answer was made"))
        self.hide()

    def begin(self) -> None:
        """Forget the last answer."""
        self._seen = []
        self.update()

    def add(self, tokens: int) -> None:
        """Note how many tokens there are now."""
        if not self._seen or tokens > self._seen[-1][1]:
            self._seen.append((time.monotonic(), tokens))
            self.update()

    @property
    def speeds(self) -> list[float]:
        """Return tokens a second of each stretch, at most as many as there are bars."""
        if len(self._seen) < 3:
            return []
        stride = max(1, -(-(len(self._seen) - 1) // BARS))
        marks = self._seen[::stride]
        pairs = zip(marks, marks[1:], strict=False)
        return [(more - few) / max(1e-3, later - then) for (then, few), (later, more) in pairs]

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(2) * BARS, current_theme().px(12))

    def paintEvent(self, event: QPaintEvent) -> None:
        speeds, theme = self.speeds, current_theme()
        if not speeds:
            return
        painter = QPainter(self)
        wide, most = theme.px(2), max(speeds)
        colour = theme.color(self._token)
        for number, speed in enumerate(speeds):
            height = max(1.0, self.height() * speed / most)
            left = self.width() - wide * (len(speeds) - number)
            painter.fillRect(QRectF(left, self.height() - height, wide - 0.5, height), colour)
