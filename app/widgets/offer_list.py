"""What can be measured, to be ticked: a sentence, questions and time, and a way out where it is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import TextLabel, hairline, set_tip
from app.widgets.mark import Mark


@dataclass(frozen=True)
class OfferLine:
    """One benchmark; `problem` and `hint` stand instead of its figures, `presses` are (what, words) under it.

    `file` is the name of a person's own file that stands for its questions, `kind` says how it was estimated.
    """

    id: str
    group: str
    label: str
    about: str
    count: str = ""
    time: str = ""
    time_tip: str = ""
    chosen: bool = False
    problem: str = ""
    hint: str = ""
    file: str = ""
    presses: tuple[tuple[str, str], ...] = ()

    @property
    def frame(self) -> tuple[object, ...]:
        """Return what the row is built of; what is left can be changed in place."""
        return self.id, self.group, self.problem, self.hint, self.file, self.presses


class _Row(QWidget):
    """A box to tick with its words.

    Signals:
        ticked: it is wanted, or no longer.
        pressed: what the button under it does.
    """

    ticked = Signal(bool)
    pressed = Signal(str)

    def __init__(self, line: OfferLine) -> None:
        super().__init__()
        theme = current_theme()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, theme.px(4), 0, theme.px(8))
        row.setSpacing(theme.px(14))
        words = QVBoxLayout()
        words.setSpacing(0)
        self.box = QCheckBox(line.label.replace("&", "&&"))
        self.box.setFont(theme.font("body", 600))
        self.box.setAccessibleName(line.label)
        self.box.setEnabled(not line.problem)
        self.box.toggled.connect(self.ticked)
        words.addWidget(self.box)
        below = QVBoxLayout()
        below.setContentsMargins(theme.px(24), 0, 0, 0)
        below.setSpacing(theme.px(2))
        self.about = TextLabel(line.about, "small", wrap=True)
        below.addWidget(self.about)
        if line.file or (line.problem and not line.presses):
            below.addLayout(self._state(line))
        words.addLayout(below)
        row.addLayout(words, 1)
        row.addLayout(self._figures(line))
        self.show_line(line)

    def _figures(self, line: OfferLine) -> QVBoxLayout:
        """Make the right side: questions over time, or what can be done where the questions are missing."""
        theme = current_theme()
        side = QVBoxLayout()
        side.setSpacing(theme.px(1))
        side.setContentsMargins(0, theme.px(7), 0, 0)
        self.count, self.time = TextLabel("", "mono"), TextLabel("", "small")
        missing = bool(line.problem and line.presses and not line.file)
        for label in (self.count, self.time):
            label.setAlignment(Qt.AlignmentFlag.AlignRight)
            label.setHidden(missing)
            side.addWidget(label)
        if missing:
            side.addLayout(self._presses(line))
            problem = TextLabel(line.problem, "small")
            problem.setAlignment(Qt.AlignmentFlag.AlignRight)
            set_tip(problem, line.hint)
            side.addWidget(problem)
        side.addStretch(1)
        return side

    def _presses(self, line: OfferLine) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(current_theme().px(12))
        row.addStretch(0 if line.file else 1)
        for act, text in line.presses:
            made = button(text, compact=True, kind="link", name=f"{text}: {line.label}")
            made.clicked.connect(lambda _checked=False, act=act: self.pressed.emit(act))
            row.addWidget(made)
        return row

    def _state(self, line: OfferLine) -> QHBoxLayout:
        """Make the line that names a person's own file, or says why there are no questions."""
        theme = current_theme()
        state = QHBoxLayout()
        state.setContentsMargins(0, theme.px(3), 0, 0)
        state.setSpacing(theme.px(8))
        broken = bool(line.problem and line.file)
        mark = ("octagon", "bad") if broken else ("info", "dim") if line.problem else ("file", "accent")
        state.addWidget(Mark(*mark, 14), 0, Qt.AlignmentFlag.AlignTop)
        said = " ".join(part for part in (line.file, line.problem, line.hint if line.problem else "") if part)
        words = TextLabel(said, "small_text" if line.file else "small", wrap=True).make_selectable()
        if broken:
            words.set_token("bad")
        words.setWordWrap(bool(line.problem))
        state.addWidget(words, 1 if line.problem else 0)
        state.addLayout(self._presses(line))
        state.addStretch(0 if line.problem else 1)
        return state

    def show_line(self, line: OfferLine) -> None:
        self.box.blockSignals(True)
        self.box.setChecked(line.chosen)
        self.box.blockSignals(False)
        self.about.setText(line.about)
        self.count.setText(line.count)
        self.time.setText(line.time)
        set_tip(self.time, line.time_tip)
        said = (line.about, line.count, line.time, line.problem, line.hint)
        self.box.setAccessibleDescription(" ".join(part for part in said if part))


class OfferList(QWidget):
    """The rows under the names of their groups.

    Signals:
        ticked: the id of a row, and whether it is wanted.
        pressed: the id of a row, and what its button does.
    """

    ticked = Signal(str, bool)
    pressed = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self._lines: tuple[OfferLine, ...] = ()
        self.rows: dict[str, _Row] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, current_theme().px(12), 0)
        self._column.setSpacing(0)

    @property
    def lines(self) -> tuple[OfferLine, ...]:
        """Return what is shown."""
        return self._lines

    def show_lines(self, lines: Sequence[OfferLine]) -> None:
        """Show other rows; what is built alike is changed in place, so that keyboard and view stay."""
        before = {line.id: line.frame for line in self._lines}
        if [(line.id, line.group) for line in lines] != [(line.id, line.group) for line in self._lines]:
            self._build(lines)
        else:
            for line in lines:
                if line.frame != before[line.id]:
                    self._replace(line)
        for line in lines:
            self.rows[line.id].show_line(line)
        self._lines = tuple(lines)

    def _replace(self, line: OfferLine) -> None:
        old, new = self.rows[line.id], self._row(line)
        focused = old.isAncestorOf(self.window().focusWidget() or self)
        self._column.replaceWidget(old, new)
        if focused:
            new.box.setFocus()
        old.hide()
        old.deleteLater()

    def _row(self, line: OfferLine) -> _Row:
        row = _Row(line)
        row.ticked.connect(lambda on: self.ticked.emit(line.id, on))
        row.pressed.connect(lambda act: self.pressed.emit(line.id, act))
        self.rows[line.id] = row
        return row

    def _build(self, lines: Sequence[OfferLine]) -> None:
        while (item := self._column.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.rows, group = {}, ""
        for line in lines:
            if line.group != group:
                if group:
                    self._column.addSpacing(current_theme().px(10))
                group = line.group
                self._column.addWidget(TextLabel(group, "least"))
            else:
                self._column.addWidget(hairline())
            self._column.addWidget(self._row(line))
        self._column.addStretch(1)
