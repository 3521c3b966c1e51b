"""Conversations of Chat: what is kept of them, and the list they are opened and deleted from."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app.choices import Choice
from app.i18n import tr, when
from app.pages.chat_parts import Turn
from app.pages.chat_seats import Seat
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.floating import Floating
from app.widgets.label import ElidedLabel, TextLabel
from app.widgets.scroll import vertical_scroll
from engine.runs import conversations
from engine.runs.conversations import Conversation, Speaker
from engine.runs.conversations import Turn as StoredTurn

MOST_SHOWN = 60


@dataclass(frozen=True)
class Kept:
    """A conversation and the run it lies with."""

    conversation: Conversation
    run: Path | None


def run_of(choice: Choice | None) -> Path | None:
    """Return the run a choice belongs to: its conversations and tests are kept there."""
    if choice is None:
        return None
    folder = Path(choice.target)
    for place in (folder, folder.parent, folder.parent.parent):
        if (place / "job.json").is_file() and (place / "recipe.yaml").is_file():
            return place
    return None


def record(
    identity: str, created: float, choice: Choice, seats: list[Seat], turns: list[Turn], system: str
) -> Conversation:
    """Return the conversation as it is to be kept."""
    return Conversation(
        id=identity,
        title=conversations.title_of(turns[0].question) if turns else "",
        created=created,
        changed=time.time(),
        target=choice.target,
        system=system,
        speakers=tuple(Speaker(name=seat.key, label=seat.label, target=seat.target) for seat in seats),
        turns=tuple(StoredTurn(question=turn.question, replies=turn.replies) for turn in turns),
    )


def read_kept(run: Path | None) -> list[Kept]:
    """Return the conversations of a run and those of the home, newest first."""
    places = [run, None] if run is not None else [None]
    found = [Kept(each, place) for place in places for each in conversations.newest_first(place)]
    return sorted(found, key=lambda kept: -kept.conversation.changed)[:MOST_SHOWN]


class ConversationList(Floating):
    """The kept conversations, each to be opened or deleted.

    Signals:
        opened, deleted: a Kept.
    """

    opened = Signal(object)
    deleted = Signal(object)

    def __init__(self, anchor: QWidget, found: list[Kept]) -> None:
        super().__init__(anchor, 400)
        self.column.addWidget(TextLabel(tr("Conversations"), "heading"))
        self.rows: list[_Row] = []
        if not found:
            words = tr("What you ask here is kept by itself, with the run it was asked of.")
            self.column.addWidget(TextLabel(words, "dim", wrap=True))
            return
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(6)
        for kept in found:
            row = _Row(kept)
            row.pressed.connect(lambda kept=kept: self._on_opened(kept))
            row.delete_button.clicked.connect(lambda _=False, row=row: self._on_deleted(row))
            column.addWidget(row)
            self.rows.append(row)
        column.addStretch(1)
        area = vertical_scroll(inner)
        theme = current_theme()
        area.setFixedHeight(min(theme.px(420), theme.px(53) * len(found)))
        self.column.addWidget(area)

    def _on_opened(self, kept: Kept) -> None:
        self.close_now()
        self.opened.emit(kept)

    def _on_deleted(self, row: _Row) -> None:
        row.hide()
        self.deleted.emit(row.kept)


class _Row(Card):
    """A conversation: its first question, who answered, when, how long it is."""

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self.kept = kept
        theme = current_theme()
        told = kept.conversation
        outer = self.layout()
        assert outer is not None
        outer.setContentsMargins(theme.px(10), theme.px(6), theme.px(4), theme.px(6))
        self.make_pressable(told.title)
        row = QHBoxLayout()
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(ElidedLabel(told.title or tr("without a question"), "body"))
        asked = tr("1 question") if len(told.turns) == 1 else tr("{n} questions").format(n=len(told.turns))
        who = ", ".join(speaker.label for speaker in told.speakers)
        words.addWidget(ElidedLabel(f"{when(told.changed)} · {asked} · {who}", "small"))
        row.addLayout(words, 1)
        self.delete_button = button(icon="trash", kind="ghost", compact=True, name=tr("Delete"))
        row.addWidget(self.delete_button, 0, Qt.AlignmentFlag.AlignVCenter)
        self.body.addLayout(row)
