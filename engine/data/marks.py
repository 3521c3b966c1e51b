"""The marks of a tokenizer (`<|im_end|>`, `</s>`, ...): where they stand in texts, and who typed them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from engine.data.conversation import Conversation


class Marks:
    """A set of texts that is searched quickly: the leftmost is found, of several there the longest."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(sorted({t for t in texts if t}, key=lambda t: (-len(t), t)))
        self._firsts = sorted({t[0] for t in self.texts})
        pairs: dict[str, set[str]] = {}
        for text in self.texts:
            pairs.setdefault(text[0], set()).add(text[1:2])
        self._pairs = re.compile(
            "|".join(_begun(first, then) for first, then in sorted(pairs.items())) or "(?!)"
        )
        self.pattern = re.compile("|".join(map(re.escape, self.texts)) or "(?!)")

    def stand_in(self, text: str) -> bool:
        """Say whether one of the marks is in a text."""
        for first in self._firsts:
            if first in text:
                break
        else:
            return False
        return self._pairs.search(text) is not None and self.pattern.search(text) is not None

    def found(self, text: str) -> list[str]:
        """Return the marks in a text, in their order."""
        return self.pattern.findall(text) if self.stand_in(text) else []

    def split(self, text: str) -> list[tuple[str, bool]]:
        """Return a text as pieces: (words, False) and (mark, True)."""
        pieces: list[tuple[str, bool]] = []
        at = 0
        for match in self.pattern.finditer(text):
            if match.start() > at:
                pieces.append((text[at : match.start()], False))
            pieces.append((match.group(), True))
            at = match.end()
        if at < len(text):
            pieces.append((text[at:], False))
        return pieces

    def is_apart(self, mark: str) -> bool:
        """Say whether a mark is always found where it stands, whatever comes before and after it."""
        for text in self.texts:
            if text != mark and (text.startswith(mark) or mark in text[1:]):
                return False
            if any(mark.startswith(text[k:]) for k in range(1, len(text))):
                return False
        return True


def _begun(first: str, then: set[str]) -> str:
    if "" in then:
        return re.escape(first)
    return re.escape(first) + "[" + "".join(map(re.escape, sorted(then))) + "]"


@lru_cache(maxsize=8)
def marks_of(texts: frozenset[str]) -> Marks:
    """Return the marks of a set of texts, made once."""
    return Marks(texts)


def typed_specials(conversation: Conversation, special_texts: frozenset[str]) -> list[str]:
    """Return the marks that the contents of a row hold themselves, each once, in their order."""
    marks = marks_of(special_texts)
    if conversation.text is not None:
        return list(dict.fromkeys(marks.found(conversation.text)))
    typed: list[str] = []
    for message in conversation.messages:
        for key, value in message.items():
            if key != "role" and (type(value) is not str or marks.stand_in(value)):
                typed += [mark for text in _texts(value) for mark in marks.found(text)]
    if conversation.tools:
        typed += [mark for text in _texts(conversation.tools) for mark in marks.found(text)]
    return list(dict.fromkeys(typed)) if typed else typed


def _texts(value: Any) -> Iterable[str]:
    """Yield every text inside a value, names of fields counted."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(key)
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
