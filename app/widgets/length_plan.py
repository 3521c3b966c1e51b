"""What memory the longest length costs: a figure, a bar, and hatched what a longer one would add."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app import i18n
from app.theme.style import current_theme
from app.widgets.label import TextLabel, number_label

BAR_HEIGHT = 12


class HatchedBar(QWidget):
    """A bar filled up to one share of the whole and hatched from there to another."""

    def __init__(self) -> None:
        super().__init__()
        self.value, self.more, self.token = 0.0, 0.0, "accent"
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Memory at this length")
        current_theme().changed.connect(self.updateGeometry)

    def set(self, value: float, more: float = 0.0, token: str = "accent") -> None:
        """Fill up to `value` and hatch as far as `more` (shares of the whole, 0 to 1)."""
        self.value, self.token = max(0.0, min(1.0, value)), token
        self.more = max(self.value, min(1.0, more))
        self.setAccessibleDescription(f"{self.value:.0%}" + (f", {self.more:.0%} if raised" if more else ""))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(120), current_theme().px(BAR_HEIGHT))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        bar = QRectF(0, 0, self.width(), theme.px(BAR_HEIGHT))
        track = QPainterPath()
        track.addRoundedRect(bar, theme.px(3), theme.px(3))
        painter.fillPath(track, theme.color("raised"))
        painter.setClipPath(track)
        end = self.value * bar.width()
        painter.fillRect(QRectF(0, 0, end, bar.height()), theme.color(self.token))
        last = self.more * bar.width()
        if last > end:
            painter.setClipRect(QRectF(end, 0, last - end, bar.height()), Qt.ClipOperation.IntersectClip)
            painter.setPen(QPen(theme.color(self.token), theme.px(3)))
            pace, height = theme.px(7), bar.height()
            x = end - height
            while x < last + height:
                painter.drawLine(QPointF(x, 0), QPointF(x + height, height))
                x += pace


class LengthPlan(QWidget):
    """The heading, the figure, the bar and its note."""

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(current_theme().px(6))
        column.addWidget(TextLabel("Plan at this length", "heading"))
        line = QHBoxLayout()
        line.setSpacing(8)
        self.memory = number_label("–", "headline")
        self.of = TextLabel("", "small")
        self.of.setContentsMargins(0, 0, 0, current_theme().px(4))
        line.addWidget(self.memory)
        line.addWidget(self.of, 1, Qt.AlignmentFlag.AlignBottom)
        column.addLayout(line)
        self.bar = HatchedBar()
        column.addWidget(self.bar)
        self.note = TextLabel("", "small", wrap=True)
        column.addWidget(self.note)

    def show_waiting(self, words: str) -> None:
        """Say what the figure waits for."""
        self.memory.setText("–")
        self.of.setText("")
        self.bar.set(0.0)
        self.note.setText(words)

    def show_memory(
        self,
        memory_bytes: float,
        device_bytes: float | None,
        more_bytes: float | None = None,
        note: str = "",
        verdict: str | None = None,
    ) -> None:
        """Show memory (bytes) of the device's, and hatched up to `more_bytes` what another length needs."""
        self.memory.setText(i18n.size(memory_bytes))
        self.of.setText(f"of {i18n.size(device_bytes)}" if device_bytes else "")
        whole = max(device_bytes or 0.0, memory_bytes, more_bytes or 0.0)
        more = (more_bytes or 0.0) / whole if whole else 0.0
        token = {"tight": "warn", "too_large": "bad"}.get(verdict or "", "accent")
        self.bar.set(memory_bytes / whole if whole else 0.0, more, token)
        self.note.setText(note)
        self.note.setVisible(bool(note))
