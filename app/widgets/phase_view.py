"""What is done before the first step, each stage with its time."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app.widgets.label import TextLabel
from app.widgets.mark import Mark
from app.widgets.meter import Meter

DONE, NOW, COMING = "done", "now", "coming"
LOOKS = {DONE: ("check", "ok"), NOW: ("ring", "accent"), COMING: ("ring", "edge")}


class PhaseView(QWidget):
    """Stages as (label, time in words, done | now | coming), with a bar for the one that is measured."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[Mark, TextLabel, TextLabel]] = []
        outer = QHBoxLayout(self)
        outer.addStretch(1)
        self._column = QVBoxLayout()
        self._column.setSpacing(10)
        outer.addLayout(self._column, 2)
        outer.addStretch(1)
        self.title = TextLabel("Getting ready", "title")
        self.detail = TextLabel("", "small", wrap=True)
        self.bar = Meter(0.0, "accent", 6, "Progress of this stage")
        self._stages = QVBoxLayout()
        self._stages.setSpacing(8)
        self._column.addStretch(1)
        self._column.addWidget(self.title)
        self._column.addWidget(self.detail)
        self._column.addSpacing(4)
        self._column.addLayout(self._stages)
        self._column.addWidget(self.bar)
        self._column.addStretch(1)

    def show_phases(self, phases: Sequence[tuple[str, str, str]]) -> None:
        """Show the stages."""
        while len(self._rows) < len(phases):
            self._add_row()
        for (mark, label, clock), (words, time, state) in zip(self._rows, phases, strict=True):
            mark.set(*LOOKS[state])
            label.setText(words)
            label.set_token("text" if state != COMING else "dim")
            clock.setText(time)
            mark.setAccessibleName(f"{words}: {state}")

    def show_progress(self, share: float | None, words: str = "") -> None:
        """Show how far the stage is; None hides the bar."""
        self.bar.setVisible(share is not None)
        if share is not None:
            self.bar.set(share)
        self.detail.setText(words)
        self.detail.setHidden(not words)

    def _add_row(self) -> None:
        mark, label, clock = Mark("ring", "edge", 16), TextLabel("", "body"), TextLabel("", "mono_dim")
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addWidget(mark)
        row.addWidget(label)
        row.addStretch(1)
        row.addWidget(clock, 0, Qt.AlignmentFlag.AlignRight)
        self._stages.addLayout(row)
        self._rows.append((mark, label, clock))
