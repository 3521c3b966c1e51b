"""Answers that became right or wrong: the list of them, and one in full with its differing words tinted."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from app.evaluating import changed_line, label_of, word_differences
from app.i18n import number
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.changed_list import ChangedList
from app.widgets.difference_view import DifferenceView
from app.widgets.label import ElidedLabel, TextLabel
from app.widgets.mark import Mark
from app.widgets.scroll import vertical_scroll
from engine.runs.evaluations import Item, changed_items

LONGEST_PROMPT = 4000
ALL = "All benchmarks"


class ChangedCard(Card):
    """The list with its counts and a filter by benchmark.

    Signals:
        item_chosen: an item with its place and how many there are, or None.
        filtered: the benchmark whose answers alone are listed, empty for all.
    """

    item_chosen = Signal(object, int, int)
    filtered = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Changed answers")
        self._all: list[Item] = []
        self.items: list[Item] = []
        self._names: list[str] = [""]
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(TextLabel("Changed answers", "heading"))
        head.addStretch(1)
        self.keys = TextLabel("J / K", "least")
        head.addWidget(self.keys)
        self.body.addLayout(head)
        self.counts = TextLabel("", "small", wrap=True)
        self.body.addWidget(self.counts)
        self.filter_box = QComboBox()
        self.filter_box.setAccessibleName("Benchmark of the changed answers")
        self.filter_box.activated.connect(self._on_filter_chosen)
        self.body.addWidget(self.filter_box)
        self.list = ChangedList()
        self.list.chosen.connect(self._on_chosen)
        self.body.addWidget(self.list, 1)
        self.nothing = TextLabel("", "dim", wrap=True)
        self.body.addWidget(self.nothing)
        self.body.addStretch(0)

    def show_items(self, items: Sequence[Item], order: Sequence[str], compared: bool) -> None:
        """Show the items of another evaluation, by benchmark in an order.

        `compared` says whether base and adapter were both asked.
        """
        place = {name: number for number, name in enumerate(order)}
        ordered = sorted(items, key=lambda item: place.get(item.benchmark, len(place)))
        self._all = changed_items(ordered)
        self._names = ["", *dict.fromkeys(item.benchmark for item in self._all)]
        self.filter_box.clear()
        self.filter_box.addItems([ALL, *(label_of(name) for name in self._names[1:])])
        self.filter_box.setVisible(len(self._names) > 2)
        said = (
            "No answer became right or wrong." if compared else "The base was not asked: nothing to compare."
        )
        self.nothing.setText(said)
        self.filter("")

    def show_none(self) -> None:
        """Show that there are no scores, and so nothing that changed."""
        self.show_items([], (), compared=True)
        self.nothing.setText("They stand here once there are scores.")

    def filter(self, name: str) -> None:
        """List the answers of one benchmark alone; an empty name lists all."""
        self.items = [item for item in self._all if name in ("", item.benchmark)]
        if name in self._names:
            self.filter_box.setCurrentIndex(self._names.index(name))
        gained = sum(item.change == "wrong to right" for item in self.items)
        self.counts.setText(
            f"{number(gained)} wrong to right, {number(len(self.items) - gained)} right to wrong"
        )
        self.list.show_lines([changed_line(item) for item in self.items])
        for widget in (self.list, self.keys):
            widget.setVisible(bool(self.items))
        self.counts.setVisible(bool(self._all))
        self.nothing.setHidden(bool(self.items))
        if self._all and not self.items:
            self.nothing.setText("No answer of this benchmark became right or wrong.")
        self._on_chosen(0)

    def move(self, by: int) -> None:
        """Go to the next (1) or the previous (-1) changed answer."""
        if self.items:
            self.list.go(self.list.place + by)

    def _on_filter_chosen(self, place: int) -> None:
        self.filter(self._names[place])
        self.filtered.emit(self._names[place])

    def _on_chosen(self, place: int) -> None:
        item = self.items[place] if 0 <= place < len(self.items) else None
        self.item_chosen.emit(item, place, len(self.items))


class AnswerCard(Card):
    """One changed answer: prompt, what is expected, both answers side by side.

    Signals:
        moved: 1 or -1, to the next or the previous one.
    """

    moved = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("The changed answer")
        self.setMinimumHeight(1)
        head = QHBoxLayout()
        head.setSpacing(8)
        self.mark = Mark("check", "ok", 16)
        self.change = TextLabel("", "heading")
        self.place = ElidedLabel("", "small")
        head.addWidget(self.mark)
        head.addWidget(self.change)
        head.addWidget(self.place, 1)
        for icon, by, words, key in (
            ("chevron-up", -1, "Previous changed answer", "K"),
            ("chevron-down", 1, "Next changed answer", "J"),
        ):
            made = button(icon=icon, kind="ghost", name=words, tip=f"{words} ({key})", compact=True)
            made.clicked.connect(lambda _checked=False, by=by: self.moved.emit(by))
            head.addWidget(made)
        self.body.addLayout(head)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 6, 0)
        column.setSpacing(4)
        self.prompt = self._text(column, "PROMPT", "body")
        self.expected = self._text(column, "EXPECTED", "mono")
        both = QHBoxLayout()
        both.setSpacing(16)
        self.before, self.after = (
            DifferenceView("Answer of the base"),
            DifferenceView("Answer of the adapter"),
        )
        for words, token, view in (("BASE", "dim", self.before), ("ADAPTER", "accent", self.after)):
            side = QVBoxLayout()
            side.setSpacing(4)
            caption = TextLabel(words, "least")
            caption.set_token(token)
            side.addWidget(caption)
            side.addWidget(view)
            side.addStretch(1)
            both.addLayout(side, 1)
        column.addLayout(both)
        column.addStretch(1)
        self.body.addWidget(vertical_scroll(inner), 1)

    def _text(self, column: QVBoxLayout, caption: str, role: str) -> TextLabel:
        column.addWidget(TextLabel(caption, "least"))
        text = TextLabel("", role, wrap=True).make_selectable()
        text.setAccessibleName(caption.capitalize())
        column.addWidget(text)
        column.addSpacing(6)
        return text

    def show_item(self, item: Item | None, place: int, count: int) -> None:
        """Show another answer."""
        if item is None:
            return
        gained = item.change == "wrong to right"
        self.mark.set(*(("check", "ok") if gained else ("octagon", "bad")))
        self.change.setText("Wrong to right" if gained else "Right to wrong")
        self.change.set_token("ok" if gained else "bad")
        self.place.setText(f"{number(place + 1)} of {number(count)} · {label_of(item.benchmark)}")
        prompt = item.prompt.strip()
        self.prompt.setText(prompt if len(prompt) <= LONGEST_PROMPT else f"… {prompt[-LONGEST_PROMPT:]}")
        self.expected.setText(item.expected or "(not told)")
        for view, right in ((self.before, not gained), (self.after, gained)):
            view.set_token("ok" if right else "bad")
        before, after = word_differences(item.answers.get("base", ""), item.answers.get("adapter", ""))
        self.before.show_example(before or [("(nothing)", False)])
        self.after.show_example(after or [("(nothing)", False)])
