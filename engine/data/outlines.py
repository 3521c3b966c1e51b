"""What a chat template writes for a shape of conversation, learnt once and then put together without Jinja.

The shape is the row of roles. Rows with anything but words (tools, names, thoughts) and templates that look
into the words are rendered as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import SecurityError, TemplateError

from engine.data import sandbox
from engine.data.stand_ins import TRIM, Condition, Part, SymbolicTemplate, Untold, Words, holds
from engine.data.templates import ChatTemplate

MAX_MESSAGES = 64
MAX_SHAPES = 2048
# After so many shapes in a row that could not be learnt, no more are tried.
MAX_FAILURES = 8
_ERRORS = (
    TemplateError,
    SecurityError,
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    IndexError,
    ArithmeticError,
    RecursionError,
    NotImplementedError,
)
Roles = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """Constant texts and words in the order in which the template writes them, where `conditions` hold."""

    parts: tuple[Part, ...]
    conditions: tuple[Condition, ...]

    def text(self, contents: list[str]) -> str | None:
        """Return the rendering of these contents; None where it has to be rendered."""
        for condition in self.conditions:
            if not holds(condition, contents):
                return None
        made = [p if isinstance(p, str) else TRIM[p.trim](contents[p.index]) for p in self.parts]
        text = "".join(made)
        return text if len(text) <= sandbox.MAX_OUTPUT // 2 else None


def begins(whole: Outline, start: Outline) -> bool:
    """Say whether one outline begins with another for whatever words."""
    if len(start.parts) > len(whole.parts):
        return False
    if not start.parts:
        return True
    *full, last = start.parts
    if tuple(full) != whole.parts[: len(full)]:
        return False
    there = whole.parts[len(full)]
    if isinstance(last, str):
        return isinstance(there, str) and there.startswith(last)
    return there == last


class Outlines(ChatTemplate):
    """A chat template that renders the same texts faster. For one thread, and one pass over the rows."""

    def __init__(self, template: ChatTemplate) -> None:
        self.__dict__.update(template.__dict__)
        self._template = template
        self._known: dict[tuple[Roles, bool], Outline | None] = {}
        self._failures = 0
        self._clock: dict[str, str] = {}
        self._symbolic: SymbolicTemplate | None = None
        if not template.has_generation:
            try:
                self._symbolic = SymbolicTemplate(template.source)
            except (*_ERRORS, Untold):
                self._symbolic = None

    def is_current(self) -> bool:
        """Say whether the clock still says what was learnt; forget everything where it does not."""
        if all(sandbox.now(form) == said for form, said in self._clock.items()):
            return True
        self._known.clear()
        self._clock.clear()
        return False

    def outline(self, roles: Roles, prompt: bool = False) -> Outline | None:
        """Return the outline of a shape; None where it depends on the words."""
        key = (roles, prompt)
        if key not in self._known:
            if len(roles) > MAX_MESSAGES or len(self._known) >= MAX_SHAPES or self._failures >= MAX_FAILURES:
                return None
            self._known[key] = made = self._learn(roles, prompt)
            self._failures = 0 if made else self._failures + 1
        return self._known[key]

    def _learn(self, roles: Roles, prompt: bool) -> Outline | None:
        if self._symbolic is None:
            return None
        values = {**self.tokens, "tools": None, "documents": None, "add_generation_prompt": prompt}
        try:
            parts, notes = self._symbolic.run(roles, values)
        except (*_ERRORS, Untold):
            return None
        self._clock.update(notes.clock)
        return Outline(parts, tuple(notes.conditions))

    def render_marked(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = False,
    ) -> tuple[str, list[tuple[int, int]]]:
        """Return what the template renders, put together where that is known to be the same."""
        shaped = None if tools else shape_of(messages)
        if shaped is not None:
            outline = self.outline(shaped[0], add_generation_prompt)
            text = outline.text(shaped[1]) if outline is not None else None
            if text is not None:
                return text, []
        return self._template.render_marked(messages, tools, add_generation_prompt)


def shape_of(messages: Sequence[dict[str, Any]]) -> tuple[Roles, list[str]] | None:
    """Return the roles and the words of messages that have nothing else."""
    contents: list[str] = []
    for message in messages:
        words = message.get("content")
        if len(message) != 2 or type(words) is not str:
            return None
        contents.append(words)
    try:
        return tuple([m["role"] for m in messages]), contents
    except KeyError:
        return None


def position(outline: Outline) -> tuple[int, int]:
    """Return where an outline ends: after so many words, and so many constant characters."""
    words = sum(isinstance(p, Words) for p in outline.parts)
    return words, sum(len(p) for p in outline.parts if isinstance(p, str))
