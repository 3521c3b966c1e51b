"""The forgetting check: general skills before and after, green or red, and what can be done about a loss."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app.evaluating import forgetting_evidence, forgetting_title
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import TextLabel
from app.widgets.mark import Mark
from app.widgets.paired_bars import VERDICTS
from engine.runs.evaluations import Results

MARKS = {"ok": ("check", "ok"), "bad": ("octagon", "bad"), "info": ("info", "dim")}
ASKED_LATER = (
    "Small general questions, asked of base and adapter, tell whether training cost skills that it "
    "was not about."
)
ADVICE = "A lower strength, fewer steps, or a share of general rows in the data keep more of it."


class ForgettingCard(Card):
    """A verdict with its evidence.

    Signals:
        check_requested: the check is to be measured.
        step_requested: another checkpoint is to be measured, by its folder.
        chat_requested: a lower strength is to be tried in a chat.
    """

    check_requested = Signal()
    step_requested = Signal(str)
    chat_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._steps: list[tuple[int, str]] = []
        self._target = ""
        head = QHBoxLayout()
        head.setSpacing(8)
        self.mark = Mark("info", "dim", 16)
        self.words = TextLabel("", "heading", wrap=True)
        head.addWidget(self.mark)
        head.addWidget(self.words, 1)
        self.body.addLayout(head)
        self.message = TextLabel("", "small_text", wrap=True).make_selectable()
        self.body.addWidget(self.message)
        self._evidence = QVBoxLayout()
        self._evidence.setSpacing(3)
        self.body.addLayout(self._evidence)
        self.advice = TextLabel(ADVICE, "small", wrap=True)
        self.body.addWidget(self.advice)
        self._row = QHBoxLayout()
        self._row.setSpacing(8)
        self.check = button("Measure it", "play", compact=True, on_click=self.check_requested.emit)
        self.weaker = button("Try a lower strength", "chat", compact=True, on_click=self.chat_requested.emit)
        self.step = button("Measure a step", compact=True, on_click=self._on_step)
        for made in (self.check, self.weaker, self.step):
            self._row.addWidget(made)
        self._row.addStretch(1)
        self.body.addLayout(self._row)
        self.show_results(None, "")

    def show_steps(self, steps: Sequence[tuple[int, str]]) -> None:
        """Say which checkpoints there are, the newest first."""
        self._steps = list(steps)
        self._show_step()

    def show_results(self, results: Results | None, target: str) -> None:
        """Show what became of general skills in an evaluation of `target`."""
        forgetting = results.forgetting if results is not None else None
        self._target = target
        kind, title = forgetting_title(forgetting)
        self.setProperty("state", kind)
        self.style().unpolish(self)
        self.style().polish(self)
        self.mark.set(*MARKS[kind])
        self.words.setText(title)
        self.words.set_token({"info": "text"}.get(kind, kind))
        self.message.setText(forgetting.message if forgetting is not None else ASKED_LATER)
        self.setAccessibleName(title)
        self.setAccessibleDescription(self.message.text())
        self._show_evidence(forgetting_evidence(results) if results is not None and forgetting else [])
        red = kind == "bad"
        self.advice.setVisible(red)
        self.weaker.setVisible(red)
        self.check.setVisible(forgetting is None)
        self._show_step()

    def _show_step(self) -> None:
        earlier = self._earlier()
        self.step.setVisible(self.property("state") == "bad" and earlier is not None)
        if earlier is not None:
            self.step.setText(f"Measure step {earlier[0]:,}")
            self.step.setAccessibleName(self.step.text())

    def _earlier(self) -> tuple[int, str] | None:
        """Return the newest checkpoint before the one that was measured; the first one is the result's."""
        measured = [place for place, (_, folder) in enumerate(self._steps) if folder == self._target]
        rest = self._steps[(measured[0] if measured else 0) + 1 :]
        return rest[0] if rest else None

    def _on_step(self) -> None:
        earlier = self._earlier()
        if earlier is not None:
            self.step_requested.emit(earlier[1])

    def _show_evidence(self, lines: Sequence[tuple[str, str]]) -> None:
        while (item := self._evidence.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for words, verdict in lines:
            holder = QWidget()
            row = QHBoxLayout(holder)
            row.setContentsMargins(0, 0, 0, 0)
            row.setSpacing(current_theme().px(6))
            mark, token = VERDICTS[verdict]
            row.addWidget(Mark(mark, token, 12))
            row.addWidget(TextLabel(words, "small", wrap=True).make_selectable(), 1)
            holder.setAccessibleName(f"{words}, {verdict}")
            self._evidence.addWidget(holder)
