"""The question asked when the window is closed while a training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from app.widgets.button import button
from app.widgets.label import text_label

KEEP, STOP, STAY = "keep", "stop", "stay"


def afterwards(waiting: int) -> str:
    """Return what becomes of the runs that wait."""
    if not waiting:
        return "It can go on without this window. The next start shows it with its whole curve."
    many = "one that waits follows" if waiting == 1 else f"{waiting} that wait follow"
    return f"It can go on without this window, and the {many}. Stop and save puts the queue on hold."


def sentence(runs: Sequence[Any]) -> str:
    """Return what goes on: step of steps and the time left of one run, or how many there are."""
    from engine.runs.eta import spoken_eta  # not needed for the first paint

    if len(runs) != 1:
        return f"{len(runs)} trainings go on."
    run = runs[0]
    left = getattr(run, "seconds_left", None)
    if not run.total_steps:
        return "Training goes on: it is being prepared."
    words = f"Training goes on: step {run.step} of {run.total_steps}"
    return f"{words}, {spoken_eta(left)}." if left is not None else f"{words}."


class ClosingDialog(QDialog):
    """Keep training in the background (the default), stop and save, or stay; read `.choice` afterwards."""

    def __init__(self, runs: Sequence[Any], parent: QWidget, waiting: int = 0) -> None:
        super().__init__(parent)
        self.choice = STAY
        self.setWindowTitle("Close Tunesmith")
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 22, 24, 20)
        column.setSpacing(8)
        column.addWidget(text_label(sentence(runs), "title", wrap=True))
        column.addWidget(
            text_label(
                afterwards(waiting),
                "dim",
                wrap=True,
            )
        )
        column.addSpacing(10)
        row = QHBoxLayout()
        row.setSpacing(10)
        self.stay_button = button("Stay", on_click=self.reject)
        self.stop_button = button("Stop and save", kind="danger", on_click=lambda: self._choose(STOP))
        self.keep_button = button(
            "Keep training in the background", kind="primary", on_click=lambda: self._choose(KEEP)
        )
        row.addWidget(self.stay_button)
        row.addStretch(1)
        row.addWidget(self.stop_button)
        row.addWidget(self.keep_button)
        column.addLayout(row)
        self.keep_button.setDefault(True)
        self.keep_button.setFocus()
        self.setMinimumWidth(520)

    def _choose(self, choice: str) -> None:
        self.choice = choice
        self.accept()
