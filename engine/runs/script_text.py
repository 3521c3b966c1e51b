"""Values as Python source that a formatter leaves as it is, and words that can stand in a docstring.

Whatever a recipe holds stays data: a string is written as a literal, character by character.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

WIDTH = 88  # columns of the script
_SHORT = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quoted(text: str) -> str:
    """Return a string literal: in double quotes unless single ones need fewer escapes."""
    mark = "'" if text.count('"') > text.count("'") else '"'
    return mark + "".join(_written(char, mark) for char in text) + mark


def _written(char: str, mark: str) -> str:
    if char == mark:
        return "\\" + char
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def literal(value: Any, indent: int = 0, used: int = 0) -> str:
    """Return a value as source: in one line where it fits beside `used` columns, else an entry a line."""
    if isinstance(value, str):
        return quoted(value)
    if not isinstance(value, list | tuple | dict):
        return repr(value)
    marks = "[]" if isinstance(value, list) else "()" if isinstance(value, tuple) else "{}"
    opening, closing = marks[0], marks[1]
    pairs = value.items() if isinstance(value, dict) else [(None, entry) for entry in value]
    deeper = indent + 4
    entries = [("" if key is None else f"{literal(key)}: ", entry) for key, entry in pairs]
    comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
    flat = opening + ", ".join(name + literal(entry) for name, entry in entries) + comma + closing
    if not entries or ("\n" not in flat and used + len(flat) <= WIDTH):
        return flat
    pad = " " * deeper
    lines = [f"{pad}{name}{literal(entry, deeper, deeper + len(name) + 1)}," for name, entry in entries]
    return "\n".join([opening, *lines, " " * indent + closing])


def assign(name: str, value: Any, why: str = "") -> str:
    """Return `name = value`, with a comment behind it where it fits."""
    start = f"{name} = "
    line = start + literal(value, 0, len(start))
    if isinstance(value, str) and len(line) > WIDTH:
        if len(line) - len(start) + 4 <= WIDTH:
            return f"{name} = (\n    {quoted(value)}\n)"
        parts = re.findall(r"[^\n]*\n|[^\n]+", value)
        if len(parts) > 1:
            return "\n".join([f"{name} = (", *(f"    {quoted(part)}" for part in parts), ")"])
    if why and "\n" not in line and len(line) + len(why) + 4 <= WIDTH:
        return f"{line}  # {why}"
    return line


def call(name: str, arguments: dict[str, Any], indent: int = 0, *first: str, used: int = 0) -> str:
    """Return `name(first, key=value, ...)`: in a line where it fits behind `used` columns, else one each.

    `Code` values are written as they are.
    """
    plain = [f"{k}={v if isinstance(v, Code) else literal(v)}" for k, v in arguments.items()]
    flat = f"{name}({', '.join([*first, *plain])})"
    if "\n" not in flat and used + len(flat) <= WIDTH:
        return flat
    pad = " " * (indent + 4)
    lines = [f"{pad}{entry}," for entry in first]
    for key, value in arguments.items():
        start = f"{pad}{key}="
        shown = str(value) if isinstance(value, Code) else literal(value, indent + 4, len(start) + 1)
        lines.append(f"{start}{shown},")
    return "\n".join([f"{name}(", *lines, " " * indent + ")"])


class Code(str):
    """A piece of source of our own, such as the name of a constant; never made from what a recipe says."""


def words(text: str) -> str:
    """Return text of a person fit for a docstring: letters, digits and a few marks, the rest left out."""
    return "".join(c if c.isalnum() or c in " ._-,+/()@" else "?" for c in text)[:200]


def paragraph(text: str, first: str = "", then: str | None = None) -> str:
    """Return text in lines of the script's width, `first` before the first and `then` before the others."""
    rest = first if then is None else then
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
