"""Parts of Chat: the conversation so far, prompts to press, and what stands there while nobody can answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from app.i18n import tr
from app.widgets.button import button
from app.widgets.empty import EmptyState
from app.widgets.label import set_tip

CHIP_CHARACTERS = 44


@dataclass
class Turn:
    """One question and what each speaker made of it."""

    question: str
    answers: dict[str, str] = field(default_factory=dict)


def messages_for(turns: list[Turn], who: str, system: str) -> list[dict[str, str]]:
    """Return the conversation as one speaker had it, under a system prompt."""
    messages = [{"role": "system", "content": system}] if system else []
    for turn in turns:
        messages.append({"role": "user", "content": turn.question})
        if turn.answers.get(who):
            messages.append({"role": "assistant", "content": turn.answers[who]})
    return messages


class PromptChips(QWidget):
    """Questions to begin with, as buttons.

    Signals:
        chosen: the whole question.
    """

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(8)

    def show_prompts(self, prompts: list[str]) -> None:
        """Show other questions."""
        while (item := self.row.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for prompt in prompts:
            short = " ".join(prompt.split())
            short = short if len(short) <= CHIP_CHARACTERS else short[: CHIP_CHARACTERS - 1] + "…"
            made = button(short, kind="chip", on_click=lambda text=prompt: self.chosen.emit(text))
            made.setCheckable(False)
            set_tip(made, prompt)
            self.row.addWidget(made)
        self.row.addStretch(1)


def in_a_row(*widgets: QWidget) -> QWidget:
    """Return one widget that holds several: the top bar shows what it is given, and each may hide."""
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(12)
    for widget in widgets:
        row.addWidget(widget)
    return holder


def nobody_yet(on_example: Callable[[], object], on_starter: Callable[[], object]) -> EmptyState:
    """Return what the page shows on a computer without adapters and models."""
    words = tr(
        "Your adapter and its base will answer side by side here. Train one first, or get the starter "
        "model (a download of 98 MB) and talk to it alone."
    )
    return EmptyState(
        ("chip", "layers", "chat"),
        words,
        (tr("Try the example"), on_example),
        (tr("Get the starter model"), on_starter),
        title=tr("Nobody to chat with yet"),
    )


def state_words(
    nobody: bool, loading: bool, busy: bool, loaded: bool, has_adapter: bool
) -> tuple[str, str, str | None]:
    """Return the state as the top bar's pill says it: words, kind, icon."""
    if nobody:
        return "", "dim", None
    if loading:
        return tr("Loading the model"), "accent", "clock"
    if busy:
        return tr("Answering"), "accent", None
    if not loaded:
        return tr("Loads with the first message"), "dim", None
    return (tr("2 columns from one loaded model"), "accent", "") if has_adapter else (tr("Ready"), "ok", None)
