"""What a row is called when it is looked for among others: its text without case and blanks."""

from __future__ import annotations

import json
from hashlib import blake2b

from engine.data.conversation import Conversation


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
