"""How long the rows are, and what the longest length that is chosen cuts, costs and loses."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal

from app import i18n
from app.pages.wizard.data_peek import cut_at, is_complete
from app.pages.wizard.fields import counted
from app.theme.style import current_theme
from app.widgets.card import Card
from app.widgets.label import TextLabel
from app.widgets.length_histogram import LengthHistogram

TOO_LONG_WORDS = {"truncate": "cut", "drop": "left out", "split": "split", "error": "refused"}


def figures_of(lengths: Any) -> str:
    """Return median, p95, p99 and longest as the head of the card says them."""
    import numpy as np

    ordered = np.sort(np.asarray(lengths))
    if not len(ordered):
        return ""
    last = len(ordered) - 1
    marks = (("median", 0.5), ("p95", 0.95), ("p99", 0.99), ("longest", 1.0))
    return " · ".join(f"{name} {i18n.number(int(ordered[round(last * share)]))}" for name, share in marks)


def share_words(share: float) -> str:
    """Return a small share with as many places as it needs: 0.3 %, 12 %, less than 0.1 %."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return "less than 0.1 %"
    return f"{i18n.number(percent, 1 if percent < 10 else 0)} %"


class LengthsPanel(Card):
    """The histogram of lengths and what its cut means.

    Signals:
        cut_pulled: the line is being drawn to this length (tokens).
        cut_released: the line was let go there, or a key moved it.
        cut_left: pulling was ended without a change.
    """

    cut_pulled = Signal(int)
    cut_released = Signal(int)
    cut_left = Signal()

    def __init__(self) -> None:
        self.figures = TextLabel("", "small").make_selectable()
        super().__init__("Tokens per row", self.figures)
        self.histogram = LengthHistogram()
        self.histogram.setMinimumHeight(current_theme().px(170))
        self.body.addWidget(self.histogram, 1)
        self.words = TextLabel("", "small", wrap=True)
        self.body.addWidget(self.words)
        self._view: Any = None
        self._too_long = "truncate"
        self.histogram.cut_pulled.connect(self._on_pulled)
        self.histogram.cut_released.connect(self._on_released)
        self.histogram.cut_left.connect(self._on_left)

    def show_view(self, view: Any, cut: int, too_long: str) -> None:
        """Draw the lengths of some data."""
        if view is not self._view:
            self._view = view
            self.histogram.show_lengths(view.lengths, cut)
            self.figures.setText(("" if is_complete(view) else "about: ") + figures_of(view.lengths))
        self.set_cut(cut, too_long)

    def set_cut(self, cut: int, too_long: str) -> None:
        """Move the line and say what it does."""
        self._too_long = too_long
        self.histogram.set_cut(cut)
        self._say(cut)

    def _on_pulled(self, cut: int) -> None:
        self._say(cut)
        self.cut_pulled.emit(cut)

    def _on_released(self, cut: int) -> None:
        self._say(cut)
        self.cut_released.emit(cut)

    def _on_left(self) -> None:
        self._say(self.histogram.cut)
        self.cut_left.emit()

    def _say(self, cut: int) -> None:
        if self._view is None:
            return
        found = cut_at(self._view, cut)
        if not found.rows:
            self.words.setText("Every row fits; nothing is cut.")
            self.words.set_token("dim")
            return
        about = "" if is_complete(self._view) else "About "
        words = f"{about}{counted(found.rows, 'row is', 'rows are')} {TOO_LONG_WORDS[self._too_long]}"
        words += f" at {i18n.number(cut)} tokens"
        if self._too_long in ("truncate", "drop") and found.share_of_answer_tokens > 0:
            words += f"; {share_words(found.share_of_answer_tokens)} of the answer tokens are lost"
        self.words.setText(f"{words}.")
        self.words.set_token("warn")
