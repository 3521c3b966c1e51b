"""Parts of Chat: the conversation so far, prompts to press, and what stands there while nobody can answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app.i18n import tr
from app.widgets.button import button
from app.widgets.empty import EmptyState
from app.widgets.flow import FlowLayout
from app.widgets.label import TextLabel, set_tip
from engine.runs.conversations import Reply

CHIP_CHARACTERS = 44


@dataclass
class Turn:
    """One question and what each speaker made of it."""

    question: str
    replies: dict[str, Reply] = field(default_factory=dict)

    @property
    def answers(self) -> dict[str, str]:
        """Return the text of each speaker's reply."""
        return {who: reply.text for who, reply in self.replies.items()}


def messages_for(turns: list[Turn], who: str, system: str) -> list[dict[str, str]]:
    """Return the conversation as one speaker had it: what it answered, and the last question."""
    messages = [{"role": "system", "content": system}] if system else []
    for number, turn in enumerate(turns):
        said = turn.answers.get(who)
        if said or number == len(turns) - 1:
            messages.append({"role": "user", "content": turn.question})
        if said:
            messages.append({"role": "assistant", "content": said})
    return messages


class PromptChips(QWidget):
    """Questions to begin with, as buttons under a line that says where they come from.

    Signals:
        chosen: the whole question.
    """

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        self.source = TextLabel("", "small")
        column.addWidget(self.source)
        holder = QWidget()
        self.row = FlowLayout(holder, spacing=8)
        column.addWidget(holder)

    def show_prompts(self, prompts: list[str], of_validation: bool = False) -> None:
        """Show other questions; `of_validation` says that the run's validation set holds them."""
        while (item := self.row.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        words = tr("From the run's validation set") if of_validation else tr("To begin with")
        self.source.setText(words)
        for prompt in prompts:
            short = " ".join(prompt.split())
            short = short if len(short) <= CHIP_CHARACTERS else short[: CHIP_CHARACTERS - 1] + "…"
            made = button(short, kind="chip", on_click=lambda text=prompt: self.chosen.emit(text))
            made.setCheckable(False)
            set_tip(made, prompt)
            self.row.addWidget(made)


def in_a_row(*widgets: QWidget) -> QWidget:
    """Return one widget that holds several: the top bar shows what it is given, and each may hide."""
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(8)
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
    nobody: bool, loading: bool, waiting: bool, busy: bool, loaded: bool, columns: int, models: int
) -> tuple[str, str, str | None]:
    """Return the state as the top bar's pill says it: words, kind, icon."""
    if nobody:
        return "", "dim", None
    if waiting:
        return tr("Waiting for memory"), "warn", "clock"
    if loading:
        return tr("Loading the model"), "accent", "clock"
    if busy:
        return tr("Answering"), "accent", None
    if not loaded:
        return tr("Loads with the first message"), "dim", None
    if columns == 1:
        return tr("Ready"), "ok", None
    words = tr("{n} columns from one loaded model") if models == 1 else tr("{n} columns, {m} models")
    return words.format(n=columns, m=models), "accent", ""
