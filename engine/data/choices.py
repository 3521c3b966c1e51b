"""Answers that are picked: the label of a text, or one of several choices."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from engine.data.columns import MISSING, lookup
from engine.data.columns import Mapping as ColumnMapping
from engine.data.refused import CORRECT, LOOK, Wrong, expected

NAME_THEM = (
    "Choose another column; or, where it is the number of a label, say what each is called in label names, "
    "as in 0: negative."
)
_MOST = len(ascii_uppercase)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several answers; `key` is what the file calls it, `right` whether the file marks it so."""

    key: str
    text: str
    right: bool | None = None


def label_key(value: Any) -> str:
    """Return a label as it is written in label names: text as it is, 1.0 as 1, true as true."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def answer_of(value: Any, path: str, names: Mapping[str, str], row: Any) -> str:
    """Return the answer at `path`: a text, the one message of a list, or what the label there is called."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, (bool, int, float)):
        named = names.get(label_key(value))
        if named is None:
            raise expected(path, "text", value, NAME_THEM)
        return named
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]
    if isinstance(value, dict):
        words = value.get("content", value.get("value"))
        if isinstance(words, str) and ("role" in value or "from" in value):
            return words
    if value is MISSING and path.rpartition("[0]")[1]:
        before = path[: path.rindex("[0]")]
        if lookup(row, before) == []:
            raise Wrong("DATA-06", f"no answer is given ({before} is an empty list).", LOOK)
    raise expected(path, "text", value)


def with_choices(question: str, row: Any, mapping: ColumnMapping) -> tuple[str, str]:
    """Return the question with its choices in letters, and the right one as its answer."""
    path, answer_path = mapping.columns["choices"], mapping.columns["completion"]
    choices = choices_of(row, path)
    marked = [i for i, choice in enumerate(choices) if choice.right]
    if choices[0].right is not None:
        if len(marked) != 1:
            raise Wrong("DATA-04", f"{path}: one right choice expected, {len(marked)} found.", CORRECT)
        at = marked[0]
    else:
        answer = lookup(row, answer_path)
        readings = [mapping.answer_by] if mapping.answer_by else list(READINGS)
        found = [i for i in (READINGS[r](choices, answer) for r in readings) if i is not None]
        if not found:
            raise _no_choice(answer, answer_path, choices)
        at = found[0]
    right = choices[at]
    if right.right is not None:
        # Such files name the right answer first: an order of their own keeps that from being learnt.
        choices = sorted(choices, key=lambda choice: (_shuffled(f"{question}\n{choice.text}"), choice.text))
        at = choices.index(right)
    lines = [f"{ascii_uppercase[i]}. {choice.text}" for i, choice in enumerate(choices)]
    return "\n".join([f"{question}\n", *lines]), lines[at]


def _shuffled(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def _no_choice(answer: Any, path: str, choices: Sequence[Choice]) -> Wrong:
    keys = ", ".join(choice.key for choice in choices)[:80]
    if isinstance(answer, (str, int)) and not isinstance(answer, bool):
        return Wrong("DATA-04", f"{path}: one of {keys} expected, {str(answer)[:40]} found.", CORRECT)
    return expected(path, f"one of {keys}", answer)


def choices_of(row: Any, path: str) -> list[Choice]:
    """Return the choices of a row: of a list, an object, or of several columns with commas between them."""
    found = lookup(row, path)
    if found is MISSING and "," in path:
        names = [name.strip() for name in path.split(",")]
        values = [(name, lookup(row, name)) for name in names]
        made = [
            _choice(ascii_uppercase[i % _MOST], value, name)
            for i, (name, value) in enumerate(values)
            if value is not None and value is not MISSING and value != ""
        ]
    else:
        if isinstance(found, str):
            with suppress(ValueError, RecursionError):
                found = json.loads(found)
        made = _listed(found, path)
    if not 2 <= len(made) <= _MOST:
        raise Wrong("DATA-04", f"{path}: 2 to {_MOST} choices expected, {len(made)} found.", CORRECT)
    return made


def _choice(key: Any, value: Any, path: str, right: Any = None) -> Choice:
    if not isinstance(value, str):
        raise expected(path, "text", value)
    if not isinstance(key, (str, int)):
        raise expected(f"{path} (its label)", "text", key)
    return Choice(str(key), value, None if right is None else bool(right))


def _listed(found: Any, path: str) -> list[Choice]:
    if isinstance(found, list):
        made = []
        for i, item in enumerate(found):
            key: Any = ascii_uppercase[i % _MOST]
            if isinstance(item, dict):
                key, item = item.get("label", item.get("key", key)), item.get("text", MISSING)
            made.append(_choice(key, item, f"{path}[{i}]"))
        return made
    if not isinstance(found, dict) or not found:
        raise expected(path, "a list of choices", found)
    texts = found.get("text", found.get("choices"))
    keys = found.get("label", found.get("labels"))
    if isinstance(texts, list) and isinstance(keys, list) and len(texts) == len(keys):
        flags = bool(keys) and all(type(k) in (int, bool) and k in (0, 1) for k in keys) and sum(keys) == 1
        letters = [ascii_uppercase[i % _MOST] for i in range(len(texts))]
        named = letters if flags else keys
        marks = keys if flags else [None] * len(keys)
        return [
            _choice(key, text, f"{path}.text[{i}]", mark)
            for i, (key, text, mark) in enumerate(zip(named, texts, marks, strict=True))
        ]
    if all(type(mark) in (int, bool) and mark in (0, 1) for mark in found.values()):
        return [_choice(text, text, path, mark) for text, mark in found.items()]
    return [_choice(key, text, f"{path}.{key}") for key, text in found.items()]


def _by_key(choices: Sequence[Choice], answer: Any) -> int | None:
    if isinstance(answer, bool) or not isinstance(answer, (str, int)):
        return None
    said = str(answer).strip().strip("().:").casefold()
    return next((i for i, choice in enumerate(choices) if choice.key.casefold() == said), None)


def _by_text(choices: Sequence[Choice], answer: Any) -> int | None:
    if not isinstance(answer, str):
        return None
    return next((i for i, choice in enumerate(choices) if choice.text.strip() == answer.strip()), None)


def _by_index(choices: Sequence[Choice], answer: Any, first: int = 0) -> int | None:
    if isinstance(answer, str) and answer.strip().isascii() and answer.strip().isdigit():
        answer = int(answer) if len(answer) < 6 else -1
    if isinstance(answer, bool) or not isinstance(answer, int):
        return None
    return answer - first if 0 <= answer - first < len(choices) else None


def _by_number(choices: Sequence[Choice], answer: Any) -> int | None:
    return _by_index(choices, answer, 1)


# How an answer names its choice, the likeliest first.
READINGS: dict[str, Callable[[Sequence[Choice], Any], int | None]] = {
    "key": _by_key,
    "text": _by_text,
    "index": _by_index,
    "number": _by_number,
}


def reading_of(rows: Sequence[Mapping[str, Any]], path: str, answer_path: str) -> tuple[str, int]:
    """Return how the answers of some rows name their choice, and in how many rows that fits."""
    counts = dict.fromkeys(READINGS, 0)
    marked = 0
    for row in rows:
        try:
            choices = choices_of(row, path)
        except Wrong:
            continue
        if choices[0].right is not None:
            marked += sum(bool(choice.right) for choice in choices) == 1
            continue
        answer = lookup(row, answer_path)
        for name, read in READINGS.items():
            counts[name] += read(choices, answer) is not None
    if marked:
        return "", marked
    best = max(counts, key=lambda name: counts[name])
    return (best, counts[best]) if counts[best] else ("", 0)
