"""From a file to tokenised rows: reading, mapping, rendering and masks in one stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from engine.data.columns import Mapping
from engine.data.conversation import Conversation, ConversationOptions, SystemMessage, to_conversation
from engine.data.kinds import KindWatch
from engine.data.library import resolve_data
from engine.data.mapping import choose
from engine.data.masks import Tokenised, tokenise
from engine.data.options import SourceOptions, options_for
from engine.data.readers import Layout, estimate_rows, look_at
from engine.data.rows import Finding, Row
from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError

FIRST_ROWS = 100
Numbered = tuple[int, Conversation | Finding]


@dataclass
class RowStream:
    """The rows of one file with the mapping found in the first hundred of them."""

    path: Path
    layout: Layout
    mapping: Mapping
    columns: list[str]
    options: ConversationOptions
    first: list[Row | Finding] = field(repr=False)
    _rows: Iterator[Row | Finding] = field(repr=False)
    one_kind: bool = True

    def conversations(self) -> Iterator[Numbered]:
        """Yield (number of the row from 0, its conversation or what is wrong with it).

        A report, which refuses nothing, comes with the number of the row that follows it. Raises EngineError
        DATA-03 where rows of another kind begin, unless they may be left out (`one_kind` is off).
        """
        yield from self.numbered(self._rows)

    def numbered(self, rows: Iterator[Row | Finding], start: int = 0) -> Iterator[Numbered]:
        """Yield rows with their numbers as conversations, or findings, under this file's mapping."""
        watch = KindWatch(self.mapping, self.options.file, self.options.name)
        mapping, options = self.mapping, self.options
        number = start
        for row in rows:
            if isinstance(row, Row):
                if self.one_kind:
                    watch.see(row)
                    if watch.found:
                        raise watch.as_error()
                if row.file:
                    made = to_conversation(row, mapping, self._of(row))
                    yield number, replace(made, file=row.file) if isinstance(made, Conversation) else made
                else:
                    yield number, to_conversation(row, mapping, options)
            else:
                yield number, row
                if row.severity != "error":
                    continue
            number += 1

    def _of(self, row: Row) -> ConversationOptions:
        """Return the options of a row of a folder, which comes from a file of its own."""
        return replace(self.options, file=row.file, name=Path(row.file).name)

    def estimate(self) -> int:
        """Return about how many rows the file has."""
        if self.layout.rows_known is not None:
            return self.layout.rows_known
        lines = [row.line for row in self.first if isinstance(row, Row) or row.line]
        return estimate_rows(self.layout.source, len(self.first), max((n for n in lines if n), default=1))


def open_rows(
    path: str | Path,
    options: SourceOptions | None = None,
    system_prompt: str | None = None,
    system_message: SystemMessage = "keep",
    one_kind: bool = True,
) -> RowStream:
    """Open a file and find its mapping; raises EngineError for a file no row of which can be used."""
    options = options or SourceOptions()
    layout = look_at(path, options.read)
    source = layout.source
    stream = layout.rows()
    first = list(islice(stream, FIRST_ROWS))
    values = [row.value for row in first if isinstance(row, Row)]
    if not values:
        broken = [f for f in first if isinstance(f, Finding) and f.severity == "error"]
        if broken:
            raise broken[0].as_error()
        raise source.refusal(
            "has no rows.", "DATA-07", "At least 1 is needed to start; 50 or more to learn something.", 1
        )
    try:
        plain = [v if isinstance(v, str) else dict(v) for v in values]
        labels = labels_of(options, layout)
        mapping = choose(plain, options.format, dict(options.columns), labels)
    except EngineError as error:
        error.file = error.file or str(source.path)
        raise
    names = list(dict.fromkeys(c for v in values if isinstance(v, dict) for c in v))
    common = ConversationOptions(
        str(source.path),
        source.name,
        system_prompt,
        label_names=labels,
        role_names=dict(options.role_names),
        system_message=system_message,
    )
    return RowStream(source.path, layout, mapping, names, common, first, chain(first, stream), one_kind)


def open_source_of(data: Any, path: str, base_dir: str | Path | None = None) -> RowStream:
    """Open one file of a recipe's data section, named as there."""
    options = options_for(data, path)
    lenient = data.bad_rows == "leave_out"
    place = locate(path, base_dir)
    return open_rows(place, options, data.system_prompt, data.system_message, one_kind=not lenient)


def first_look(data: Any, path: str) -> tuple[Mapping | None, list[dict[str, Any]], EngineError | None]:
    """Return what the first rows of a file say: the mapping, the rows with columns, and why there is none.

    Raises EngineError for a file that cannot be read at all.
    """
    options = options_for(data, path)
    layout = look_at(locate(path), options.read)
    values = [row.value for row in islice(layout.rows(), FIRST_ROWS) if isinstance(row, Row)]
    objects = [dict(v) for v in values if not isinstance(v, str)]
    try:
        plain = [v if isinstance(v, str) else dict(v) for v in values]
        return choose(plain, options.format, dict(options.columns), labels_of(options, layout)), objects, None
    except EngineError as error:
        return None, objects, error


def locate(path: str, base_dir: str | Path | None = None) -> Path:
    """Return where a file named in a recipe stands; a hub id is looked up on disk (HUB-01 when it is not)."""
    found = resolve_data(path)
    return found if found.is_absolute() or base_dir is None else Path(base_dir) / found


def labels_of(options: SourceOptions, layout: Layout) -> dict[str, str]:
    """Return the names of labels: those the file carries itself, with the recipe's over them."""
    own = {str(i): name for names in layout.label_names.values() for i, name in enumerate(names)}
    return {**own, **options.label_names}


@dataclass(frozen=True, slots=True)
class Made:
    """A row that became tokens."""

    row: int
    tokens: Tokenised


def tokenised_rows(
    rows: Iterator[Numbered],
    template: ChatTemplate,
    tokenizer: ModelTokenizer,
    data: Any,
    stream: RowStream,
) -> Iterator[Made | Finding]:
    """Yield every row in order as tokens with their places in the text, or as the finding that refuses it."""

    def usable(batch: list[Numbered]) -> Iterator[Conversation]:
        return (c for _, c in batch if isinstance(c, Conversation))

    def placed(row: int, item: Conversation | Finding) -> Numbered:
        wrong = without_place(item, template, stream) if isinstance(item, Conversation) else None
        return row, wrong or item

    while waiting := [placed(*each) for each in islice(rows, 256)]:
        tokens = tokenise(usable(waiting), template, tokenizer, data.train_on, data.special_tokens)
        for number, conversation in waiting:
            if isinstance(conversation, Finding):
                yield conversation
                continue
            made = next(tokens)
            if isinstance(made, Tokenised):
                yield Made(number, made)
            else:
                yield template_finding(made[1], conversation, stream)


def without_place(conversation: Conversation, template: ChatTemplate, stream: RowStream) -> Finding | None:
    """Return the finding of a row whose system message the template has no place for; else None."""
    if template.takes_system or not conversation.messages or conversation.messages[0]["role"] != "system":
        return None
    file, name = place_of(conversation, stream)
    message = f'{name}, line {conversation.line}, message 1: role "system" has no place in the chat template.'
    hint = "Put it into the first question (system_message: first_question), or choose another template."
    return Finding("DATA-05", file, conversation.line, None, message, hint)


def template_finding(error: EngineError, conversation: Conversation, stream: RowStream) -> Finding:
    """Return the finding of a row that the chat template refuses."""
    file, name = place_of(conversation, stream)
    message = f"{name}, line {conversation.line}: {error.message}"
    return Finding(error.code, file, conversation.line, None, message, error.hint)


def place_of(conversation: Conversation, stream: RowStream) -> tuple[str, str]:
    """Return the file a row comes from and the name it is shown with."""
    file = conversation.file or stream.options.file
    return file, stream.options.name if file == stream.options.file else Path(file).name


def nothing_to_learn(conversation: Conversation, stream: RowStream, why: str) -> Finding:
    """Return the finding of a row that trains no token."""
    file, name = place_of(conversation, stream)
    message = f"{name}, line {conversation.line}: nothing to learn from: {why}."
    hint = "Raise the length, or look at the answer column."
    return Finding("DATA-06", file, conversation.line, None, message, hint)


def as_options(section: Any) -> Any:
    """Return data options as an object with the recipe's field names, from a section, a dict or nothing."""
    from engine.recipe.data_options import DataOptions

    if section is None:
        return DataOptions()
    return DataOptions(**section) if isinstance(section, dict) else section
