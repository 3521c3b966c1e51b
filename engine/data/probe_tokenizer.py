"""What a tokenizer must bear before anything of ours uses it: three texts, no flood of tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from engine.data.special_tokens import refuse_moved_marks
from engine.data.tokenizer import stopped, whole_tokenizer

MOST_BYTES = 256 << 20
MOST_ADDED = 65_536
MOST_ID = 1 << 24
MOST_GROWTH = 64
TEXTS = (
    "The quick brown fox, 12 of 345 boxes: don't panic!\n\n\tdef f(x):\n\t\treturn x ** 2  # 3.14 €\n",
    "Größe, naïve, 你好世界, Привет, עברית, हिन्दी, 👩‍👩‍👧 🇨🇭 \u200b\ufeff ﷺ e\u0301 <|im_start|></s>",
    " ".join(mark * 48 + "!" for mark in ("a", "0", "1", "-", "\t", "Aa", "ab", "_")) + "\n" * 48 + " " * 48,
)


def look(path: Path) -> dict[str, Any]:
    """Return how many tokens it knows, and whether ChatML's marks are among them.

    Raises EngineError MODEL-06 for one that may not be used.
    """
    if path.stat().st_size > MOST_BYTES:
        raise stopped(path, f"it is larger than {MOST_BYTES >> 20} MiB")
    raw = path.read_bytes()
    tokenizer = whole_tokenizer(path, raw)
    refuse_moved_marks(tokenizer, raw, path)
    added = tokenizer.get_added_tokens_decoder()
    if len(added) > MOST_ADDED:
        raise stopped(path, f"it adds {len(added):,} tokens to its vocabulary")
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if highest >= MOST_ID:
        raise stopped(path, f"the number {highest:,} can be no token's")
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        growth = _growth(getattr(tokenizer, part))
        if growth > MOST_GROWTH:
            raise stopped(path, f"its {part.replace('_', ' ')} can make one character {growth:,} long")
    for text in TEXTS:
        _bear(tokenizer, text, path)
    marks = {token.content for token in added.values()}
    chatml = {"<|im_start|>", "<|im_end|>"} <= marks
    return {"tokens": tokenizer.get_vocab_size(), "added": len(added), "chatml": chatml}


def _bear(tokenizer: Tokenizer, text: str, path: Path) -> None:
    """Encode and decode a text, with its settings as they stand and with none."""
    most = MOST_GROWTH * len(text)
    # As it is used: what stands before a text is found out with the file's own padding still on.
    for special in (True, False):
        ids = tokenizer.encode(text, add_special_tokens=special).ids
        if len(ids) > most:
            raise stopped(path, f"it makes {len(ids):,} tokens of {len(text)} characters")
        if max(ids, default=0) >= MOST_ID:
            raise stopped(path, f"it writes the number {max(ids):,}, which can be no token's")
        if len(tokenizer.decode(ids, skip_special_tokens=False)) > most:
            raise stopped(path, f"it makes more than {most:,} characters of {len(ids):,} tokens")


def _growth(part: Any) -> int:
    """Return how long one character can become by the replacements of a part, one after the other."""
    if part is None:
        return 1
    growth = 1
    for step in _steps(json.loads(part.__getstate__())):
        kind, content = step.get("type"), step.get("content", step.get("prepend", step.get("replacement")))
        if kind in ("Replace", "Prepend") and isinstance(content, str):
            pattern = step.get("pattern", {})
            fixed = pattern.get("String") if isinstance(pattern, dict) else None
            # A pattern that fits where nothing stands writes beside every character.
            growth *= max(1, -(-len(content) // len(fixed)) if fixed else 1 + len(content))
        elif kind == "Precompiled":
            growth *= _longest(step.get("precompiled_charsmap"))
        if growth > 10**15:
            break
    return growth


def _longest(charsmap: Any) -> int:
    """Return the characters of the longest text in a table of SentencePiece.

    The table: 4 bytes with the length of its tree, the tree, then all texts, each ended by NUL
    (https://github.com/google/sentencepiece, src/normalizer.cc, DecodePrecompiledCharsMap).
    """
    try:
        table = base64.b64decode(charsmap)
    except (TypeError, ValueError):
        return 1
    texts = table[4 + int.from_bytes(table[:4], "little") :].split(b"\0")
    return max(1, *(len(text.decode("utf-8", "replace")) for text in texts))


def _steps(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _steps(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _steps(inner)
