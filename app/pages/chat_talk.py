"""The talk of Chat: questions, the answers being made, again, edit, chances; one question for all columns."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from app.i18n import tr
from app.pages.chat_parts import Turn, messages_for
from app.pages.chat_seats import ChatSeats, Seat
from app.pages.chat_settings import ChatSettings
from app.widgets.chat_answer import AnswerBlock
from app.workers.chat_process import ChatProcess
from engine.runs.conversations import Reply


class Talk(QObject):
    """The turns so far and the answers that are on the way.

    Signals:
        changed: something is answered, or is not any more.
        answered: all answers of a turn are there: it may be kept.
        keep_asked: a question and an answer that are to be kept as a test; the block they stand in.
    """

    changed = Signal()
    answered = Signal()
    keep_asked = Signal(str, str, object)

    def __init__(self, process: ChatProcess, seats: ChatSeats, settings: ChatSettings) -> None:
        super().__init__(seats)
        self._process, self._seats, self._settings = process, seats, settings
        self.turns: list[Turn] = []
        self.open: dict[str, tuple[str, AnswerBlock]] = {}
        self._looking: dict[str, AnswerBlock] = {}
        self._again: set[str] = set()
        seats.again_wanted.connect(self.again_in)

    def messages(self, who: str, turns: list[Turn] | None = None) -> list[dict[str, str]]:
        """Return the conversation as one speaker had it."""
        return messages_for(self.turns if turns is None else turns, who, self._settings.system_prompt)

    @property
    def unanswered(self) -> bool:
        """Return whether the last question lacks an answer of somebody who sits here."""
        return bool(self.turns) and any(s.key not in self.turns[-1].replies for s in self._seats.speaking)

    # -- asking --------------------------------------------------------------------------------------------
    def ask(self, question: str, sampling: dict[str, Any]) -> None:
        """Put a question to all."""
        self.turns.append(Turn(question))
        for seat in self._seats.speaking:
            self._ask_one(seat, sampling)
        self.changed.emit()

    def again_in(self, key: str) -> None:
        """Answer the last question anew in one column: who sits there has changed."""
        seat = self._seats.seats.get(key)
        if seat is None or not seat.ready or not self.turns:
            return
        going = [identity for identity, (who, _) in self.open.items() if who == key]
        if going:
            self._again.add(key)
            for identity in going:
                self._process.stop(identity)
            return
        sampling = self._settings.read()
        if sampling is None:
            return
        if self.turns[-1].replies.pop(key, None) is not None or seat.column.asked == self.turns[-1].question:
            seat.column.drop_last()
        self._ask_one(seat, sampling)
        self.changed.emit()

    def _ask_one(self, seat: Seat, sampling: dict[str, Any]) -> None:
        block = self._new_block(seat, len(self.turns) - 1)
        identity = self._process.generate(seat.key, self.messages(seat.key), sampling)
        self.open[identity] = (seat.key, block)

    def _new_block(self, seat: Seat, number: int) -> AnswerBlock:
        block = seat.column.ask(self.turns[number].question)
        turn, key = self.turns[number], seat.key
        block.chances_asked.connect(lambda: self._ask_chances(key, turn, block))
        block.keep_asked.connect(lambda: self.keep_asked.emit(turn.question, block.text, block))
        return block

    def _ask_chances(self, key: str, turn: Turn, block: AnswerBlock) -> None:
        reply = turn.replies.get(key)
        if reply is None or turn not in self.turns:
            return
        before = [*self.turns[: self.turns.index(turn)], Turn(turn.question)]
        messages = self.messages(key, before)
        identity = self._process.order("chances", who=key, messages=messages, ids=list(reply.ids))
        self._looking[identity] = block
        self.changed.emit()

    def stop(self) -> None:
        """End what is being said."""
        self._again.clear()
        if self.open:
            self._process.stop()

    def drop_last(self) -> None:
        """Take the last question and its answers away."""
        if self.turns:
            self.turns.pop()
            for column in self._seats.columns.values():
                if len(column.blocks) > len(self.turns):
                    column.drop_last()

    def clear(self) -> None:
        """Begin anew."""
        self._process.stop()
        self.open.clear()
        self._looking.clear()
        self._again.clear()
        self.turns = []
        for column in self._seats.columns.values():
            column.clear()

    def show(self, turns: list[Turn]) -> None:
        """Show a conversation that was had before; questions to a speaker who did not answer are left out."""
        self.clear()
        self.turns = turns
        for number, turn in enumerate(turns):
            for key, seat in self._seats.seats.items():
                reply = turn.replies.get(key)
                if reply is not None:
                    block = self._new_block(seat, number)
                    block.finish(reply.text, reply.ended, reply.tokens, reply.fingerprint)
                    block.chances_button.setEnabled(bool(reply.ids))
                    seat.column.show_figures(reply.tokens, reply.tokens_per_second)
        self.changed.emit()

    # -- what the child says -------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        """Return whether something is being said or looked up."""
        return bool(self.open or self._looking)

    def take_token(self, told: dict[str, Any]) -> None:
        """Show what was just said."""
        known = self.open.get(str(told.get("id")))
        if known is not None:
            key, block = known
            block.say(told["text"])
            seconds = float(told["seconds"])
            column = self._seats.columns.get(key)
            if column is not None:
                column.show_figures(told["tokens"], told["tokens"] / seconds if seconds > 0.2 else None)

    def take_answer(self, told: dict[str, Any]) -> None:
        """Show a whole answer."""
        known = self.open.pop(str(told.get("id")), None)
        seat = self._seats.seats.get(known[0]) if known else None
        if known is None or seat is None:
            return
        key, block = known
        block.finish(told["text"], told["ended"], told["tokens"], told["fingerprint"])
        seat.column.show_figures(told["tokens"], told["tokens_per_second"])
        seat.fingerprint = told["fingerprint"]
        if self.turns:
            self.turns[-1].replies[key] = Reply.model_validate(told)
        if key in self._again:
            self._again.discard(key)
            self.again_in(key)
        if not self.open:
            self.answered.emit()
        self.changed.emit()

    def take_chances(self, told: dict[str, Any]) -> None:
        """Show the chance of each token where it was asked for."""
        block = self._looking.pop(str(told.get("id")), None)
        if block is not None:
            block.show_chances(told["tokens"])
        self.changed.emit()

    def take_failure(self, told: dict[str, Any]) -> None:
        """Show that an answer failed."""
        identity = str(told.get("id"))
        self._looking.pop(identity, None)
        known = self.open.pop(identity, None)
        if known is not None:
            known[1].fail(tr("no answer"))

    def break_off(self) -> None:
        """Know that the child is gone."""
        for _, block in self.open.values():
            block.fail(tr("broken off"))
        self.open.clear()
        self._looking.clear()
        self._again.clear()
