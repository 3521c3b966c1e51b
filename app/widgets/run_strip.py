"""The strip over a run: where it stands in six figures and a bar."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.card import Card
from app.widgets.label import TextLabel, number_label, set_tip
from app.widgets.meter import Meter


class Figure(QWidget):
    """A caption, a number, and a small word beside it."""

    def __init__(self, caption: str, help_text: str = "", right: bool = False) -> None:
        super().__init__()
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        self.caption = TextLabel(caption, "least")
        self.number = number_label("–")
        self.note = TextLabel("", "least")
        row = QHBoxLayout()
        row.setSpacing(8)
        if right:
            row.addStretch(1)
        row.addWidget(self.number, 0, Qt.AlignmentFlag.AlignBottom)
        row.addWidget(self.note, 0, Qt.AlignmentFlag.AlignBottom)
        if not right:
            row.addStretch(1)
        column.addWidget(self.caption, 0, side)
        column.addLayout(row)
        self.note.setContentsMargins(0, 0, 0, current_theme().px(3))
        self.note.hide()
        set_tip(self, help_text)
        self.setAccessibleName(caption)

    def show_figure(self, number: str, note: str = "", token: str = "dim") -> None:
        """Show a number and a word beside it."""
        if self.number.text() != number:
            self.number.setText(number)
        if self.note.text() != note:
            self.note.setText(note)
            self.note.setHidden(not note)
        self.note.set_token(token)
        self.setAccessibleDescription(f"{number} {note}".strip())

    def set_caption(self, words: str) -> None:
        """Change the caption."""
        if self.caption.text() != words:
            self.caption.setText(words)
            self.setAccessibleName(words)


class RunStrip(Card):
    """Figures by key (step, loss, best, speed, memory, left) over a bar of the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Where the run stands")
        tips = {
            "step": ("Step", "Steps taken of all steps."),
            "loss": ("Loss", "Mean over the trained tokens of the newest step. Lower is better."),
            "best": ("Best validation", "The lowest loss on rows kept aside, and its step."),
            "speed": ("Tokens/s", "Tokens worked through each second, over the last steps."),
            "memory": ("Peak memory", "The largest memory held so far, beside what was planned."),
        }
        self.figures = {key: Figure(caption, help_text) for key, (caption, help_text) in tips.items()}
        self.figures["left"] = Figure("Elapsed", right=True)
        theme = current_theme()
        row = QHBoxLayout()
        row.setSpacing(theme.px(28))
        for key in tips:
            row.addWidget(self.figures[key])
        row.addStretch(1)
        row.addWidget(self.figures["left"])
        self.bar = Meter(0.0, "accent", 8, "Progress")
        self.body.setSpacing(theme.px(9))
        self.body.addLayout(row)
        self.body.addWidget(self.bar)
        self.layout().setContentsMargins(16, 12, 16, 14)

    def show_progress(self, share: float, token: str = "accent") -> None:
        """Fill the bar."""
        self.bar.set(share, token)
