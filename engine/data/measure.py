"""The fast pass over many rows: ids and trained ranges, exactly those of `masks.tokenise`.

What the template writes is put together where that is known beforehand (`outlines`), and only the pieces
between marks are tokenised (`pieces`), a batch in a helper thread while Python works at the next. Every row
for which equality is not certain goes the long way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from engine.data.conversation import Conversation
from engine.data.marks import typed_specials
from engine.data.masks import Masks, render, tokenise
from engine.data.outlines import Outlines, shape_of
from engine.data.pieces import Answer, Plan, Planner
from engine.data.rendered import Rendered
from engine.data.sandbox import MAX_OUTPUT
from engine.data.stand_ins import holds
from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer, guarded
from engine.errors import EngineError

FIRST_BATCH, BATCH = 32, 1024
BATCH_CHARACTERS = 4 << 20
AHEAD = 2
# Pieces that many rows share (system prompts) are kept with their ids: so many, up to this length.
KEPT, KEPT_LENGTH = 256, 32 << 10
Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A row as ids; tokens [first, last) of each range are trained."""

    conversation: Conversation
    ids: list[int]
    ranges: Ranges


def measure(
    conversations: Iterable[Conversation],
    template: ChatTemplate,
    tokenizer: ModelTokenizer,
    train_on: str = "assistant",
    special_tokens: str = "tokenizer",
) -> Iterator[Measured | tuple[Conversation, EngineError]]:
    """Yield each conversation with its ids and ranges, in order, or with the error of its template."""
    work = _Pass(template, tokenizer, train_on, special_tokens)
    batches = _batches(iter(conversations))
    with ThreadPoolExecutor(1, "tokenise") as helper:
        ahead: deque[tuple[_Batch, Future[_Encoded]]] = deque()
        for conversations_ in batches:
            batch = work.laid_out(conversations_)
            ahead.append((batch, helper.submit(work.encode, batch)))
            if len(ahead) > AHEAD:  # the helper always has another batch waiting
                done, encoded = ahead.popleft()
                yield from work.measured(done, encoded.result())
        while ahead:
            done, encoded = ahead.popleft()
            yield from work.measured(done, encoded.result())


def _batches(stream: Iterator[Conversation]) -> Iterator[list[Conversation]]:
    """Yield rows in batches that grow, so that the first are there at once, and never hold too much text."""
    size, length, batch = FIRST_BATCH, 0, []
    for conversation in stream:
        batch.append(conversation)
        if conversation.text is not None:
            length += len(conversation.text)
        if len(batch) >= size or length > BATCH_CHARACTERS:
            yield batch
            size, length, batch = min(2 * size, BATCH), 0, []
    if batch:
        yield batch


# What is known of a row before it is tokenised: its plan and pieces (text, or ids already known), its whole
# text, or why it cannot be rendered.
_Row = tuple[Plan, list[str | list[int]]] | Rendered | EngineError | None


@dataclass(frozen=True, slots=True)
class _Batch:
    conversations: list[Conversation]
    rows: list[_Row]
    texts: list[str]
    spanned: list[str]


_Encoded = tuple[list[Any], list[Any]]


class _Pass:
    """One pass over rows with one template and one tokenizer."""

    def __init__(
        self, template: ChatTemplate, tokenizer: ModelTokenizer, train_on: str, special_tokens: str
    ) -> None:
        self.template, self.tokenizer, self.train_on = template, tokenizer, train_on
        self.typed_as_text = special_tokens == "text"
        self.outlines = Outlines(template)
        self.planner = Planner(tokenizer, self.outlines)
        self.masks = Masks(tokenizer)
        self.kept: dict[str, list[int]] = {}

    def laid_out(self, conversations: list[Conversation]) -> _Batch:
        """Return what is to be tokenised of a batch."""
        if not self.outlines.is_current():
            self.planner.forget()
        batch = _Batch(conversations, [], [], [])
        for conversation in conversations:
            batch.rows.append(self._row(conversation, batch))
        return batch

    def _row(self, conversation: Conversation, batch: _Batch) -> _Row:
        if self.typed_as_text and typed_specials(conversation, self.tokenizer.special_texts):
            return None
        planned = self._planned(conversation)
        if planned is not None:
            batch.texts.extend([p for p in planned[1] if isinstance(p, str)])
            return planned
        try:
            rendered = render(conversation, self.outlines, self.train_on)
        except EngineError as error:
            return error
        (batch.texts if rendered.ranges is None else batch.spanned).append(rendered.text)
        return rendered

    def _planned(self, conversation: Conversation) -> tuple[Plan, list[str | list[int]]] | None:
        """Return the pieces of a row whose shape is known; None where it has to be rendered."""
        if conversation.text is not None or conversation.tools:
            return None
        shaped = shape_of(conversation.messages)
        if shaped is None:
            return None
        roles, contents = shaped
        plan = self.planner.plan(roles)
        if plan is None or plan.answers is None and self.train_on != "all":
            return None
        if sum(map(len, contents)) > MAX_OUTPUT // 2:
            return None
        for condition in plan.conditions:
            if not holds(condition, contents):
                return None
        made: list[str | list[int]] = []
        for piece in plan.pieces:
            text = piece.text(contents)
            known = self.kept.get(text) if piece.often else None
            if known is None and not self.planner.is_safe(text):
                return None
            made.append(text if known is None else known)
        return plan, made

    def encode(self, batch: _Batch) -> _Encoded:
        """Tokenise a batch, in the helper thread: ids alone, and ids with their characters."""
        bare = self.tokenizer.bare
        with guarded(self.tokenizer.path):
            fast = bare.encode_batch_fast(batch.texts, add_special_tokens=False) if batch.texts else []
        return fast, self.tokenizer.encode_spans(batch.spanned) if batch.spanned else []

    def measured(
        self, batch: _Batch, encoded: _Encoded
    ) -> Iterator[Measured | tuple[Conversation, EngineError]]:
        """Yield the rows of a batch."""
        fast, spanned = iter(encoded[0]), iter(encoded[1])
        for conversation, row in zip(batch.conversations, batch.rows, strict=True):
            if isinstance(row, tuple):
                yield self._counted(conversation, row[0], row[1], fast)
            elif row is None:
                yield self._exactly(conversation)
            elif isinstance(row, EngineError):
                yield conversation, row
            elif row.ranges is None:
                ids = self.masks.framed(conversation, next(fast).ids)
                yield Measured(conversation, ids, ((0, len(ids)),) if ids else ())
            else:
                made = next(spanned)
                ids = made.ids
                yield Measured(conversation, ids, self.masks.ranges(row, ids, made.token_to_chars))

    def _counted(
        self, conversation: Conversation, plan: Plan, pieces: Sequence[str | list[int]], fast: Iterator[Any]
    ) -> Measured | tuple[Conversation, EngineError]:
        """Put the ids of a row together and count where its answers are."""
        ids = plan.constants[0].copy()
        bounds: list[tuple[int, int]] = []
        for number, piece in enumerate(pieces):
            found: list[int] = next(fast).ids if isinstance(piece, str) else piece
            if plan.pieces[number].often and isinstance(piece, str):
                self._keep(piece, found)
            start = len(ids)
            ids += found
            bounds.append((start, len(ids)))
            ids += plan.constants[number + 1]
        if self.train_on == "all" or plan.answers is None:
            return Measured(conversation, ids, ((0, len(ids)),) if ids else ())
        ranges: list[tuple[int, int]] = []
        for answer in self._chosen(plan.answers, conversation):
            start, end = bounds[answer.piece]
            first = start + len(answer.head)
            if ids[start:first] != answer.head:
                return self._exactly(conversation)
            if ranges and ranges[-1][1] >= first:
                ranges[-1] = ranges[-1][0], end + 1
            else:
                ranges.append((first, end + 1))
        return Measured(conversation, ids, tuple(ranges))

    def _chosen(self, answers: tuple[Answer, ...], conversation: Conversation) -> Sequence[Answer]:
        chosen = answers[-1:] if self.train_on == "last" else answers
        if conversation.untrained:
            return [a for a in chosen if a.message not in conversation.untrained]
        return chosen

    def _keep(self, piece: str, ids: list[int]) -> None:
        if len(self.kept) < KEPT and len(piece) <= KEPT_LENGTH:
            self.kept[piece] = ids

    def _exactly(self, conversation: Conversation) -> Measured | tuple[Conversation, EngineError]:
        """Return a row as the exact way makes it."""
        way = "text" if self.typed_as_text else "tokenizer"
        made = next(tokenise([conversation], self.template, self.tokenizer, self.train_on, way))
        if isinstance(made, tuple):
            return made
        return Measured(conversation, made.ids.tolist(), made.ranges)
