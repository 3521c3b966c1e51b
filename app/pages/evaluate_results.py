"""What an evaluation found: paired bars, what was forgotten, answers that changed; and earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from app.evaluating import about, bar_lines, label_of, summary
from app.i18n import when
from app.pages.evaluate_changed import AnswerCard, ChangedCard
from app.pages.evaluate_forgetting import ForgettingCard
from app.theme.style import current_theme
from app.theme.tokens import GAP
from app.widgets.card import Card
from app.widgets.label import ElidedLabel, TextLabel
from app.widgets.mark import Swatch
from app.widgets.notice import Notice
from app.widgets.paired_bars import PairedBars
from app.widgets.scroll import vertical_scroll
from engine.runs.evaluations import Evaluation, Item, Results

SIDE_WIDTH = 350
MOST_NAMES = 1
STATE_WORDS = {"stopped": "stopped", "failed": "failed", "crashed": "broken off", "queued": "not begun"}


class ResultsView(QWidget):
    """Everything about one evaluation of the history.

    Signals:
        evaluation_chosen: the place of another evaluation in the history.
        check_requested: the forgetting check is to be measured.
        step_requested: another checkpoint is to be measured, by its folder.
        chat_requested: a lower strength is to be tried.
    """

    evaluation_chosen = Signal(int)
    check_requested = Signal()
    step_requested = Signal(str)
    chat_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GAP)
        left, right = QVBoxLayout(), QVBoxLayout()
        for column in (left, right):
            column.setSpacing(GAP)
        self.answer = AnswerCard()
        self.changed = ChangedCard()
        self.forgetting = ForgettingCard()
        left.addWidget(self._build_scores(), 3)
        left.addWidget(self.answer, 2)
        self._side = QWidget()
        self._side.setLayout(right)
        right.setContentsMargins(0, 0, 0, 0)
        right.addWidget(self.forgetting)
        right.addWidget(self.changed, 1)
        row.addLayout(left, 1)
        row.addWidget(self._side)
        self._fit()
        current_theme().changed.connect(self._fit)
        self.bars.chosen.connect(self._on_bar_chosen)
        self.changed.filtered.connect(self.bars.choose)
        self.changed.item_chosen.connect(self.answer.show_item)
        self.answer.moved.connect(self.changed.move)
        self.forgetting.check_requested.connect(self.check_requested)
        self.forgetting.step_requested.connect(self.step_requested)
        self.forgetting.chat_requested.connect(self.chat_requested)

    def _fit(self) -> None:
        self._side.setFixedWidth(current_theme().px(SIDE_WIDTH))

    def _build_scores(self) -> Card:
        card = Card()
        card.setAccessibleName("Scores")
        head = QHBoxLayout()
        head.setSpacing(8)
        for token, words in (("dim", "base"), ("accent", "adapter")):
            head.addWidget(Swatch(token, 11))
            head.addWidget(TextLabel(words, "strong"))
            head.addSpacing(6)
        self.history = QComboBox()
        self.history.setAccessibleName("Evaluations of this run")
        self.history.setProperty("quiet", "true")
        self.history.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.history.setMinimumWidth(1)
        self.history.activated.connect(self.evaluation_chosen)
        head.addStretch(1)
        head.addWidget(self.history)
        card.body.addLayout(head)
        self.summary, self.about = TextLabel("", "strong"), ElidedLabel("", "small")
        line = QHBoxLayout()
        line.setSpacing(12)
        line.addWidget(self.summary)
        line.addWidget(self.about, 1)
        card.body.addLayout(line)
        self.bars = PairedBars()
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 6, 0)
        column.setSpacing(6)
        column.addWidget(self.bars)
        self.left_out = Notice("warn")
        column.addWidget(self.left_out)
        column.addStretch(1)
        card.body.addWidget(vertical_scroll(inner), 1)
        card.setMinimumHeight(1)
        return card

    def show_history(self, evaluations: Sequence[Evaluation], chosen: int) -> None:
        """List the evaluations of the run, the newest first."""
        self.history.clear()
        self.history.addItems([history_words(each) for each in evaluations])
        self.history.setCurrentIndex(chosen)
        self.history.setVisible(bool(evaluations))

    def show_results(self, evaluation: Evaluation, items: Sequence[Item]) -> None:
        """Show what was measured, and the answers that changed."""
        results = evaluation.results
        assert results is not None
        self.summary.setText(summary(results))
        self.summary.setHidden(not results.comparisons)
        self.about.setText(f"{about(results)} · whiskers: 95 % interval")
        self.bars.show_lines(bar_lines(results))
        self._show_left_out(results)
        self.forgetting.show_results(results, evaluation.target)
        self.changed.show_items(items, results.benchmarks, bool(results.comparisons))
        self.answer.setVisible(bool(self.changed.items))

    def show_none(self, evaluation: Evaluation) -> None:
        """Show an evaluation that has no results."""
        going = evaluation.state == "running"
        self.about.setText("Its scores will stand here." if going else "It has no scores.")
        self.summary.hide()
        self.bars.show_lines([])
        self.left_out.hide()
        self.forgetting.show_results(None, evaluation.target)
        self.changed.show_none()
        self.answer.hide()

    def show_steps(self, steps: Sequence[tuple[int, str]]) -> None:
        """Say which earlier checkpoints there are, the newest first."""
        self.forgetting.show_steps(steps)

    def move(self, by: int) -> None:
        """Go to the next or the previous changed answer."""
        self.changed.move(by)

    def _show_left_out(self, results: Results) -> None:
        self.left_out.setHidden(not results.left_out)
        if results.left_out:
            names = ", ".join(label_of(each.benchmark) for each in results.left_out)
            said = " ".join(f"{each.message} {each.hint}".strip() for each in results.left_out)
            code = results.left_out[0].code
            self.left_out.show_notice("warn", f"Left out: {names}", said, code=code)

    def _on_bar_chosen(self, name: str) -> None:
        self.changed.filter(name)


def history_words(evaluation: Evaluation) -> str:
    """Return an evaluation in a line: when, of what, and how it ended where it did not end well."""
    names = [label_of(name) for name in evaluation.benchmarks]
    told = ", ".join(names[:MOST_NAMES])
    if len(names) > MOST_NAMES:
        told += f" and {len(names) - MOST_NAMES} more"
    state = "" if evaluation.results is not None else STATE_WORDS.get(evaluation.state, evaluation.state)
    step = evaluation.target.rpartition("/step-")[2].lstrip("0") if "/step-" in evaluation.target else ""
    parts = (when(evaluation.created), f"step {step}" if step else "", told, state)
    return " · ".join(part for part in parts if part)
