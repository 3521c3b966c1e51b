"""An event as its line of `events.jsonl`: ASCII, bounded, without numbers that JSON does not know."""

from __future__ import annotations

import json
import math
from typing import Any

from pydantic import BaseModel

MAX_LINE_BYTES = 16 * 1024


# What is left of a line that would be longer: characters of each text, entries of each list and mapping.
_SHORTER = ((1000, 1 << 16), (500, 200), (200, 100), (100, 50), (40, 20), (40, 1))


def encode(event: BaseModel) -> bytes:
    """Return the event as one ASCII JSON line; numbers that are not finite travel as null.

    No line is longer than `MAX_LINE_BYTES`: a reader takes a longer one for damage.
    """
    values = event.model_dump()
    head = {k: values.pop(k) for k in ("type", "seq", "attempt", "time", "mono")}
    line = _line(head, values)
    for characters, entries in _SHORTER:
        if len(line) <= MAX_LINE_BYTES:
            break
        line = _line(head, {name: _shorter(value, characters, entries) for name, value in values.items()})
    return line


def _line(head: dict[str, Any], values: dict[str, Any]) -> bytes:
    return json.dumps(_finite({**head, **values}), separators=(",", ":")).encode() + b"\n"


def _shorter(value: Any, characters: int, entries: int) -> Any:
    if isinstance(value, str) and len(value) > characters:
        return value[:characters] + " … (shortened)"
    if isinstance(value, dict):
        kept = list(value.items())[:entries]
        return {str(key)[:characters]: _shorter(each, characters, entries) for key, each in kept}
    if isinstance(value, list | tuple):
        return [_shorter(each, characters, entries) for each in value[:entries]]
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
