"""From a file to tokenised rows: reading, mapping, rendering and masks in one stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from engine.data.columns import Mapping
from engine.data.conversation import Conversation, ConversationOptions, to_conversation
from engine.data.mapping import choose
from engine.data.masks import Tokenised, tokenise
from engine.data.readers import Layout, look_at, read_rows
from engine.data.rows import Finding, Row
from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError

FIRST_ROWS = 100


@dataclass
class RowStream:
    """The rows of one file with the mapping found in the first hundred of them."""

    path: Path
    layout: Layout
    mapping: Mapping
    columns: list[str]
    options: ConversationOptions
    _rows: Iterator[Row | Finding] = field(repr=False)

    def remaining(self) -> Iterator[Row | Finding]:
        """Return the rows not yet taken."""
        return self._rows

    def conversations(self) -> Iterator[tuple[int, Conversation | Finding]]:
        """Yield (number of the row from 0, its conversation or what is wrong with it)."""
        for number, row in enumerate(self._rows):
            if isinstance(row, Row):
                yield number, to_conversation(row, self.mapping, self.options)
            else:
                yield number, row


def open_rows(
    path: str | Path,
    format: str = "auto",
    columns: dict[str, str] | None = None,
    system_prompt: str | None = None,
) -> RowStream:
    """Open a file and find its mapping; raises EngineError for a file no row of which can be used."""
    layout = look_at(path)
    source = layout.source
    stream = read_rows(source.path)
    first = list(islice(stream, FIRST_ROWS))
    values = [row.value for row in first if isinstance(row, Row)]
    if not values:
        broken = [f for f in first if isinstance(f, Finding)]
        if broken:
            raise broken[0].as_error()
        raise source.refusal(
            "has no rows.", "DATA-07", "At least 1 is needed to start; 50 or more to learn something."
        )
    try:
        mapping = choose([v if isinstance(v, str) else dict(v) for v in values], format, columns)
    except EngineError as error:
        error.file = error.file or str(source.path)
        raise
    names = list(dict.fromkeys(c for v in values if isinstance(v, dict) for c in v))
    options = ConversationOptions(str(source.path), source.name, system_prompt)
    return RowStream(source.path, layout, mapping, names, options, chain(first, stream))


@dataclass(frozen=True, slots=True)
class Made:
    """A row that became tokens."""

    row: int
    tokens: Tokenised


def tokenised_rows(
    rows: Iterator[tuple[int, Conversation | Finding]],
    template: ChatTemplate,
    tokenizer: ModelTokenizer,
    train_on: str,
    options: ConversationOptions,
) -> Iterator[Made | Finding]:
    """Yield every row in order as tokens, or as the finding that refuses it."""
    waiting: list[tuple[int, Conversation | Finding]] = []

    def usable(batch: list[tuple[int, Conversation | Finding]]) -> Iterator[Conversation]:
        return (c for _, c in batch if isinstance(c, Conversation))

    while waiting := list(islice(rows, 512)):
        tokens = tokenise(usable(waiting), template, tokenizer, train_on)
        for number, conversation in waiting:
            if isinstance(conversation, Finding):
                yield conversation
                continue
            made = next(tokens)
            if isinstance(made, Tokenised):
                yield Made(number, made)
            else:
                yield _template_finding(made[1], conversation, options)


def _template_finding(
    error: EngineError, conversation: Conversation, options: ConversationOptions
) -> Finding:
    place = f"{options.name}, line {conversation.line}: "
    return Finding(error.code, options.file, conversation.line, None, place + error.message, error.hint)


def nothing_to_learn(made: Tokenised, options: ConversationOptions, why: str) -> Finding:
    """Return the finding of a row that trains no token."""
    place = f"{options.name}, line {made.conversation.line}: "
    hint = "Raise the length, or look at the answer column."
    return Finding(
        "DATA-06", options.file, made.conversation.line, None, f"{place}nothing to learn from: {why}.", hint
    )


def as_options(section: Any) -> Any:
    """Return data options as an object with the recipe's field names, from a section, a dict or nothing."""
    from engine.recipe.data_options import DataOptions

    if section is None:
        return DataOptions()
    return DataOptions(**section) if isinstance(section, dict) else section
