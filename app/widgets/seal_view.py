"""The seals of a run: a row of stamps, and a list with what each rests on, drawn and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.label import TextLabel, hairline, set_tip
from app.widgets.mark import Mark

STATE_TOKENS = {"green": "ok", "red": "bad", "unmeasured": "dim"}
STATE_WORDS = {"green": "in order", "red": "look at it", "unmeasured": "not measured"}


@dataclass(frozen=True)
class SealLine:
    """One seal. `bar` and `limit` are places on its scale, 0 to 1; `number` stands at the end of the bar."""

    name: str
    state: str
    short: str
    label: str
    evidence: str
    hint: str = ""
    number: str = ""
    bar: float | None = None
    limit: float | None = None


class _Stamp(QFrame):
    """A stamp with its short name.

    Signals:
        pressed: by mouse, Enter or Space.
    """

    pressed = Signal()

    def __init__(self, words: bool) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus if words else Qt.FocusPolicy.NoFocus)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(current_theme().px(6))
        self.mark = Mark("seal-unmeasured", "dim", 18)
        self.name = TextLabel("", "small")
        row.addWidget(self.mark)
        row.addWidget(self.name)
        self.name.setVisible(words)
        if words:
            self.setCursor(Qt.CursorShape.PointingHandCursor)

    def show_line(self, line: SealLine) -> None:
        token = STATE_TOKENS[line.state]
        self.mark.set(f"seal-{line.state}", token)
        self.name.setText(line.short)
        self.name.set_token("bad" if line.state == "red" else "dim")
        set_tip(self, f"{line.label}: {STATE_WORDS[line.state]}\n{line.evidence}")
        self.setAccessibleName(f"{line.label}: {STATE_WORDS[line.state]}")
        self.setAccessibleDescription(line.evidence)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.pressed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and not event.modifiers():
            self.pressed.emit()
        else:
            super().keyPressEvent(event)


class SealRow(QWidget):
    """The seals as stamps side by side, with `words` each with its short name and pressable.

    Signals:
        chosen: the name of the seal that was pressed.
    """

    chosen = Signal(str)

    def __init__(self, words: bool = True) -> None:
        super().__init__()
        self._words = words
        self._lines: tuple[SealLine, ...] = ()
        self.stamps: list[_Stamp] = []
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(current_theme().px(18 if words else 4))
        self._row.addStretch(1)
        self.setAccessibleName("Seals")

    @property
    def lines(self) -> tuple[SealLine, ...]:
        """Return what is shown."""
        return self._lines

    def show_seals(self, lines: Sequence[SealLine]) -> None:
        """Show other seals; without any the row takes no room."""
        if tuple(lines) == self._lines:
            return
        self._lines = tuple(lines)
        while len(self.stamps) < len(lines):
            place = len(self.stamps)
            stamp = _Stamp(self._words)
            stamp.pressed.connect(lambda place=place: self.chosen.emit(self._lines[place].name))
            self.stamps.append(stamp)
            self._row.insertWidget(place, stamp)
        for stamp, line in zip(self.stamps, lines, strict=False):
            stamp.show_line(line)
        for place, stamp in enumerate(self.stamps):
            stamp.setVisible(place < len(lines))
        self.setVisible(bool(lines))


class _Scale(QWidget):
    """A bar as long as what was measured, with a line at the limit."""

    def __init__(self) -> None:
        super().__init__()
        self._value, self._limit, self._token = 0.0, None, "dim"
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        current_theme().changed.connect(self.update)

    def show_line(self, line: SealLine) -> None:
        self._value, self._limit = line.bar or 0.0, line.limit
        self._token = STATE_TOKENS[line.state]
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(100), current_theme().px(14))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        height = theme.px(6)
        bar = QRectF(0.5, (self.height() - height) / 2, self.width() - 1, height)
        painter.setPen(theme.color("line"))
        painter.setBrush(theme.color("raised"))
        painter.drawRoundedRect(bar, height / 2, height / 2)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color(self._token))
        filled = QRectF(bar.left(), bar.top(), max(float(height), bar.width() * self._value), bar.height())
        painter.drawRoundedRect(filled, height / 2, height / 2)
        if self._limit is not None:
            painter.fillRect(
                QRectF(bar.left() + (bar.width() - 2) * self._limit, 0, 2, self.height()), theme.color("text")
            )


class _Line(QFrame):
    """One seal in full."""

    def __init__(self) -> None:
        super().__init__()
        theme = current_theme()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, theme.px(8), theme.px(6), theme.px(8))
        row.setSpacing(theme.px(10))
        self.mark = Mark("seal-unmeasured", "dim", 22)
        row.addWidget(self.mark, 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout()
        column.setSpacing(theme.px(2))
        head = QHBoxLayout()
        head.setSpacing(theme.px(8))
        self.label = TextLabel("", "strong")
        self.state = TextLabel("", "least")
        head.addWidget(self.label)
        head.addStretch(1)
        head.addWidget(self.state)
        column.addLayout(head)
        drawn = QHBoxLayout()
        drawn.setSpacing(theme.px(10))
        self.scale = _Scale()
        self.number = TextLabel("", "mono")
        drawn.addWidget(self.scale, 1)
        drawn.addWidget(self.number)
        column.addLayout(drawn)
        self.evidence = TextLabel("", "small", wrap=True).make_selectable()
        self.hint = TextLabel("", "small_text", wrap=True).make_selectable()
        column.addWidget(self.evidence)
        column.addWidget(self.hint)
        row.addLayout(column, 1)

    def show_line(self, line: SealLine) -> None:
        token = STATE_TOKENS[line.state]
        self.mark.set(f"seal-{line.state}", token)
        self.label.setText(line.label)
        self.state.setText(STATE_WORDS[line.state])
        self.state.set_token(token)
        self.scale.show_line(line)
        self.scale.setVisible(line.bar is not None)
        self.number.setText(line.number)
        self.number.setVisible(bool(line.number))
        self.evidence.setText(line.evidence)
        self.hint.setText(line.hint)
        self.hint.setVisible(bool(line.hint))
        self.setAccessibleName(f"{line.label}: {STATE_WORDS[line.state]}")
        self.setAccessibleDescription(" ".join(part for part in (line.evidence, line.hint) if part))


class SealList(QWidget):
    """The seals in full, one below the other."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: tuple[SealLine, ...] = ()
        self.rows: list[_Line] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._column.addStretch(1)

    def show_seals(self, lines: Sequence[SealLine]) -> None:
        """Show other seals."""
        if tuple(lines) == self._lines:
            return
        self._lines = tuple(lines)
        while len(self.rows) < len(lines):
            if self.rows:
                self._column.insertWidget(self._column.count() - 1, hairline())
            made = _Line()
            self.rows.append(made)
            self._column.insertWidget(self._column.count() - 1, made)
        for row, line in zip(self.rows, lines, strict=False):
            row.show_line(line)
