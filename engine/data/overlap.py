"""Rows of the validation data that are trained on as well."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from hashlib import blake2b

from engine.data.check import SHOWN, Check, Place, counted
from engine.data.conversation import Conversation


def exact_key(conversation: Conversation) -> bytes:
    """Return 16 bytes that are the same for conversations equal in every character, and for no others."""
    untrained = sorted(conversation.untrained)
    whole = [conversation.text, conversation.messages, conversation.tools, untrained]
    return _digest(json.dumps(whole, ensure_ascii=True, sort_keys=True, default=str).encode())


def fold_key(conversation: Conversation) -> bytes:
    """Return 16 bytes that are the same for conversations equal but for case and blanks."""
    if conversation.text is not None:
        return _digest(_folded(conversation.text))
    parts = []
    for message in conversation.messages:
        parts += [message["role"].encode(), _folded(message["content"])]
        if len(message) > 2:
            rest = {k: v for k, v in message.items() if k not in ("role", "content")}
            parts.append(_folded(json.dumps(rest, ensure_ascii=False, sort_keys=True, default=str)))
    return _digest(b"\x00".join(parts))


def _folded(text: str) -> bytes:
    return " ".join(text.casefold().split()).encode("utf-8", "surrogatepass")


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def overlap(
    train_keys: Collection[bytes], validation_keys: Sequence[bytes], places: Sequence[Place] = ()
) -> Check | None:
    """Return the check of validation rows whose key (see `fold_key`) is also one of training, None for none.

    `places` are those of the validation rows, in their order; `data["rows"]` has the numbers of those found.
    """
    trained = train_keys if isinstance(train_keys, (set, frozenset, dict)) else set(train_keys)
    both = [i for i, key in enumerate(validation_keys) if key in trained]
    if not both:
        return None
    count = len(both)
    return Check(
        "overlap",
        "warn",
        count,
        f"{counted(count, 'validation row is', 'validation rows are')} also trained on",
        "Equal but for upper and lower case and blanks. They make the score look better than it is.",
        tuple(places[i] for i in both[:SHOWN] if i < len(places)),
        {"data.overlap": "drop"},
        "Remove from validation",
        {"rows": both, "of": len(validation_keys)},
    )
