"""What was found in the data, a line each: a mark, what it is, where, and a press that mends or shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import TextLabel, hairline, set_tip
from app.widgets.mark import Mark

SEVERITY_MARKS = {"bad": ("octagon", "bad"), "warn": ("triangle", "warn"), "info": ("info", "accent")}
SEVERITY_WORDS = {"bad": "has to be mended", "warn": "look at it", "info": "for your information"}


@dataclass(frozen=True)
class Remark:
    """One line: `id` names it in the signals, `press` is the word on its button, `also` that of a link."""

    id: str
    severity: str
    title: str
    detail: str = ""
    press: str = ""
    whole: str = ""
    also: str = ""


class RemarkList(QWidget):
    """The lines, hairlines between them.

    Signals:
        pressed: the id of the line whose button was pressed.
        also_pressed: the id of the line whose link was pressed.
    """

    pressed = Signal(str)
    also_pressed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._remarks: tuple[Remark, ...] = ()
        self.buttons: dict[str, QPushButton] = {}
        self.links: dict[str, QPushButton] = {}

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """Return what is shown."""
        return self._remarks

    def show_remarks(self, remarks: Sequence[Remark]) -> None:
        """Show other lines; the button in focus keeps it where its line is still there."""
        if tuple(remarks) == self._remarks:
            return
        focused = next((name for name, press in self.buttons.items() if press.hasFocus()), "")
        self._remarks = tuple(remarks)
        self.buttons, self.links = {}, {}
        while (item := self._column.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for remark in remarks:
            self._column.addWidget(self._line(remark))
            self._column.addWidget(hairline())
        if focused in self.buttons:
            self.buttons[focused].setFocus()

    def _line(self, remark: Remark) -> QWidget:
        theme = current_theme()
        made = QWidget()
        row = QHBoxLayout(made)
        row.setContentsMargins(0, theme.px(9), 0, theme.px(9))
        row.setSpacing(theme.px(9))
        made.setAccessibleName(f"{remark.title}, {SEVERITY_WORDS[remark.severity]}")
        made.setAccessibleDescription(remark.detail)
        mark = QVBoxLayout()
        mark.setContentsMargins(0, theme.px(2), 0, 0)
        mark.addWidget(Mark(*SEVERITY_MARKS[remark.severity], 14))
        mark.addStretch(1)
        row.addLayout(mark)
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(TextLabel(remark.title, "body", wrap=True).make_selectable())
        if remark.detail:
            detail = TextLabel(remark.detail, "small", wrap=True).make_selectable()
            set_tip(detail, remark.whole if remark.whole != remark.detail else "")
            words.addWidget(detail)
        if remark.also:
            name = f"{remark.also}: {remark.title}"
            link = button(remark.also, kind="link", compact=True, name=name)
            link.clicked.connect(lambda _checked=False: self.also_pressed.emit(remark.id))
            self.links[remark.id] = link
            words.addWidget(link, 0, Qt.AlignmentFlag.AlignLeft)
        row.addLayout(words, 1)
        if remark.press:
            press = button(
                remark.press,
                compact=True,
                name=f"{remark.press}: {remark.title}",
                on_click=lambda: self.pressed.emit(remark.id),
            )
            self.buttons[remark.id] = press
            row.addWidget(press, 0, Qt.AlignmentFlag.AlignVCenter)
        return made
