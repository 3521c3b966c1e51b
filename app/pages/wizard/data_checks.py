"""What is worth looking at in the data, with the press that mends it, and what the length costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from app import i18n
from app.pages.wizard.fields import counted
from app.theme.style import current_theme
from app.widgets.card import Card
from app.widgets.count_bars import CountBar, CountBars
from app.widgets.label import TextLabel
from app.widgets.length_plan import LengthPlan
from app.widgets.pill import Pill
from app.widgets.remark_list import Remark, RemarkList
from engine.paths import show_name

LONGEST_DETAIL = 90
SHOW = "Show"


def remark_of(check: Any) -> Remark:
    """Return a check as a line says it; its button mends, or shows the place."""
    press = check.fix_label if check.fix else SHOW if check.places else ""
    whole = check.detail or place_words(check.places)
    short = whole if len(whole) <= LONGEST_DETAIL else whole[: LONGEST_DETAIL - 1].rstrip(" ,;") + "…"
    places = [f"{place_of(place)}: {place.text}" for place in check.places[:8] if place.text]
    tip = "\n".join([whole, *places]) if places or short != whole else ""
    also = SHOW if check.fix and check.places else ""
    return Remark(check.id, check.severity, check.title, short, press, tip, also)


def place_of(place: Any) -> str:
    """Return `tickets.jsonl, line 2,917`."""
    return f"{show_name(Path(place.file).name, 40)}, line {i18n.number(place.line)}"


def place_words(places: Sequence[Any]) -> str:
    """Return where something is, in a few words."""
    if not places:
        return ""
    if len(places) == 1:
        return place_of(places[0])
    shown = ", ".join(i18n.number(place.row + 1) for place in places[:3])
    return f"rows {shown}" + (", …" if len(places) > 3 else "")


class ChecksView(QWidget):
    """Heading, how many are to be looked at, the lines.

    Signals:
        pressed: the id of the check whose button was pressed.
        show_pressed: the id of the check whose place is to be shown.
    """

    pressed = Signal(str)
    show_pressed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(TextLabel("Checks", "heading"))
        self.pill = Pill()
        head.addWidget(self.pill)
        head.addStretch(1)
        column.addLayout(head)
        self.waiting = TextLabel("", "small", wrap=True)
        column.addWidget(self.waiting)
        self.list = RemarkList()
        self.list.pressed.connect(self.pressed)
        self.list.also_pressed.connect(self.show_pressed)
        column.addWidget(self.list)

    def show_checks(self, remarks: Sequence[Remark], busy: bool, known: bool) -> None:
        """Show other lines, or say that they are still being looked for."""
        self.list.show_remarks(remarks)
        count = sum(1 for remark in remarks if remark.severity in ("bad", "warn"))
        worst = "bad" if any(remark.severity == "bad" for remark in remarks) else "warn"
        if not known:
            self.pill.set("")
        elif count:
            self.pill.set(f"{i18n.number(count)} to look at", worst)
        elif not busy:
            self.pill.set("nothing to mend", "ok")
        words = "Looking through the rows…" if busy else "" if known else "Known once data is read."
        if known and not busy and not remarks:
            words = "No doubles, no hidden characters, nothing cut."
        self.waiting.setText(words)
        self.waiting.setVisible(bool(words))


class ChecksColumn(QFrame):
    """The right column of the data step: checks, and the plan at this length."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("column")
        theme = current_theme()
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.px(20), theme.px(20), theme.px(20), theme.px(20))
        column.setSpacing(theme.px(22))
        self.checks = ChecksView()
        self.plan = LengthPlan()
        column.addWidget(self.checks)
        column.addWidget(self.plan)
        column.addStretch(1)


class DoublesCard(Card):
    """Doubles, near-doubles and empty rows as bars, each with a filter for the example.

    Signals:
        filtered: the id of the kind to be paged through alone, or an empty text.
    """

    filtered = Signal(str)

    def __init__(self) -> None:
        self.total = TextLabel("", "small")
        super().__init__("Same, alike, empty", self.total)
        self.bars = CountBars()
        self.bars.filtered.connect(self.filtered)
        self.body.addWidget(self.bars)

    def show_counts(self, bars: Sequence[CountBar], total: int) -> None:
        """Show how many rows are of each kind."""
        self.bars.show_counts(bars, total)
        self.total.setText(f"of {counted(total, 'row', 'rows')}")
        self.total.setAlignment(Qt.AlignmentFlag.AlignRight)
