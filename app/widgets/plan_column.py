"""What the run will need, beside the form or as a strip above the footer: memory, time, size, advice."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from app import i18n
from app.theme.style import current_theme
from app.widgets.advice_card import AdviceCard
from app.widgets.button import button
from app.widgets.floating import Floating
from app.widgets.label import ElidedLabel, TextLabel, number_label, set_tip
from app.widgets.memory_bar import MemoryBar
from app.widgets.pill import Pill
from app.widgets.plan_figures import (
    VERDICTS,
    Advice,
    Ghost,
    PlanFigures,
    basis_words,
    ghost_words,
    size_range,
)

BASIS_HELP = (
    "The line below the bar shows how far the truth may lie from the figure. "
    "It becomes shorter with each run on this machine."
)


class Figure(QWidget):
    """A small title over a number, with a line below."""

    def __init__(self, title: str) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        self.title = TextLabel(title, "least")
        self.number = number_label("–", "number")
        self.number.setFont(current_theme().font("title", 600, mono=True))
        self.below = TextLabel("", "least")
        for widget in (self.title, self.number, self.below):
            column.addWidget(widget)
        current_theme().changed.connect(self._on_theme_changed)

    def show_figure(self, number: str, below: str = "") -> None:
        """Show another number."""
        self.number.setText(number)
        self.below.setText(below)
        self.below.setVisible(bool(below))
        self.setAccessibleName(f"{self.title.text()}: {number} {below}".strip())

    def _on_theme_changed(self) -> None:
        self.number.setFont(current_theme().font("title", 600, mono=True))


class PlanColumn(QFrame):
    """The right column of the wizard.

    Signals:
        looked_at: the Advice whose press is pointed at, or None.
        applied: the Advice whose press was pressed.
        undo_requested: take back what was applied last.
    """

    looked_at = Signal(object)
    applied = Signal(object)
    undo_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("column")
        self._plan: PlanFigures | None = None
        theme = current_theme()
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.px(20), theme.px(20), theme.px(20), theme.px(20))
        column.setSpacing(6)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(TextLabel("Plan", "heading"))
        self.verdict = Pill()
        head.addWidget(self.verdict)
        head.addStretch(1)
        column.addLayout(head)
        column.addSpacing(2)
        self.memory_title = TextLabel("Peak memory", "small")
        column.addWidget(self.memory_title)
        line = QHBoxLayout()
        line.setSpacing(8)
        self.memory = number_label("–", "headline")
        self.of = ElidedLabel("", "small")
        self.of.setContentsMargins(0, 0, 0, theme.px(3))
        line.addWidget(self.memory)
        line.addWidget(self.of, 1, Qt.AlignmentFlag.AlignBottom)
        column.addLayout(line)
        self.bar = MemoryBar()
        column.addWidget(self.bar)
        self.note = TextLabel("", "least", wrap=True)
        self.note.setAlignment(Qt.AlignmentFlag.AlignTop)
        column.addWidget(self.note)
        self.exact_place = QVBoxLayout()  # for what checks the figure
        column.addLayout(self.exact_place)
        column.addSpacing(8)
        column.addLayout(self._build_figures())
        self.extra = QVBoxLayout()  # for cards of the step in front
        self.extra.setSpacing(8)
        self.extra.setContentsMargins(0, theme.px(10), 0, 0)
        column.addLayout(self.extra)
        column.addSpacing(12)
        column.addLayout(self._build_advice())
        column.addStretch(1)
        theme.changed.connect(self._fit)
        self._fit()
        self.show_advice([])

    def _build_figures(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(12)
        self.time = Figure("Time")
        self.trainable = Figure("Trainable")
        self.steps = Figure("Steps")
        self.longest = Figure("Longest example")
        for index, figure in enumerate((self.time, self.trainable, self.steps, self.longest)):
            grid.addWidget(figure, index // 2, index % 2, Qt.AlignmentFlag.AlignTop)
            grid.setColumnStretch(index % 2, 1)
        return grid

    def _build_advice(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(8)
        self._advice_title = TextLabel("Advice", "heading")
        column.addWidget(self._advice_title)
        self.undo_line = QWidget()
        row = QHBoxLayout(self.undo_line)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.undo_words = ElidedLabel("", "small")
        self.undo = button("Undo", "undo", "link", compact=True, on_click=self.undo_requested.emit)
        row.addWidget(self.undo_words, 1)
        row.addWidget(self.undo)
        self.undo_line.hide()
        column.addWidget(self.undo_line)
        self.cards: list[AdviceCard] = []
        self._advice = QVBoxLayout()
        self._advice.setSpacing(8)
        column.addLayout(self._advice)
        return column

    def _fit(self) -> None:
        # Two lines at all times: what another choice changes is told here and must move nothing.
        self.note.setMinimumHeight(2 * current_theme().metrics("least").lineSpacing() + 2)

    def show_plan(self, plan: PlanFigures | None, waiting: str = "") -> None:
        """Show a plan, or say what it waits for."""
        self._plan = plan
        self.bar.show_plan(plan)
        if plan is None:
            self.verdict.set("")
            self.memory.setText("–")
            self.of.setText("")
            self.note.setText(waiting)
            for figure in (self.time, self.trainable, self.steps, self.longest):
                figure.show_figure("–")
            return
        word, kind = VERDICTS.get(plan.verdict or "", ("", "dim"))
        self.verdict.set(word, kind)
        self.memory_title.setText("Peak GPU memory" if plan.gpu else "Peak memory")
        self.memory.setText(i18n.size(plan.memory_bytes))
        self.of.setText(
            f"of {i18n.size(plan.device_bytes)}, {plan.device}" if plan.device_bytes else plan.device
        )
        self.show_ghost(None)
        self._show_figures(plan)

    def _show_figures(self, plan: PlanFigures) -> None:
        below = "" if plan.seconds else "once data is chosen"
        if plan.seconds_band is not None:
            low, high = plan.seconds_band
            below = f"{i18n.duration(low)} to {i18n.duration(high)}"
        self.time.show_figure(i18n.duration(plan.seconds), below)
        share = 100 * plan.trainable / plan.total if plan.total else 0.0
        self.trainable.show_figure(
            i18n.number(plan.trainable), f"{i18n.number(share, 2)} % of {i18n.short_number(plan.total)}"
        )
        tokens = f"{i18n.short_number(plan.tokens)} tokens" if plan.tokens else ""
        self.steps.show_figure(i18n.number(plan.steps), tokens)
        self.longest.show_figure(i18n.number(plan.longest), "tokens" if plan.longest else "")

    def show_ghost(self, ghost: Ghost | None) -> None:
        """Draw on the bar what another choice would need and say the difference, or take it away."""
        if self._plan is None:
            return
        self.bar.show_ghost(ghost)
        self.note.setText(basis_words(self._plan) if ghost is None else ghost_words(ghost, self._plan))
        self.note.set_token("dim" if ghost is None else "bad" if ghost.fault else "text")
        set_tip(self.note, BASIS_HELP if ghost is None else "")

    def show_undo(self, words: str) -> None:
        """Offer to take back what was applied; an empty text takes the offer away."""
        self.undo_words.setText(words)
        self.undo.setAccessibleName(f"Undo: {words}")
        self.undo_line.setVisible(bool(words))
        self._advice_title.setVisible(bool(words or self.cards))

    def show_advice(self, advice: Sequence[Advice]) -> None:
        """Show other remarks below the figures; the same ones stay, with the focus that one may have."""
        before = {_told(card.advice): card for card in self.cards}
        self.cards = [before.pop(_told(each), None) or self._card(each) for each in advice]
        for card in before.values():
            self._advice.removeWidget(card)
            card.hide()
            card.deleteLater()
        for index, card in enumerate(self.cards):
            if self._advice.indexOf(card) != index:
                self._advice.insertWidget(index, card)
        self._advice_title.setVisible(bool(advice) or not self.undo_line.isHidden())

    def _card(self, advice: Advice) -> AdviceCard:
        card = AdviceCard(advice)
        card.looked_at.connect(self.looked_at)
        card.applied.connect(self.applied)
        return card


def _told(advice: Advice) -> tuple[object, ...]:
    """Return what is to be seen of a remark."""
    press = advice.action and advice.action[0]
    fix = repr(advice.fix)
    return (advice.kind, advice.title, advice.text, press, fix, advice.figure, advice.sources)


class PlanStrip(QFrame):
    """The same plan in one line, where the window is too narrow for the column.

    Signals:
        looked_at: the Advice whose press is pointed at, or None.
        applied: the Advice whose press was pressed.
        undo_requested: take back what was applied last.
    """

    looked_at = Signal(object)
    applied = Signal(object)
    undo_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("footer")
        self._plan: PlanFigures | None = None
        theme = current_theme()
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(24), theme.px(6), theme.px(24), theme.px(6))
        row.setSpacing(12)
        self.verdict = Pill()
        row.addWidget(TextLabel("Plan", "strong"))
        row.addWidget(self.verdict)
        self.memory = number_label("–", "mono")
        row.addWidget(self.memory)
        self.bar = MemoryBar(legend=False, height=10)
        self.bar.setMinimumWidth(theme.px(90))
        row.addWidget(self.bar, 1, Qt.AlignmentFlag.AlignVCenter)
        self.rest = ElidedLabel("", "small")
        row.addWidget(self.rest, 2)
        self.undo = button("Undo", "undo", "link", compact=True, on_click=self.undo_requested.emit)
        self.undo.hide()
        row.addWidget(self.undo)
        self.remarks = button("", kind="link", compact=True, on_click=self.open_advice)
        self.remarks.hide()
        row.addWidget(self.remarks)
        self._advice: list[Advice] = []

    def show_plan(self, plan: PlanFigures | None, waiting: str = "") -> None:
        """Show a plan, or say what it waits for."""
        self._plan = plan
        self.bar.show_plan(plan)
        if plan is None:
            self.verdict.set("")
            self.memory.setText("–")
            self.rest.setText(waiting)
            return
        word, kind = VERDICTS.get(plan.verdict or "", ("", "dim"))
        self.verdict.set(word, kind)
        of = f" of {i18n.size(plan.device_bytes)}" if plan.device_bytes else ""
        self.memory.setText(f"{i18n.size(plan.memory_bytes)}{of}")
        low, high = plan.memory_band
        set_tip(self.memory, f"{size_range(low, high)}. {BASIS_HELP}" if high > low else "")
        self.show_ghost(None)

    def show_ghost(self, ghost: Ghost | None) -> None:
        """Draw on the bar what another choice would need and say the difference, or take it away."""
        plan = self._plan
        if plan is None:
            return
        self.bar.show_ghost(ghost)
        if ghost is not None:
            self.rest.setText(ghost_words(ghost, plan))
        else:
            parts = [
                i18n.duration(plan.seconds) if plan.seconds else "",
                f"{i18n.number(plan.steps)} steps" if plan.steps else "",
                f"{i18n.number(plan.trainable)} trainable",
            ]
            self.rest.setText(" · ".join(filter(None, parts)))
        self.rest.set_token("dim" if ghost is None else "bad" if ghost.fault else "text")

    def show_undo(self, words: str) -> None:
        """Offer to take back what was applied; an empty text takes the offer away."""
        self.undo.setAccessibleName(f"Undo: {words}")
        set_tip(self.undo, words)
        self.undo.setVisible(bool(words))

    def show_advice(self, advice: Sequence[Advice]) -> None:
        """Keep other remarks behind a button."""
        self._advice = list(advice)
        words = f"{len(advice)} remarks" if len(advice) != 1 else "1 remark"
        self.remarks.setText(words)
        self.remarks.setAccessibleName(words)
        self.remarks.setVisible(bool(advice))

    def open_advice(self) -> Floating:
        """Open the remarks in a card above the strip."""
        card = Floating(self.remarks, 380)
        for each in self._advice:
            made = AdviceCard(each, card.close_now)
            made.looked_at.connect(self.looked_at)
            made.applied.connect(self.applied)
            card.column.addWidget(made)
        card.open()
        return card
