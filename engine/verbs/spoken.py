"""The only printer of the command line: whatever names and answers hold, nothing steers the terminal."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from engine import paths

LONGEST = 100_000
_STEERS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def say(text: object) -> None:
    """Print for a person, on standard output."""
    print(paths.show_text(str(text), LONGEST), flush=True)


def note(text: object) -> None:
    """Print for a person beside the answer, on standard error."""
    print(paths.show_text(str(text), LONGEST), file=sys.stderr, flush=True)


def step(stage: str, done: int | str, total: int | str, ends: bool) -> None:
    """Write over the line that says how far something is."""
    shown = paths.show_name(f"{stage} {done}/{total}")
    print(f"\r{shown}", end="\n" if ends else "", file=sys.stderr, flush=True)


def json_text(value: Any) -> str:
    """Return a value as one line of JSON; what would steer a terminal is escaped, which means the same."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return _STEERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
