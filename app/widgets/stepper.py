"""The column of steps at the left: where one is, what is done, and what was chosen there."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QVBoxLayout, QWidget

from app.theme.icons import draw_icon
from app.theme.style import current_theme
from app.widgets.label import set_tip
from engine.paths import show_text

STATES = ("open", "current", "done", "bad")


class StepButton(QAbstractButton):
    """One step: a numbered circle, its name, and one or two lines of what was chosen."""

    def __init__(self, number: int, title: str) -> None:
        super().__init__()
        self._number, self._facts, self._state = number, "", "open"
        self.setText(title)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(f"Step {number}: {self.text()}")
        current_theme().changed.connect(self.updateGeometry)

    @property
    def state(self) -> str:
        """Return open, current, done or bad."""
        return self._state

    @property
    def facts(self) -> str:
        """Return the second line."""
        return self._facts

    def set(self, state: str, facts: str) -> None:
        """Show another state and other facts."""
        if state not in STATES:
            raise ValueError(f"{state} is no state of a step")
        facts = show_text(facts)
        if (state, facts) == (self._state, self._facts):
            return
        self._state, self._facts = state, facts
        words = {"open": "", "current": "present step", "done": "done", "bad": "has a problem"}[state]
        self.setAccessibleName(f"Step {self._number}: {self.text()}")
        self.setAccessibleDescription(", ".join(filter(None, (words, facts))))
        self.updateGeometry()
        self.update()

    def _lines(self) -> list[str]:
        """Return the facts cut into at most two lines that fit."""
        theme = current_theme()
        room = self.width() - theme.px(35) - 4
        metrics = theme.metrics("least")
        lines: list[str] = []
        for word in self._facts.split():
            if lines and metrics.horizontalAdvance(f"{lines[-1]} {word}") <= room:
                lines[-1] = f"{lines[-1]} {word}"
            else:
                lines.append(word)
        if len(lines) > 2:
            lines = [lines[0], " ".join(lines[1:])]
        return [metrics.elidedText(line, Qt.TextElideMode.ElideMiddle, room) for line in lines]

    def sizeHint(self) -> QSize:
        theme = current_theme()
        return QSize(theme.px(160), theme.px(54))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        side = theme.px(24)
        circle = QRectF(1, 4, side, side)
        fill = {"current": "accent", "done": "ok", "bad": "bad"}.get(self._state)
        painter.setPen(Qt.PenStyle.NoPen if fill else QPen(theme.color("edge"), 1))
        painter.setBrush(theme.color(fill) if fill else Qt.BrushStyle.NoBrush)
        painter.drawEllipse(circle)
        if self._state in ("done", "bad"):
            mark = circle.adjusted(side * 0.25, side * 0.25, -side * 0.25, -side * 0.25)
            draw_icon(painter, "check" if self._state == "done" else "x", mark, "onaccent")
        else:
            painter.setPen(theme.color("onaccent" if fill else "dim"))
            painter.setFont(theme.font("small", 600))
            painter.drawText(circle, Qt.AlignmentFlag.AlignCenter, str(self._number))
        self._paint_words(painter, side)

    def _paint_words(self, painter: QPainter, side: int) -> None:
        theme = current_theme()
        if self.width() < theme.px(100):
            return
        left, top = side + theme.px(11), 2
        current = self._state == "current"
        painter.setFont(theme.font("body", 600 if current else 500))
        painter.setPen(theme.color("dim" if self._state == "open" and not self.underMouse() else "text"))
        metrics = theme.metrics("body", 600)
        painter.drawText(left, top + metrics.ascent(), self.text())
        painter.setFont(theme.font("least"))
        painter.setPen(theme.color("bad" if self._state == "bad" else "dim"))
        least = theme.metrics("least")
        y = top + metrics.height() + least.ascent()
        for line in self._lines():
            painter.drawText(left, y, line)
            y += least.height()


class Stepper(QWidget):
    """The steps of the wizard, each one pressable.

    Signals:
        chosen: the name of the step pressed.
    """

    chosen = Signal(str)

    def __init__(self, steps: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        theme = current_theme()
        self.setAccessibleName("Steps")
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.px(24), theme.px(26), theme.px(10), theme.px(20))
        column.setSpacing(theme.px(2))
        self.buttons: dict[str, StepButton] = {}
        for number, (name, title) in enumerate(steps, 1):
            step = StepButton(number, title)
            step.clicked.connect(lambda _checked=False, n=name: self.chosen.emit(n))
            column.addWidget(step)
            self.buttons[name] = step
        column.addStretch(1)
        self._compact = False
        self._fix_width()
        theme.changed.connect(self._fix_width)

    def set_compact(self, compact: bool) -> None:
        """Show the circles only, where room is short; the names are in the tooltips then."""
        self._compact = compact
        for step in self.buttons.values():
            set_tip(step, step.text() if compact else "")
        self._fix_width()

    def _fix_width(self) -> None:
        self.setFixedWidth(current_theme().px(64 if self._compact else 204))

    def show_step(self, name: str, state: str, facts: str) -> None:
        """Show the state and the facts of one step."""
        self.buttons[name].set(state, facts)
