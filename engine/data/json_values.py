"""Strict JSON: what Python's parser takes beyond it is refused, in words a person can act on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

MAX_DEPTH = 64
BLANK = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NUL = re.compile(r"\\u0000|\x00")
_CONTROLS = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f]")


class Refused(ValueError):
    """What strict JSON does not allow but Python's parser takes."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Refused(f'the key "{twice[:80]}" stands twice in one object')
    return found


def _constant(name: str) -> Any:
    raise Refused(f"{name} is no JSON value")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Refused(f"the number {text[:80]} is too large")
    return value


DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float)
# What a broken value raises; `scan(text, start)` gives (value, end) and checks no depth, NUL or surrogate.
FAULTS = (ValueError, RecursionError, MemoryError, StopIteration)
scan: Callable[[str, int], tuple[Any, int]] = DECODER.scan_once  # type: ignore[attr-defined]


def parse(text: str, start: int = 0) -> tuple[Any, int]:
    """Return (value, end) of the JSON value at `start`; raises ValueError for all that is not strict JSON."""
    try:
        value, end = DECODER.raw_decode(text, start)
    except RecursionError:
        raise Refused(f"values are nested deeper than {MAX_DEPTH}") from None
    except MemoryError:
        raise Refused("the value is too large") from None
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise Refused("a number has too many digits") from None
        raise
    _check(value, text, start, end)
    return value, end


def _check(value: Any, text: str, start: int, end: int) -> None:
    if text.count("{", start, end) + text.count("[", start, end) > MAX_DEPTH and depth(value) > MAX_DEPTH:
        raise Refused(f"values are nested deeper than {MAX_DEPTH}")
    if _SURROGATE.search(text, start, end):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise Refused("half a character (a lone surrogate) stands in the text") from None
    if _NUL.search(text, start, end) and any("\0" in t for t in texts(value)):
        raise Refused("a NUL character stands in the text")


def has_controls(value: Any) -> bool:
    """Say whether a control character (no tab, no line end) stands in one of the texts of a value."""
    return any(_CONTROLS.search(t) for t in texts(value))


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a value, keys too."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            yield from item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def depth(value: Any) -> int:
    """Return how deep lists and objects are nested in a value."""
    deepest, open_ = 0, [(value, 1)]
    while open_:
        item, level = open_.pop()
        deepest = max(deepest, level)
        if isinstance(item, dict):
            open_ += [(v, level + 1) for v in item.values() if isinstance(v, dict | list)]
        elif isinstance(item, list):
            open_ += [(v, level + 1) for v in item if isinstance(v, dict | list)]
    return deepest


def explain(error: ValueError, text: str, position: int) -> str:
    """Return what is wrong at `position`, in words a person can act on."""
    if isinstance(error, Refused):
        return str(error)
    here = text[position : position + 1]
    before = text[max(0, position - 64) : position].rstrip()[-1:]
    message = getattr(error, "msg", str(error))
    if not text[position : position + 64].strip() or "Unterminated string" in message:
        return "the row ends in the middle (was the file copied or downloaded to its end?)"
    if here in "}]" and before == "," or "Illegal trailing comma" in message:
        return "there is a comma too many"
    if here == "'":
        return "text stands in double quotes in JSON, not in single ones"
    if text.startswith(("True", "False", "None"), position):
        return "Python's True, False and None are true, false and null in JSON"
    if text.startswith(("//", "/*", "#"), position):
        return "JSON has no comments"
    if "Invalid control character" in message:
        return "a line break or control character stands inside a text; it must be written as \\n"
    return {"Extra data": "something follows the end of the row"}.get(
        message, f"{message[:1].lower()}{message[1:]}"
    )
