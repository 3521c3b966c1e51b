"""Answers of a run while it learns: the prompt, the base's answer, the adapter's at a chosen step."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QSlider, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import TextLabel, text_label
from app.widgets.scroll import vertical_scroll

LONGEST_TEXT = 4000


@dataclass(frozen=True)
class Answers:
    """One prompt with its answers by step; step 0 is the untouched base."""

    prompt: str
    by_step: dict[int, str]


class SamplesView(QWidget):
    """One prompt at a time; dragging the step shows how the answer changes.

    Signals:
        step_chosen: another step is shown.
    """

    step_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._answers: list[Answers] = []
        self._prompt = 0
        self._steps: list[int] = []
        self._follows = True
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(self._build_head())
        self._parts: dict[str, tuple[TextLabel, TextLabel]] = {}
        inner = QWidget()
        self._texts = QVBoxLayout(inner)
        self._texts.setContentsMargins(0, 0, 8, 0)
        self._texts.setSpacing(4)
        for key, caption, token in (
            ("prompt", "PROMPT", "dim"),
            ("base", "BASE", "dim"),
            ("adapter", "ADAPTER", "accent"),
        ):
            self._add_part(key, caption, token)
        self.empty = text_label("Answers appear here at each evaluation.", "dim", wrap=True)
        self._texts.addWidget(self.empty)
        self._texts.addStretch(1)
        column.addWidget(vertical_scroll(inner), 1)
        self.show_answers([])

    def _build_head(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(6)
        self.earlier = button(icon="chevron-left", kind="ghost", compact=True, name="Previous prompt")
        self.later = button(icon="chevron-right", kind="ghost", compact=True, name="Next prompt")
        self.count = TextLabel("", "least")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Step of the answers")
        self.step_label = TextLabel("", "mono")
        digits = current_theme().metrics("small", mono=True)
        self.step_label.setMinimumWidth(digits.horizontalAdvance("step 10,000"))
        self.step_label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.earlier.clicked.connect(lambda: self._go(-1))
        self.later.clicked.connect(lambda: self._go(1))
        self.slider.valueChanged.connect(self._on_slider_moved)
        for widget in (self.earlier, self.count, self.later):
            row.addWidget(widget)
        row.addSpacing(8)
        row.addWidget(self.slider, 1)
        row.addWidget(self.step_label)
        return row

    def _add_part(self, key: str, caption: str, token: str) -> None:
        head = TextLabel(caption, "least")
        head.set_token(token)
        role = {"prompt": "body", "base": "dim", "adapter": "mono"}[key]
        text = text_label("", role, wrap=True, selectable=True)
        text.setAccessibleName(caption.capitalize())
        self._texts.addWidget(head)
        self._texts.addWidget(text)
        self._texts.addSpacing(4)
        self._parts[key] = (head, text)

    def show_answers(self, answers: list[Answers]) -> None:
        """Show other answers; the newest step is shown until a person chooses another."""
        if answers == self._answers and answers:
            return
        self._answers = answers
        self._prompt = min(self._prompt, max(0, len(answers) - 1))
        steps = sorted({step for each in answers for step in each.by_step if step > 0})
        shown = self.step
        self._steps = steps
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(0, len(steps) - 1))
        if self._follows or shown not in steps:
            self.slider.setValue(max(0, len(steps) - 1))
        else:
            self.slider.setValue(steps.index(shown))
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

    def _on_slider_moved(self, index: int) -> None:
        self._follows = index == len(self._steps) - 1
        self._show()
        self.step_chosen.emit(self.step)

    def _go(self, by: int) -> None:
        self._prompt = (self._prompt + by) % max(1, len(self._answers))
        self._show()

    def _show(self) -> None:
        several = len(self._answers) > 1
        for widget in (self.earlier, self.later, self.count):
            widget.setVisible(several)
        self.count.setText(f"{self._prompt + 1} of {len(self._answers)}")
        self.slider.setVisible(len(self._steps) > 1)
        self.step_label.setText(f"step {self.step:,}" if self._steps else "")
        self.empty.setVisible(not self._answers)
        answers = self._answers[self._prompt] if self._answers else Answers("", {})
        base, trained = answers.by_step.get(0), answers.by_step.get(self.step) if self.step else None
        self._fill("prompt", answers.prompt or None)
        self._fill("base", base)
        self._fill("adapter", trained)

    def _fill(self, key: str, words: str | None) -> None:
        head, text = self._parts[key]
        head.setVisible(words is not None)
        text.setVisible(words is not None)
        if words is not None:
            cut = words if len(words) <= LONGEST_TEXT else words[:LONGEST_TEXT] + " …"
            text.setText(cut if cut.strip() else "(nothing)")
