"""What the run will need, beside the form or as a strip above the footer: memory, time, size, advice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from app import i18n
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.floating import Floating
from app.widgets.label import ElidedLabel, TextLabel, number_label, set_tip
from app.widgets.meter import Part, StackedBar
from app.widgets.notice import Notice
from app.widgets.pill import Pill

# The parts of memory in the order they are stacked; small ones are gathered so that the legend stays short.
TERM_TOKENS = {
    "weights": "accent",
    "adapter": "series2",
    "gradients": "series2",
    "optimizer": "series5",
    "activations": "series3",
    "logits": "series4",
    "workspace": "edge",
    "runtime": "dim",
}
VERDICTS = {"fits": ("fits", "ok"), "tight": ("tight", "warn"), "too_large": ("does not fit", "bad")}
ROUGH = "A rough first estimate, not yet corrected by measuring."


@dataclass(frozen=True)
class PlanFigures:
    """The figures of one plan, ready to be shown."""

    verdict: str | None
    memory_bytes: float
    device_bytes: float | None
    device: str
    terms: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    steps: int | None = None
    trainable: int = 0
    total: int = 0
    longest: int | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Advice:
    """One remark: a kind of notice, its words, and what its button does."""

    kind: str
    title: str
    text: str = ""
    action: tuple[str, Callable[[], object]] | None = None


def memory_parts(terms: dict[str, float]) -> list[Part]:
    """Return the parts of the stacked bar, each with its size."""
    return [
        Part(name, value, TERM_TOKENS.get(name, "dim"), i18n.size(value))
        for name, value in sorted(terms.items(), key=lambda pair: list(TERM_TOKENS).index(pair[0]))
        if value > 0
    ]


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
    """The right column of the wizard."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("column")
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
        self.memory_title = TextLabel("Peak memory (rough)", "small")
        set_tip(self.memory_title, ROUGH)
        column.addWidget(self.memory_title)
        line = QHBoxLayout()
        line.setSpacing(8)
        self.memory = number_label("–", "headline")
        self.of = TextLabel("", "small")
        line.addWidget(self.memory)
        line.addWidget(self.of, 1, Qt.AlignmentFlag.AlignBottom)
        column.addLayout(line)
        self.bar = StackedBar()
        self.bar.setAccessibleName("Memory by part")
        column.addWidget(self.bar)
        self.note = TextLabel("", "least", wrap=True)
        column.addWidget(self.note)
        column.addSpacing(10)
        column.addLayout(self._build_figures())
        column.addSpacing(12)
        self._advice_title = TextLabel("Advice", "heading")
        column.addWidget(self._advice_title)
        self._said: list[object] = [None]
        self._advice = QVBoxLayout()
        self._advice.setSpacing(8)
        column.addLayout(self._advice)
        column.addStretch(1)
        self.show_advice([])

    def _build_figures(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(12)
        self.time = Figure("Time (rough)")
        self.trainable = Figure("Trainable")
        self.steps = Figure("Steps")
        self.longest = Figure("Longest example")
        for index, figure in enumerate((self.time, self.trainable, self.steps, self.longest)):
            grid.addWidget(figure, index // 2, index % 2, Qt.AlignmentFlag.AlignTop)
            grid.setColumnStretch(index % 2, 1)
        return grid

    def show_plan(self, plan: PlanFigures | None, waiting: str = "") -> None:
        """Show a plan, or say what it waits for."""
        if plan is None:
            self.verdict.set("")
            self.memory.setText("–")
            self.of.setText("")
            self.bar.set([], 1.0)
            self.note.setText(waiting)
            for figure in (self.time, self.trainable, self.steps, self.longest):
                figure.show_figure("–")
            return
        word, kind = VERDICTS.get(plan.verdict or "", ("", "dim"))
        self.verdict.set(word, kind)
        self.memory.setText(i18n.size(plan.memory_bytes))
        self.of.setText(
            f"of {i18n.size(plan.device_bytes)}, {plan.device}" if plan.device_bytes else plan.device
        )
        self.bar.set(memory_parts(plan.terms), max(plan.device_bytes or 0.0, plan.memory_bytes))
        self.note.setText(ROUGH)
        self.time.show_figure(i18n.duration(plan.seconds), "" if plan.seconds else "once data is chosen")
        share = 100 * plan.trainable / plan.total if plan.total else 0.0
        self.trainable.show_figure(
            i18n.number(plan.trainable), f"{i18n.number(share, 2)} % of {i18n.short_number(plan.total)}"
        )
        tokens = f"{i18n.short_number(plan.tokens)} tokens" if plan.tokens else ""
        self.steps.show_figure(i18n.number(plan.steps), tokens)
        self.longest.show_figure(i18n.number(plan.longest), "tokens" if plan.longest else "")

    def show_ghost(self, memory_bytes: float | None) -> None:
        """Mark on the bar what memory another choice would need."""
        self.bar.set_ghost(memory_bytes)

    def show_advice(self, advice: Sequence[Advice]) -> None:
        """Show other remarks below the figures; the same ones stay, with the focus that one may have."""
        words = [(each.kind, each.title, each.text, each.action and each.action[0]) for each in advice]
        if words == self._said:
            return
        self._said = words
        while (item := self._advice.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for each in advice:
            self._advice.addWidget(_notice(each))
        self._advice_title.setVisible(bool(advice))


class PlanStrip(QFrame):
    """The same plan in one line, where the window is too narrow for the column."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("footer")
        theme = current_theme()
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(24), theme.px(8), theme.px(24), theme.px(8))
        row.setSpacing(12)
        self.verdict = Pill()
        row.addWidget(TextLabel("Plan", "strong"))
        row.addWidget(self.verdict)
        self.memory = number_label("–", "mono")
        row.addWidget(self.memory)
        self.bar = StackedBar(legend=False, height=10)
        self.bar.setMinimumWidth(theme.px(90))
        row.addWidget(self.bar, 1, Qt.AlignmentFlag.AlignVCenter)
        self.rest = ElidedLabel("", "small")
        row.addWidget(self.rest, 2)
        self.remarks = button("", kind="link", compact=True, on_click=self.open_advice)
        self.remarks.hide()
        row.addWidget(self.remarks)
        self._advice: list[Advice] = []

    def show_plan(self, plan: PlanFigures | None, waiting: str = "") -> None:
        """Show a plan, or say what it waits for."""
        if plan is None:
            self.verdict.set("")
            self.memory.setText("–")
            self.bar.set([], 1.0)
            self.rest.setText(waiting)
            return
        word, kind = VERDICTS.get(plan.verdict or "", ("", "dim"))
        self.verdict.set(word, kind)
        of = f" of {i18n.size(plan.device_bytes)}" if plan.device_bytes else ""
        self.memory.setText(f"{i18n.size(plan.memory_bytes)}{of} (rough)")
        self.bar.set(memory_parts(plan.terms), max(plan.device_bytes or 0.0, plan.memory_bytes))
        parts = [
            i18n.duration(plan.seconds) if plan.seconds else "",
            f"{i18n.number(plan.steps)} steps" if plan.steps else "",
            f"{i18n.number(plan.trainable)} trainable",
        ]
        self.rest.setText(" · ".join(filter(None, parts)))

    def show_ghost(self, memory_bytes: float | None) -> None:
        """Mark on the bar what memory another choice would need."""
        self.bar.set_ghost(memory_bytes)

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
            card.column.addWidget(_notice(each, card.close_now))
        card.open()
        return card


def _notice(advice: Advice, after: Callable[[], object] | None = None) -> Notice:
    if advice.action is None:
        return Notice(advice.kind, advice.title, advice.text)
    words, act = advice.action

    def press() -> None:
        act()
        if after is not None:
            after()

    return Notice(advice.kind, advice.title, advice.text, [(words, press)])
