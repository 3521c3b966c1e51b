"""What a data set lets a model practise: kinds of tasks that can be told from the words of its rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.recipe.data_options import DataOptions

ROWS_OF_A_FILE = 2000
MAX_CHARACTERS = 20_000  # of a row
CONVERSATION, CODE, ARITHMETIC, TOOLS = "conversation", "code", "arithmetic", "tool calls"
# What decides how rows are read; all else leaves what was found as it is.
_READ = (
    "train format columns sources encoding part delimiter header label_names role_names system_prompt "
    "system_message bad_rows"
).split()
# What is told from text is told generously: a kind that is missed would be said to be lost.
_TOLD = {
    CODE: re.compile(
        r"```|^\s*(?:def |class |import |from \S+ import |#include|function |public |private )"
        r"|^\s*(?:fn |const |let |var )|\bSELECT\b.+\bFROM\b|</\w+>|[;{]\s*$",
        re.MULTILINE | re.DOTALL,
    ),
    ARITHMETIC: re.compile(
        r"\d\s*[+*×÷]\s*\d|\d\s+[-/]\s+\d|\d\s*=\s*\d|[-+*/×÷]\s*\d[\d.,]*\s*="
        r"|\b(?:calculate|add|subtract|multiply|divide|plus|minus|times|sum of|how many|how much)\b[^\n]*\d",
        re.IGNORECASE,
    ),
    TOOLS: re.compile(r"<tool_call>|\"tool_calls\"|<function=|\"arguments\"\s*:"),
}


@dataclass(frozen=True)
class Practice:
    """How many of `rows` practise each kind of task; `every`: no row was left out."""

    rows: int
    counts: Mapping[str, int]
    every: bool = True


def practised(data: DataOptions) -> Practice:
    """Look at up to 2,000 training rows of each file, of a large .jsonl from all over it.

    What was found is kept until the files or the way to read them change. Raises EngineError for a file of
    no use.
    """
    from engine.data.library import resolve_data

    stamps = []
    for name in data.train:
        file = resolve_data(name)
        stamps.append((file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else (0, 0))
    read = DataOptions().model_copy(update={name: getattr(data, name) for name in _READ})
    return _practised(read.model_dump_json(), tuple(stamps))


@lru_cache(maxsize=4)
def _practised(dumped: str, stamps: tuple[tuple[int, int], ...]) -> Practice:
    from engine.data.conversation import Conversation
    from engine.data.examples import open_source_of
    from engine.data.spread import Spread

    data = DataOptions.model_validate_json(dumped)
    counts: Counter[str] = Counter()
    rows, every = 0, True
    for name in data.train:
        sample = Spread(open_source_of(data, name), ROWS_OF_A_FILE)
        for _, item in sample.rows():
            if isinstance(item, Conversation):
                rows += 1
                counts.update(_kinds_of(item))
        every &= sample.ended
    return Practice(rows, dict(counts), every)


def _kinds_of(row: Any) -> set[str]:
    """Return the kinds of tasks in a row."""
    found = {CONVERSATION} if row.messages else set()
    if row.tools or any(m.get("tool_calls") or m["role"] == "tool" for m in row.messages):
        found.add(TOOLS)
    words = row.text if row.text is not None else "\n".join(str(m.get("content") or "") for m in row.messages)
    words = words[:MAX_CHARACTERS]
    return found | {kind for kind, sign in _TOLD.items() if sign.search(words)}
