"""What a model should still be able to do afterwards, and who says so: its makers, the recipe, its scores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine import plain_yaml
from engine.data.practice import ARITHMETIC, CODE, CONVERSATION, TOOLS
from engine.errors import EngineError
from engine.models.facts import ModelFacts
from engine.recipe.recipe import Recipe

MAX_CARD_BYTES = 64 << 10
CARD_DEPTH = 24  # tables of results lie deep in the heads of cards
# Words of a model's name and tags of its card; what a card says beside them is not read.
_IN_NAMES = (
    (CONVERSATION, re.compile(r"instruct|chat|assistant|[-_]it\b|^starter$", re.IGNORECASE)),
    (CODE, re.compile(r"code", re.IGNORECASE)),
    (ARITHMETIC, re.compile(r"math", re.IGNORECASE)),
)
_TAGS = {
    "conversational": CONVERSATION,
    "chat": CONVERSATION,
    "code": CODE,
    "coding": CODE,
    "math": ARITHMETIC,
    "mathematics": ARITHMETIC,
    "function-calling": TOOLS,
    "tool-use": TOOLS,
}
_BENCHMARKS = (
    (ARITHMETIC, re.compile(r"arithmetic|gsm|math|mgsm", re.IGNORECASE)),
    (CODE, re.compile(r"humaneval|mbpp|code", re.IGNORECASE)),
    (CONVERSATION, re.compile(r"ifeval|mt.?bench|alpaca.?eval", re.IGNORECASE)),
    (TOOLS, re.compile(r"bfcl|function.?call", re.IGNORECASE)),
)


@dataclass(frozen=True)
class Fall:
    """A benchmark on which an earlier adapter of the same base did worse than the base, for sure."""

    benchmark: str
    before: float
    after: float


def wanted_skills(recipe: Recipe, facts: ModelFacts | None, falls: Sequence[Fall]) -> dict[str, str]:
    """Return the skills to be kept, each with the reason; of several the one that was measured."""
    found: dict[str, str] = {}
    for fall in falls:
        reason = f"{fall.benchmark} fell from {fall.before:.2f} to {fall.after:.2f} before"
        found |= {skill: reason for skill in skills_in(fall.benchmark) if skill not in found}
    for benchmark in recipe.evaluation.benchmarks:
        found |= {skill: f"{benchmark} measures it" for skill in skills_in(benchmark) if skill not in found}
    if facts is not None:
        for skill in purposes(recipe.model.path, facts):
            found.setdefault(skill, "The base is made for it")
    return found


def skills_in(benchmark: str) -> list[str]:
    """Return the skills that a benchmark measures, of those that can be told in rows."""
    return [skill for skill, sign in _BENCHMARKS if sign.search(benchmark)]


def purposes(path: str, facts: ModelFacts) -> list[str]:
    """Return what a model is made for, by its name and the tags of its card.

    A conversation needs a chat template too: plain bases are named after their families.
    """
    names = (facts.name, Path(path).name, facts.path.name)
    found = [skill for skill, sign in _IN_NAMES if any(sign.search(name) for name in names)]
    found += [_TAGS[tag] for tag in _tags(facts.path / "README.md") if tag in _TAGS]
    return [skill for skill in dict.fromkeys(found) if skill != CONVERSATION or facts.chat_template]


def _tags(card: Path) -> tuple[str, ...]:
    try:
        stat = card.stat()
    except OSError:
        return ()
    return _tags_of(str(card), stat.st_mtime_ns)


@lru_cache(maxsize=16)
def _tags_of(card: str, changed: int) -> tuple[str, ...]:
    """Return the tags in the head of a model card, as plain words; none where it cannot be read."""
    try:
        with open(card, "rb") as file:
            text = file.read(MAX_CARD_BYTES).decode("utf-8", "replace")
    except OSError:
        return ()
    parts = text.split("---", 2)
    if len(parts) < 3 or parts[0].strip():
        return ()
    try:
        head, _ = plain_yaml.read(parts[1], depth=CARD_DEPTH)
    except EngineError:
        return ()
    tags = head.get("tags") if isinstance(head, dict) else None
    return tuple(_words(tags if isinstance(tags, list) else []))


def _words(tags: Iterable[Any]) -> Iterable[str]:
    return (tag.strip().lower() for tag in tags if isinstance(tag, str) and len(tag) <= 40)
