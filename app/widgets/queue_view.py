"""The queue as a card: what waits in its order, moved and taken out by mouse and keyboard, held, let go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import ElidedLabel, TextLabel, text_label
from app.widgets.mark import Mark

SHOWN_ROWS = 3
ROW_HEIGHT = 40
KEYS = "Alt+Up and Alt+Down move it, Del takes it out, Enter opens it"


@dataclass(frozen=True)
class QueueLine:
    """A waiting run: its key, its name, and a line about it."""

    key: str
    name: str
    facts: str


class QueueRow(QFrame):
    """One waiting run.

    Signals:
        opened, removed, started: what was pressed.
        moved: by how many places, -1 or 1.
        left_for: the focus goes to the row above (-1) or below (1).
    """

    opened = Signal()
    removed = Signal()
    started = Signal()
    moved = Signal(int)
    left_for = Signal(int)

    def __init__(self, line: QueueLine) -> None:
        super().__init__()
        self.line = line
        self.setObjectName("queuerow")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedHeight(current_theme().px(ROW_HEIGHT))
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 0, 6, 0)
        row.setSpacing(10)
        self.place = TextLabel("", "mono_dim")
        self.place.setFixedWidth(current_theme().px(22))
        self.name = ElidedLabel(line.name, "strong")
        self.facts = ElidedLabel(line.facts, "small")
        row.addWidget(self.place)
        row.addWidget(self.name, 4)
        row.addWidget(self.facts, 5)
        self.up = self._icon("arrow-up", "Earlier", lambda: self.moved.emit(-1), "Alt+Up")
        self.down = self._icon("arrow-down", "Later", lambda: self.moved.emit(1), "Alt+Down")
        self.now = self._icon(
            "play", "Start now", self.started.emit, "Start now, on a device that is not free: both get slower"
        )
        self.out = self._icon("x", "Take out of the queue", self.removed.emit, "Del. It stays among the runs")
        for made in (self.up, self.down, self.now, self.out):
            row.addWidget(made)

    def _icon(self, icon: str, words: str, act: Callable[[], object], tip: str) -> QPushButton:
        return button(
            icon=icon, kind="ghost", compact=True, name=f"{words}: {self.line.name}", on_click=act, tip=tip
        )

    def show_place(self, place: int, last: int) -> None:
        """Show where in the queue it stands; `place` counts from 1."""
        self.place.setText(str(place))
        self.up.setEnabled(place > 1)
        self.down.setEnabled(place < last)
        self.setAccessibleName(f"{self.line.name} waits, place {place} of {last}")
        self.setAccessibleDescription(f"{self.line.facts}. {KEYS}.")

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.opened.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        if steps is not None and event.modifiers() & Qt.KeyboardModifier.AltModifier:
            self.moved.emit(steps)
        elif steps is not None:
            self.left_for.emit(steps)
        elif event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.removed.emit()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.opened.emit()
        else:
            super().keyPressEvent(event)


class QueueView(Card):
    """The card.

    Signals:
        moved: a run's key and its new place, counted from 0.
        removed, opened, started: a run's key.
        hold_requested, release_requested: the queue shall stand still, or go on.
        on_error_chosen: `continue` or `hold`.
    """

    moved = Signal(str, int)
    removed = Signal(str)
    opened = Signal(str)
    started = Signal(str)
    hold_requested = Signal()
    release_requested = Signal()
    on_error_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__("Queue")
        self.rows: list[QueueRow] = []
        self.count = text_label("", "small")
        self.note_mark = Mark("clock", "dim", size=14)
        self.note = ElidedLabel("", "small")
        self.header.insertWidget(1, self.count)
        self.header.insertSpacing(2, 10)
        self.header.insertWidget(3, self.note_mark)
        self.header.insertWidget(4, self.note, 100)
        self.header.addSpacing(10)
        self._build_header()
        inner = QWidget()
        self._column = QVBoxLayout(inner)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setWidget(inner)
        self.body.addWidget(self._area)

    def _build_header(self) -> None:
        self.header.addWidget(text_label("When a run fails", "small"))
        self.go_on = button("Go on", kind="chip", tip="The next run starts whatever became of the one before")
        self.go_on.setAccessibleName("When a run fails: go on")
        self.wait = button("Hold", kind="chip", tip="Nothing more starts until you let the queue go on")
        self.wait.setAccessibleName("When a run fails: hold the queue")
        one_of = QButtonGroup(self)
        for chip in (self.go_on, self.wait):
            one_of.addButton(chip)
        self.go_on.clicked.connect(lambda: self.on_error_chosen.emit("continue"))
        self.wait.clicked.connect(lambda: self.on_error_chosen.emit("hold"))
        self.hold_button = button("Hold the queue", "pause", on_click=self.hold_requested.emit)
        self.release_button = button("Let it go on", "play", "primary", on_click=self.release_requested.emit)
        for made in (self.go_on, self.wait, self.hold_button, self.release_button):
            self.header.addWidget(made)

    def show_queue(self, lines: Sequence[QueueLine], held: str, on_error: str, waits_for: str) -> None:
        """Show what waits; `held` says why nothing starts, `waits_for` what has to happen otherwise."""
        if [row.line for row in self.rows] != list(lines):
            self._show_rows(lines)
        many = "1 run waits" if len(lines) == 1 else f"{len(lines)} runs wait"
        self.count.setText(many if lines else "nothing waits")
        self.go_on.setChecked(on_error == "continue")
        self.wait.setChecked(on_error == "hold")
        self.hold_button.setVisible(not held)
        self.release_button.setVisible(bool(held))
        self.note.setText(f"On hold: {held}" if held else waits_for)
        self.note.set_token("warn" if held else "dim")
        self.note_mark.set("triangle" if held else "clock", "warn" if held else "dim")

    def _show_rows(self, lines: Sequence[QueueLine]) -> None:
        """Keep the rows that stay, so that the one in focus keeps it while it moves."""
        before = {row.line: row for row in self.rows}
        focused = next((row for row in self.rows if row.hasFocus() or row.focusWidget()), None)
        self.rows = [before.pop(line, None) or self._make_row(line) for line in lines]
        for row in before.values():
            self._column.removeWidget(row)
            row.deleteLater()
        for place, row in enumerate(self.rows):
            self._column.insertWidget(place, row)
            row.show_place(place + 1, len(self.rows))
        shown = min(SHOWN_ROWS, len(self.rows))
        self._area.setFixedHeight(current_theme().px(ROW_HEIGHT) * shown)
        if focused is not None and focused in self.rows:
            self._area.ensureWidgetVisible(focused)

    def _make_row(self, line: QueueLine) -> QueueRow:
        row = QueueRow(line)
        row.opened.connect(lambda: self.opened.emit(line.key))
        row.removed.connect(lambda: self.removed.emit(line.key))
        row.started.connect(lambda: self.started.emit(line.key))
        row.moved.connect(lambda steps: self._on_moved(row, steps))
        row.left_for.connect(lambda steps: self._on_left_for(row, steps))
        return row

    def _on_moved(self, row: QueueRow, steps: int) -> None:
        place = self.rows.index(row) + steps
        if 0 <= place < len(self.rows):
            self.moved.emit(row.line.key, place)

    def _on_left_for(self, row: QueueRow, steps: int) -> None:
        place = self.rows.index(row) + steps
        if 0 <= place < len(self.rows):
            self.rows[place].setFocus()
            self._area.ensureWidgetVisible(self.rows[place])
