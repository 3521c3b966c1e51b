"""The two drawings of the data step: one example as the model gets it, and how long all of them are."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QIntValidator
from PySide6.QtWidgets import QHBoxLayout, QWidget

from app import i18n
from app.pages.wizard.data_view import DataView
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card, Inset
from app.widgets.editors import LineField
from app.widgets.example_view import ExampleView
from app.widgets.label import TextLabel
from app.widgets.length_histogram import LengthHistogram
from app.widgets.pill import Pill

TRAINED_WORDS = {
    "assistant": "trained: answers",
    "last": "trained: last answer",
    "all": "trained: everything",
}
TOO_LONG_WORDS = {"truncate": "cut", "drop": "left out", "split": "split", "error": "refused"}


class ExamplePanel(Card):
    """One row, rendered and tokenised, with ways to the others."""

    def __init__(self) -> None:
        tools = QWidget()
        super().__init__("As the model will get it", tools)
        row = QHBoxLayout(tools)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        self.place = LineField()
        self.place.setAccessibleName("Number of the example (Ctrl+G)")
        self.place.setValidator(QIntValidator(1, 1_000_000_000, self))
        self.place.setFixedWidth(current_theme().px(64))
        self.place.editingFinished.connect(self._on_place_entered)
        self.count = TextLabel("", "small")
        self.trained = Pill()
        before = button(icon="chevron-left", kind="ghost", name="Previous example (Page Up)", compact=True)
        after = button(icon="chevron-right", kind="ghost", name="Next example (Page Down)", compact=True)
        before.clicked.connect(lambda: self.page(-1))
        after.clicked.connect(lambda: self.page(1))
        for widget in (TextLabel("example", "small"), self.place, self.count, before, after, self.trained):
            row.addWidget(widget)
        inset = Inset()
        self.example = ExampleView()
        self.example.paged.connect(self.page)
        inset.body.addWidget(self.example)
        self.body.addWidget(inset)
        self.words = TextLabel("", "small", wrap=True)
        self.body.addWidget(self.words)
        self.index = 0
        self._view: DataView | None = None

    def show_view(self, view: DataView, train_on: str) -> None:
        """Show the present row of some data."""
        self._view = view
        self.trained.set(TRAINED_WORDS[train_on], "accent", "")
        self._show()

    def page(self, pace: int) -> None:
        """Show the row before or after."""
        if self._view is not None and self._view.whole.rows:
            self.index = (self.index + pace) % len(self._view.whole.rows)
            self._show()

    def _on_place_entered(self) -> None:
        if self.place.text():
            self.index = int(self.place.text()) - 1
            self._show()

    def _show(self) -> None:
        view = self._view
        if view is None or not view.whole.rows:
            return
        count = len(view.whole.rows)
        self.index = max(0, min(self.index, count - 1))
        self.example.show_example(view.segments(self.index), view.whole.marks)
        self.place.setText(str(self.index + 1))
        self.count.setText(f"of {i18n.number(count)}")
        length = view.lengths[self.index]
        cut = f", cut to {i18n.number(view.max_length)}" if length > view.max_length else ""
        trained = int(view.whole.rows[self.index].trained[1 : view.max_length].sum())
        self.words.setText(
            f"{i18n.number(length)} tokens{cut}, {i18n.number(trained)} of them trained (tinted)."
        )


class LengthsPanel(Card):
    """The histogram of lengths and what its cut means.

    Signals:
        cut_pulled: the line is being drawn to this length (tokens), or was let go there.
    """

    cut_pulled = Signal(int)

    def __init__(self) -> None:
        self.figures = TextLabel("", "small")
        super().__init__("Tokens per example", self.figures)
        self.histogram = LengthHistogram()
        self.histogram.setMinimumHeight(current_theme().px(150))
        self.body.addWidget(self.histogram)
        self.words = TextLabel("", "small", wrap=True)
        self.body.addWidget(self.words)
        self._too_long = "truncate"
        self.histogram.cut_pulled.connect(self._on_cut)
        self.histogram.cut_released.connect(self._on_cut)

    def show_view(self, view: DataView, cut: int, too_long: str) -> None:
        """Draw the lengths of some data."""
        self._too_long = too_long
        self.histogram.show_lengths(view.lengths, cut)
        ordered = sorted(view.lengths)
        if ordered:
            count = len(ordered)
            median, high = ordered[count // 2], ordered[min(count - 1, round(count * 0.95))]
            self.figures.setText(
                f"median {i18n.number(median)} · p95 {i18n.number(high)} · longest {i18n.number(ordered[-1])}"
            )
        self._say_cut(cut)

    def set_cut(self, cut: int, too_long: str) -> None:
        """Move the line and say what it does."""
        self._too_long = too_long
        self.histogram.set_cut(cut)
        self._say_cut(cut)

    def _on_cut(self, cut: int) -> None:
        self._say_cut(cut)
        self.cut_pulled.emit(cut)

    def _say_cut(self, cut: int) -> None:
        count = self.histogram.cut_count(cut)
        how = TOO_LONG_WORDS[self._too_long]
        several = f"{i18n.number(count)} examples would be {how}."
        one = f"One example would be {how}."
        self.words.setText(
            (one if count == 1 else several) if count else "Every example fits; nothing is cut."
        )
        self.words.set_token("warn" if count else "dim")
