"""Answers of a run while it learns: the prompt, the base's answer, the adapter's at a chosen step."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QSlider, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.label import TextLabel, text_label
from app.widgets.scroll import vertical_scroll

LONGEST_TEXT = 4000
MOST_PROMPTS = 20


@dataclass(frozen=True)
class Answers:
    """One prompt with its answers by step; step 0 is the untouched base."""

    prompt: str
    by_step: dict[int, str]


class _Block(QWidget):
    """One prompt with the base's answer and the adapter's."""

    PARTS = (
        ("prompt", "PROMPT", "dim", "body"),
        ("base", "BASE", "dim", "dim"),
        ("adapter", "ADAPTER", "accent", "mono"),
    )

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        self._parts: dict[str, tuple[TextLabel, TextLabel]] = {}
        for key, caption, token, role in self.PARTS:
            head = TextLabel(caption, "least")
            head.set_token(token)
            text = text_label("", role, wrap=True, selectable=True)
            text.setAccessibleName(caption.capitalize())
            column.addWidget(head)
            column.addWidget(text)
            column.addSpacing(4)
            self._parts[key] = (head, text)

    def show_part(self, key: str, words: str | None) -> None:
        """Show a text, or leave its place out."""
        head, text = self._parts[key]
        head.setVisible(words is not None)
        text.setVisible(words is not None)
        if words is not None:
            cut = words if len(words) <= LONGEST_TEXT else words[:LONGEST_TEXT] + " …"
            text.setText(cut if cut.strip() else "(nothing)")

    def text_of(self, key: str) -> str:
        """Return what is shown, an empty text where nothing is."""
        label = self._parts[key][1]
        return "" if label.isHidden() else label.text()


class SamplesView(QWidget):
    """All prompts, one under another; dragging the step shows how the answers change.

    Signals:
        step_chosen: another step is shown.
    """

    step_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._answers: list[Answers] = []
        self._steps: list[int] = []
        self._follows = True
        self.blocks: list[_Block] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(self._build_head())
        inner = QWidget()
        self._column = QVBoxLayout(inner)
        self._column.setContentsMargins(0, 0, 8, 0)
        self._column.setSpacing(8)
        self.empty = text_label("Answers appear here at each evaluation.", "dim", wrap=True)
        self._column.addWidget(self.empty)
        self._column.addStretch(1)
        self._area = vertical_scroll(inner)
        column.addWidget(self._area, 1)
        self.show_answers([])

    def _build_head(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(10)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Step of the answers")
        self.slider.setPageStep(1)
        self.step_label = TextLabel("", "mono")
        digits = current_theme().metrics("small", mono=True)
        self.step_label.setMinimumWidth(digits.horizontalAdvance("step 10,000"))
        self.step_label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.slider.valueChanged.connect(self._on_slider_moved)
        row.addWidget(self.slider, 1)
        row.addWidget(self.step_label)
        return row

    def show_answers(self, answers: list[Answers]) -> None:
        """Show other answers; the newest step is shown until a person chooses another."""
        answers = answers[:MOST_PROMPTS]
        if answers == self._answers and answers:
            return
        shown = self.step
        self._answers = answers
        self._steps = sorted({step for each in answers for step in each.by_step if step > 0})
        newest = max(0, len(self._steps) - 1)
        self.slider.blockSignals(True)
        self.slider.setRange(0, newest)
        self.slider.setValue(
            newest if self._follows or shown not in self._steps else self._steps.index(shown)
        )
        self.slider.blockSignals(False)
        self._show()

    @property
    def step(self) -> int:
        """Return the step whose answers are shown, 0 before the first."""
        return self._steps[min(self.slider.value(), len(self._steps) - 1)] if self._steps else 0

    def show_step(self, step: float) -> None:
        """Show the answers of the last evaluation at or before a step."""
        reached = [index for index, each in enumerate(self._steps) if each <= step]
        if self._steps:
            self.slider.setValue(reached[-1] if reached else 0)

    def show_prompt(self, prompt: str) -> None:
        """Bring the answers of one prompt into view, at the newest step."""
        if self._steps:
            self.slider.setValue(len(self._steps) - 1)
        for each, block in zip(self._answers, self.blocks, strict=False):
            if each.prompt == prompt:
                # Its labels get their height only when the layout has been done anew.
                QTimer.singleShot(0, block, lambda block=block: self._area.ensureWidgetVisible(block))

    def _on_slider_moved(self, index: int) -> None:
        self._follows = index == len(self._steps) - 1
        self._show()
        self.step_chosen.emit(self.step)

    def _show(self) -> None:
        self.slider.setVisible(len(self._steps) > 1)
        self.step_label.setText(f"step {self.step:,}" if self._steps else "")
        self.empty.setVisible(not self._answers)
        while len(self.blocks) < len(self._answers):
            block = _Block()
            self._column.insertWidget(self._column.count() - 1, block)
            self.blocks.append(block)
        for number, block in enumerate(self.blocks):
            block.setVisible(number < len(self._answers))
            if number < len(self._answers):
                each = self._answers[number]
                block.show_part("prompt", each.prompt)
                block.show_part("base", each.by_step.get(0))
                block.show_part("adapter", each.by_step.get(self.step) if self.step else None)
