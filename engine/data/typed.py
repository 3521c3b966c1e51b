"""Marks that a person typed (`</s>` in a question about HTML), read as the words they are.

The contents are rendered with a break inside every typed mark, so that the marks left are the template's own.
These are then written in a spelling that only a twin of the tokenizer knows, as long as the usual one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer

from engine.data.conversation import Conversation
from engine.data.marks import Marks, typed_specials
from engine.data.rendered import Rendered
from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer, guarded
from engine.errors import EngineError

# Characters of private use: breaks, and the first of those that spell marks.
_BREAKS = range(0xF8D0, 0xF8F0)
_SPELLING = 0xF0000
_SPELLED = re.compile("[\U000f0000-\U000fffff]")


@dataclass(frozen=True, slots=True)
class Typed:
    """A row with the tokens of its text; typed marks are many tokens, those of the template one each."""

    rendered: Rendered
    encoding: Any


class TypedAsText:
    """The twin of a tokenizer, for rows that hold typed marks."""

    def __init__(self, tokenizer: ModelTokenizer) -> None:
        self._tokenizer = tokenizer

    def is_needed(self, conversation: Conversation) -> bool:
        """Say whether a row holds a mark of its own."""
        return bool(typed_specials(conversation, self._tokenizer.special_texts))

    def encoded(
        self,
        conversation: Conversation,
        template: ChatTemplate,
        train_on: str,
        render: Callable[[Conversation, ChatTemplate, str], Rendered],
    ) -> Typed:
        """Render and tokenise a row. Raises EngineError DATA-02 for characters the twin needs for itself."""
        written = json.dumps(
            [conversation.messages, conversation.tools, conversation.text], ensure_ascii=False, default=str
        )
        mark = next((chr(c) for c in _BREAKS if chr(c) not in written), None)
        if mark is None or _SPELLED.search(written):
            raise EngineError(
                f"line {conversation.line}: it has special tokens beside characters of private use.",
                "Remove one of them, or let special tokens be read as the tokenizer does.",
                "DATA-02",
                line=conversation.line,
                field="data.special_tokens",
            )
        if conversation.text is not None:
            return Typed(render(conversation, template, train_on), self._encode(conversation.text))
        broken = replace(
            conversation,
            messages=tuple(self._broken(m, mark) for m in conversation.messages),
            tools=tuple(self._broken(t, mark) for t in conversation.tools),
        )
        rendered = render(broken, template, train_on)
        whole = re.compile(f"{mark}|\\\\u{ord(mark):04x}")
        spelled = self._own.sub(lambda m: self._spelling[m.group()], rendered.text)
        return Typed(_mended(rendered, whole), self._encode(whole.sub("", spelled)))

    def _broken(self, value: Any, mark: str) -> Any:
        if isinstance(value, str):
            return self._own.sub(lambda m: m.group()[0] + mark + m.group()[1:], value)
        if isinstance(value, dict):
            return {k: v if k == "role" else self._broken(v, mark) for k, v in value.items()}
        return [self._broken(v, mark) for v in value] if isinstance(value, list | tuple) else value

    def _encode(self, text: str) -> Any:
        with guarded(self._tokenizer.path):
            return self._twin.encode(text, add_special_tokens=False)

    @cached_property
    def _spelling(self) -> dict[str, str]:
        """How the twin spells each mark: as long as it is, so that characters keep their places."""
        marks = sorted(self._tokenizer.special_texts)
        return {text: chr(_SPELLING + number) * len(text) for number, text in enumerate(marks)}

    @cached_property
    def _own(self) -> re.Pattern[str]:
        return Marks(self._spelling).pattern

    @cached_property
    def _twin(self) -> Tokenizer:
        whole = json.loads(self._tokenizer.bare.to_str())
        spelling = self._spelling
        for token in whole["added_tokens"]:
            token["content"] = spelling.get(token["content"], token["content"])
        model = whole["model"]
        vocabulary = model["vocab"]
        if isinstance(vocabulary, dict):
            model["vocab"] = {spelling.get(text, text): number for text, number in vocabulary.items()}
        else:
            model["vocab"] = [[spelling.get(text, text), score] for text, score in vocabulary]
        if "merges" in model:
            model["merges"] = [m for m in model["merges"] if _merge(m) not in spelling]
        if isinstance(model.get("unk_token"), str):
            model["unk_token"] = spelling.get(model["unk_token"], model["unk_token"])
        return Tokenizer.from_str(json.dumps(whole))


def _merge(pair: Any) -> str:
    return "".join(pair.split(" ") if isinstance(pair, str) else pair)


def _mended(rendered: Rendered, breaks: re.Pattern[str]) -> Rendered:
    """Take the breaks out of a rendering, and move the ranges with its text."""
    found = [m.span() for m in breaks.finditer(rendered.text)]

    def moved(at: int) -> int:
        return at - sum(min(end, at) - start for start, end in found if start < at)

    ranges = rendered.ranges
    if ranges is not None:
        ranges = tuple(
            replace(r, start=moved(r.start), end=moved(r.end), words_end=moved(r.words_end)) for r in ranges
        )
    return Rendered(breaks.sub("", rendered.text), ranges)
