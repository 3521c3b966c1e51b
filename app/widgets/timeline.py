"""The coming run drawn to scale: load, train with its epochs, evaluations and saves, by the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import i18n
from app.theme.style import current_theme

SMALLEST_SHARE = 0.012
TOP = 18  # the row of clock times


@dataclass(frozen=True)
class Phase:
    """One stretch of the run."""

    name: str
    seconds: float
    token: str


@dataclass(frozen=True)
class RunLine:
    """A run's phases, and where in its training it is measured and saved (shares of the steps, 0 to 1).

    `epochs` are where each pass through the data ends; `begins` is when it would begin (Unix time).
    """

    phases: Sequence[Phase]
    evaluations: Sequence[float] = field(default_factory=tuple)
    saves: Sequence[float] = field(default_factory=tuple)
    steps: int = 0
    epochs: Sequence[float] = field(default_factory=tuple)
    begins: float | None = None

    @property
    def seconds(self) -> float:
        """Return how long the whole run takes."""
        return sum(phase.seconds for phase in self.phases)

    def clock(self, share: float) -> str:
        """Return the time of day at a share of the training, or an empty text."""
        if self.begins is None:
            return ""
        passed = 0.0
        for phase in self.phases:
            if phase.name == "train":
                return clock_words(self.begins, passed + share * phase.seconds)
            passed += phase.seconds
        return ""


def clock_words(begins: float, later: float) -> str:
    """Return the time of day some seconds after a moment, with the day where it is another one."""
    first, last = datetime.fromtimestamp(begins), datetime.fromtimestamp(begins + later)
    days = (last.date() - first.date()).days
    return i18n.clock(begins + later) + (f" +{days} d" if days else "")


class Timeline(QWidget):
    """The line and its marks."""

    def __init__(self) -> None:
        super().__init__()
        self._line = RunLine(())
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Timeline of the run")
        current_theme().changed.connect(self.updateGeometry)

    def show_line(self, line: RunLine) -> None:
        """Draw another run."""
        self._line = line
        said = [f"{phase.name} {i18n.duration(phase.seconds)}" for phase in line.phases]
        ends = f"; ends about {line.clock(1.0)}" if line.begins is not None and line.phases else ""
        self.setAccessibleDescription(
            f"{', '.join(said)}; {len(line.evaluations)} evaluations, {len(line.saves)} saves{ends}"
        )
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(420), current_theme().px(TOP + 66))

    def _places(self) -> list[tuple[Phase, QRectF]]:
        theme = current_theme()
        total = sum(phase.seconds for phase in self._line.phases) or 1.0
        shares = [max(SMALLEST_SHARE, phase.seconds / total) for phase in self._line.phases]
        gap = theme.px(3)
        room = self.width() - gap * (len(shares) - 1)
        places, x = [], 0.0
        for phase, share in zip(self._line.phases, shares, strict=True):
            width = room * share / sum(shares)
            places.append((phase, QRectF(x, theme.px(TOP + 18), width, theme.px(24))))
            x += width + gap
        return places

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        places = self._places()
        for phase, place in places:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color(phase.token, 0.85))
            painter.drawRoundedRect(place, theme.px(3), theme.px(3))
            if phase.name == "train":
                self._paint_marks(painter, place)
                self._paint_clock(painter, place)
        self._paint_words(painter, places)

    def _paint_marks(self, painter: QPainter, place: QRectF) -> None:
        theme = current_theme()
        painter.setPen(QPen(theme.color("surface"), 2))
        for share in self._line.saves:
            x = place.left() + share * place.width()
            painter.drawLine(QPointF(x, place.top() + 2), QPointF(x, place.bottom() - 2))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("series2"))
        for share in self._line.evaluations:
            x = min(place.left() + share * place.width(), self.width() - theme.px(4))
            painter.drawEllipse(QPointF(x, place.top() - theme.px(8)), theme.px(3.5), theme.px(3.5))

    def _paint_clock(self, painter: QPainter, place: QRectF) -> None:
        """Write when it begins, when each epoch ends and when it is done; what has no room is left out."""
        line, theme = self._line, current_theme()
        metrics, end = theme.metrics("least"), 0.0
        if line.begins is None:
            return
        painter.setFont(theme.font("least"))
        last = f"done about {line.clock(1.0)}"
        stop = self.width() - metrics.horizontalAdvance(last) - theme.px(10)
        marks = [(0.0, f"start {i18n.clock(line.begins)}")]
        for number, share in enumerate(line.epochs[:-1], 1):
            marks.append((place.left() + share * place.width(), f"epoch {number} · {line.clock(share)}"))
            x = marks[-1][0]
            painter.setPen(QPen(theme.color("text"), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x, theme.px(TOP)), QPointF(x, place.bottom() + theme.px(3)))
        painter.setPen(theme.color("dim"))
        for x, words in marks:
            width = metrics.horizontalAdvance(words)
            left = max(0.0, x - width / 2)
            if left >= end and left + width <= stop:
                painter.drawText(QPointF(left, metrics.ascent()), words)
                end = left + width + theme.px(12)
        painter.setPen(theme.color("text"))
        painter.drawText(QPointF(stop + theme.px(10), metrics.ascent()), last)

    def _paint_words(self, painter: QPainter, places: list[tuple[Phase, QRectF]]) -> None:
        theme = current_theme()
        painter.setFont(theme.font("least"))
        metrics = theme.metrics("least")
        rows = [theme.px(TOP + 46), theme.px(TOP + 46) + metrics.height()]
        edges = [float("-inf")] * len(rows)
        painter.setPen(theme.color("dim"))
        for phase, place in places:
            words = f"{phase.name} {i18n.duration(phase.seconds)}"
            width = metrics.horizontalAdvance(words) + 2
            x = min(max(0.0, place.center().x() - width / 2), self.width() - width)
            row = next((index for index, edge in enumerate(edges) if x >= edge + theme.px(10)), None)
            if row is not None:
                painter.drawText(QPointF(x, rows[row] + metrics.ascent()), words)
                edges[row] = x + width
