"""One encoder for each format that leaves the program: what comes from files is data in it, no command.

CSV for spreadsheets, Markdown for cards and copied tables, YAML for the head of a card. (JSON is Python's
own; a Modelfile has its encoder beside Ollama's grammar.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from engine import plain_yaml
from engine.paths import show_name

# A spreadsheet takes a cell that begins so for a formula; the full-width forms are taken for the others.
_FORMULA = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\Z", re.ASCII)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-!|<>&~:$@]|(?<=www)\.)")
_GUARD = "'"


def csv_cell(value: object) -> str:
    """Return one cell: what a spreadsheet would run gets an apostrophe first, which it does not show."""
    text = "" if value is None else str(value)
    if text.lstrip(_GUARD).startswith(_FORMULA) and _NUMBER.match(text) is None:
        text = _GUARD + text
    if any(char in text for char in ',"\r\n') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV, a comma between cells."""
    return "".join(",".join(csv_cell(cell) for cell in row) + "\n" for row in rows)


def csv_unguarded(cell: str) -> str:
    """Return a cell of ours, read back by any CSV reader, as it was before `csv_cell`."""
    guarded = cell.startswith(_GUARD) and cell.lstrip(_GUARD).startswith(_FORMULA)
    return cell[len(_GUARD) :] if guarded else cell


def markdown(text: object, limit: int = 200) -> str:
    """Return a text as Markdown that shows just that text, on one line."""
    shown = show_name(str(text), limit).strip()
    return _MARKDOWN.sub(r"\\\1", shown)


def fenced(text: str, language: str = "") -> str:
    """Return a block of code that nothing in the text can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def front_matter(values: Mapping[str, Any]) -> str:
    """Return the head of a card with its rules; a text that spells a rule stays within quotation marks."""
    return f"---\n{plain_yaml.dump(dict(values))}---\n"
