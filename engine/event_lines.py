"""An event as its line of `events.jsonl`: ASCII, bounded, without numbers that JSON does not know."""

from __future__ import annotations

import json
import math
from typing import Any

from pydantic import BaseModel

MAX_LINE_BYTES = 16 * 1024


def encode(event: BaseModel) -> bytes:
    """Return the event as one ASCII JSON line; numbers that are not finite travel as null."""
    values = event.model_dump()
    head = {k: values.pop(k) for k in ("type", "seq", "attempt", "time", "mono")}
    line = json.dumps(_finite({**head, **values}), separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        long = {k: v for k, v in values.items() if isinstance(v, str) and len(v) > 1000}
        values |= {k: v[:1000] + " … (shortened)" for k, v in long.items()}
        line = json.dumps(_finite({**head, **values}), separators=(",", ":")).encode() + b"\n"
    return line


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
