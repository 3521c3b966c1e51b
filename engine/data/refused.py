"""Why a row cannot become a conversation, in the words a person reads."""

from __future__ import annotations

import re
from typing import Any

from engine.data.columns import MISSING
from engine.data.rows import Severity

# A character that can be seen: neither a blank, nor of zero width, nor a mark that only steers others.
VISIBLE = re.compile(
    "[^\\s\x00-\x1f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_KINDS = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
    dict: "an object",
    bytes: "bytes",
}
CORRECT = "Choose another column or correct the value."
LOOK = "Leave such rows out, or look at the answer column."


class Wrong(Exception):
    """A row that cannot become a conversation; `severity` report: it is left out, and that is no fault.

    `path` is the column that is wrong, where one is.
    """

    def __init__(
        self, code: str, message: str, hint: str, severity: Severity = "error", path: str | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.severity, self.path = code, message, hint, severity, path


def expected(path: str, wanted: str, value: Any, hint: str = CORRECT) -> Wrong:
    """Return what is said of a value of the wrong kind: where, what belongs there and what stands there."""
    found = "nothing" if value is MISSING else kind_name(value)
    return Wrong("DATA-04", f"{path}: {wanted} expected, {found} found.", hint, path=path)


def kind_name(value: Any) -> str:
    """Return the kind of a value as a person calls it."""
    if value is None:
        return "null"
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def is_blank(text: str) -> bool:
    """Say whether nothing of a text can be seen."""
    return VISIBLE.search(text) is None
