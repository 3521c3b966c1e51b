"""Marks of a tokenizer that cannot be marks: a letter that would end answers, or be left out of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from engine.errors import EngineError
from engine.paths import show_name

_LIST = b'"added_tokens"'
_MOST_BYTES = 32 << 20
_SPACES = "Ġ▁Ċ \t\n"  # how the vocabularies write the blank before a word


def is_ordinary(tokenizer: Tokenizer, token: str) -> bool:
    """Return whether a token is a letter, a digit, or a word that was not added as a mark."""
    text = token.strip(_SPACES)
    if not text.isalnum():
        return False
    found = tokenizer.token_to_id(token)
    added = None if found is None else tokenizer.get_added_tokens_decoder().get(found)
    return len(text) == 1 or added is None or not added.special


def refuse_odd_marks(tokenizer: Tokenizer, eos: str | None, path: Path) -> None:
    """Raise EngineError MODEL-05 where an answer would end at, or text would lose, an ordinary letter."""
    if eos is not None and is_ordinary(tokenizer, eos):
        raise _odd(path.with_name("tokenizer_config.json"), "eos_token", eos)
    for added in tokenizer.get_added_tokens_decoder().values():
        text = added.content.strip(_SPACES)
        if added.special and len(text) == 1 and text.isalnum():
            raise _odd(path, "added_tokens", added.content)


def refuse_moved_marks(tokenizer: Tokenizer, raw: bytes, path: Path) -> None:
    """Raise EngineError MODEL-05 where a tokenizer.json puts an added token on the number of another one.

    The library gives such a token another number without a word. Only the file's own list is read again.
    """
    for entry in _added(raw):
        content, number = (entry.get("content"), entry.get("id")) if isinstance(entry, dict) else (None, None)
        if not isinstance(content, str) or type(number) is not int:
            continue
        there = tokenizer.id_to_token(number)
        if there is not None and there != content and tokenizer.token_to_id(content) != number:
            raise _odd(path, "added_tokens", f"{content} on the number of {there}")


def _added(raw: bytes) -> list[Any]:
    """Return the list of added tokens as it stands in a tokenizer.json."""
    start = raw.find(b"[", raw.find(_LIST) + len(_LIST)) if _LIST in raw else -1
    if start < 0:
        return []
    text = raw[start : start + _MOST_BYTES].decode("utf-8", "replace")
    try:
        found, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def _odd(path: Path, field: str, value: str) -> EngineError:
    return EngineError(
        f"{path.name}: {field} = {show_name(value, 60)} is not supported: it is ordinary text.",
        "Choose another model, or download this one again.",
        "MODEL-05",
        file=str(path),
    )
