"""Lines with a traffic light each; a press on a line leads to what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import TextLabel, hairline
from app.widgets.look import Look
from app.widgets.mark import Mark

STATE_MARKS = {
    "ok": ("check", "ok"),
    "warn": ("triangle", "warn"),
    "bad": ("octagon", "bad"),
    "wait": ("clock", "dim"),
    "info": ("info", "accent"),
}
STATE_WORDS = {
    "ok": "in order",
    "warn": "look at it",
    "bad": "has to be mended",
    "wait": "being looked at",
    "info": "to know",
}


@dataclass(frozen=True)
class CheckLine:
    """What one line says; `press` names what its button does, where it has one."""

    state: str
    title: str
    detail: str
    press: str = ""


class _Line(QFrame):
    """One pressable line.

    Signals:
        pressed: by mouse or Enter.
        acted: its button was pressed.
        looked_at: its button is pointed at or has the keyboard (True), or no longer.
    """

    pressed = Signal()
    acted = Signal()
    looked_at = Signal(bool)

    def __init__(self, line: CheckLine) -> None:
        super().__init__()
        theme = current_theme()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(f"{line.title}, {STATE_WORDS[line.state]}")
        self.setAccessibleDescription(line.detail)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, theme.px(7), 0, theme.px(7))
        row.setSpacing(10)
        name, token = STATE_MARKS[line.state]
        row.addWidget(Mark(name, token, 16), 0, Qt.AlignmentFlag.AlignTop)
        words = QVBoxLayout()
        words.setSpacing(1)
        title = TextLabel(line.title, "strong" if line.state in ("bad", "warn") else "body", wrap=True)
        words.addWidget(title)
        if line.detail:
            words.addWidget(TextLabel(line.detail, "small", wrap=True))
        row.addLayout(words, 1)
        if line.press:
            press = button(line.press, kind="link", compact=True, name=f"{line.press}: {line.title}")
            press.clicked.connect(lambda _checked=False: self.acted.emit())
            Look(press, self.looked_at.emit, self)
            row.addWidget(press, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(Mark("chevron-right", "dim", 16), 0, Qt.AlignmentFlag.AlignVCenter)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.pressed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and not event.modifiers():
            self.pressed.emit()
        else:
            super().keyPressEvent(event)


class CheckList(QWidget):
    """The lines.

    Signals:
        chosen: the index of the line pressed.
        acted: the index of the line whose button was pressed.
        looked_at: the index of the line whose button is looked at, -1 when it is left.
    """

    chosen = Signal(int)
    acted = Signal(int)
    looked_at = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._lines: tuple[CheckLine, ...] = ()

    def show_lines(self, lines: Sequence[CheckLine]) -> None:
        """Show other lines."""
        if tuple(lines) == self._lines:
            return
        self._lines = tuple(lines)
        while (item := self._column.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for index, line in enumerate(lines):
            if index:
                self._column.addWidget(hairline())
            made = _Line(line)
            made.pressed.connect(lambda i=index: self.chosen.emit(i))
            made.acted.connect(lambda i=index: self.acted.emit(i))
            made.looked_at.connect(lambda over, i=index: self.looked_at.emit(i if over else -1))
            self._column.addWidget(made)
