"""Texts that stand for any text: a template run with them shows where it writes the words and nothing else.

A `StandIn` can be put together with other texts, stripped and written. A question about it ("is it empty?",
"does it hold </think>?") gets the usual answer, which is noted as a condition; everything else ends the run
with `Untold`. So a run that ends well holds for every conversation whose words fulfil its conditions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.runtime import Context, Macro, Undefined

from engine.data import bounds, sandbox

# How much of the blanks around the words a template takes away.
WHOLE, LEFT, RIGHT, BOTH = range(4)
MOST_PARTS = 100_000
TRIM: tuple[Callable[[str], str], ...] = (str, str.lstrip, str.rstrip, str.strip)


class Untold(BaseException):
    """The template looked into the words: no Exception, so that nothing on its way swallows it."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of message `index`, trimmed as `trim` says."""

    index: int
    trim: int = WHOLE


Part = str | Words
# (question, words, argument): see `holds`.
Condition = tuple[str, Words, str]


@dataclass
class Notes:
    """What one run took for granted: answers about the words, and what the clock said."""

    conditions: dict[Condition, None] = field(default_factory=dict)
    clock: dict[str, str] = field(default_factory=dict)


def holds(condition: Condition, contents: list[str]) -> bool:
    """Say whether the words of a conversation fulfil a condition."""
    question, words, other = condition
    value = TRIM[words.trim](contents[words.index])
    if question == "full":
        return bool(value)
    if question == "lacks":
        return other not in value
    if question == "starts":
        return not value.startswith(other)
    if question == "ends":
        return not value.endswith(other)
    return value != other


class StandIn(str):
    """Some words between constant texts; never looked at, only moved."""

    parts: tuple[Part, ...]
    notes: Notes

    def __new__(cls, parts: Iterable[Part], notes: Notes) -> StandIn:
        made = super().__new__(cls, "")
        parts = tuple(parts)
        if len(parts) > MOST_PARTS or sum(len(p) for p in parts if isinstance(p, str)) > sandbox.MAX_OUTPUT:
            raise Untold("long")
        made.parts, made.notes = tuple(p for p in parts if p != ""), notes
        return made

    def _ask(self, question: str, other: Any = "") -> None:
        """Note the usual answer to a question about bare words; anything else cannot be told."""
        if len(self.parts) != 1 or not isinstance(self.parts[0], Words) or type(other) is not str:
            raise Untold(question)
        if not other and question in ("lacks", "starts", "ends"):
            raise Untold(question)
        self.notes.conditions[question, self.parts[0], other] = None

    def __str__(self) -> str:
        return self

    def __add__(self, other: str) -> StandIn:
        return StandIn((*self.parts, *_parts(other)), self.notes)

    def __radd__(self, other: str) -> StandIn:
        return StandIn((*_parts(other), *self.parts), self.notes)

    def __bool__(self) -> bool:
        if not any(isinstance(p, str) for p in self.parts):
            self._ask("full")
        return True

    def __contains__(self, other: object) -> bool:
        self._ask("lacks", other)
        return False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return False
        self._ask("differs", other)
        return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def startswith(self, *others: Any) -> bool:
        self._ask("starts", *others)
        return False

    def endswith(self, *others: Any) -> bool:
        self._ask("ends", *others)
        return False

    def lstrip(self, chars: Any = None) -> StandIn:
        return self._trimmed(LEFT, chars)

    def rstrip(self, chars: Any = None) -> StandIn:
        return self._trimmed(RIGHT, chars)

    def strip(self, chars: Any = None) -> StandIn:
        return self._trimmed(LEFT, chars)._trimmed(RIGHT, chars)

    def _trimmed(self, side: int, chars: Any) -> StandIn:
        if chars is not None or not self.parts:
            raise Untold("strip")
        end = 0 if side == LEFT else -1
        parts = list(self.parts)
        part = parts[end]
        if isinstance(part, Words):
            parts[end] = Words(part.index, part.trim | side)
            if len(parts) > 1:
                # Blank words would let the blanks of their neighbour be taken away too.
                StandIn([Words(part.index, BOTH)], self.notes)._ask("full")
        else:
            parts[end] = TRIM[side](part)
            if not parts[end]:
                raise Untold("strip")
        return StandIn(parts, self.notes)

    def _untold(self, *_: Any, **__: Any) -> NoReturn:
        raise Untold("the template looks into the words")

    __len__ = __iter__ = __getitem__ = __hash__ = __repr__ = __format__ = _untold
    __lt__ = __le__ = __gt__ = __ge__ = __int__ = __float__ = _untold
    __mod__ = __rmod__ = __mul__ = __rmul__ = _untold


def _parts(text: Any) -> tuple[Part, ...]:
    if isinstance(text, StandIn):
        return text.parts
    if type(text) is not str:
        raise TypeError("text expected")
    return (text,)


def merged(blocks: Iterable[str]) -> tuple[Part, ...]:
    """Return written blocks as parts, constant texts beside each other put together."""
    parts: list[Part] = []
    for part in (p for block in blocks for p in _parts(block)):
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] += part
        elif part != "":
            parts.append(part)
    return tuple(parts)


def _plain(value: Any) -> bool:
    """Say whether no stand-in can be inside a value; what is not known counts as holding one."""
    waiting, seen = [value], 0
    while waiting:
        each = waiting.pop()
        if each is None or type(each) in (str, int, float, bool) or isinstance(each, Undefined):
            continue
        if isinstance(each, dict):
            waiting.extend(each)
            waiting.extend(each.values())
        elif isinstance(each, list | tuple):
            waiting.extend(each)
        else:
            return False
        seen += 1
        if seen > MOST_PARTS or len(waiting) > MOST_PARTS:  # one list may hold another many times
            return False
    return True


# Filters that only move texts about, or ask with Python's operators what a stand-in answers itself.
_MOVING = frozenset(
    "trim string as_text counted length count first last list reverse default d selectattr rejectattr".split()
)
# Tests that are answered by the kind of a value alone.
_KIND_TESTS = frozenset(
    "string defined undefined none mapping number integer float boolean sequence iterable callable".split()
)
_EQUAL_TESTS = {"eq", "equalto", "==", "ne", "!="}
_METHODS = {"strip", "lstrip", "rstrip", "startswith", "endswith"}


def _guarded_filter(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
    skipped = int(hasattr(made, "jinja_pass_arg"))

    @wraps(made)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if name not in _MOVING and not (_plain(args[skipped:]) and _plain(kwargs)):
            raise Untold(f"filter {name}")
        return made(*args, **kwargs)

    return guarded


def _guarded_test(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
    skipped = int(hasattr(made, "jinja_pass_arg"))

    @wraps(made)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if name in _KIND_TESTS:
            args = tuple("x" if isinstance(a, StandIn) else a for a in args)
        elif name not in _EQUAL_TESTS and not (_plain(args[skipped:]) and _plain(kwargs)):
            raise Untold(f"test {name}")
        return made(*args, **kwargs)

    return guarded


def _known(value: Any) -> Any:
    """Stand before `in`: Python itself would look into words on its left side."""
    if isinstance(value, StandIn):
        raise Untold("in")
    return value


def _joined(blocks: Iterable[str]) -> str:
    kept = list(blocks)
    notes = next((b.notes for b in kept if isinstance(b, StandIn)), None)
    return bounds.joined(kept) if notes is None else StandIn(merged(kept), notes)


class _Rewriter(sandbox.Rewriter):
    """Rewrite what the compiled code would do without asking the environment: loops, `~` and `in`."""

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 - jinja2's name
        self.generic_visit(node)
        if any(o.op in ("in", "notin") for o in node.ops):
            if len(node.ops) > 1:
                raise Untold("in")
            node.expr = self.filtered(node.expr, "known")
        return node


class _Environment(sandbox.Environment):
    concat = staticmethod(_joined)

    def call_binop(self, context: Context, operator_: str, left: Any, right: Any) -> Any:
        if operator_ == "+":
            if not (isinstance(left, StandIn) or isinstance(right, StandIn)):
                bounds.check_sum(operator_, left, right)
            return operator.add(left, right)
        if not (_plain(left) and _plain(right)):
            raise Untold(operator_)
        return super().call_binop(context, operator_, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, StandIn) and attribute not in _METHODS:
            raise Untold(attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(argument, StandIn) or isinstance(obj, StandIn):
            raise Untold("item")
        return super().getitem(obj, argument)

    def call(self, context: Context, called: Any, *args: Any, **kwargs: Any) -> Any:
        moving = isinstance(called, Macro) or called is sandbox.Namespace
        given = [v for name, v in kwargs.items() if name not in ("_loop_vars", "_block_vars")]
        if not moving and not (_plain(args) and _plain(given)):
            raise Untold("call")
        return super().call(context, called, *args, **kwargs)


def _make(notes: Notes) -> jinja2.Environment:
    made = sandbox.make_environment(_Environment)
    made.filters = {name: _guarded_filter(name, f) for name, f in made.filters.items()}
    made.filters["known"] = _known
    tests: Any = made.tests
    made.tests = {name: _guarded_test(name, f) for name, f in tests.items()}

    def now(form: str) -> str:
        notes.clock[form] = sandbox.now(form)
        return notes.clock[form]

    made.globals["strftime_now"] = now
    return made


class SymbolicTemplate:
    """A template compiled to be run with stand-ins; Untold or jinja2's errors when it cannot be."""

    def __init__(self, source: str) -> None:
        self._notes = Notes()
        environment = _make(self._notes)
        tree = _Rewriter(environment).visit(environment.parse(source))
        self._compiled = environment.from_string(tree)

    def run(self, roles: tuple[str, ...], values: dict[str, Any]) -> tuple[tuple[Part, ...], Notes]:
        """Return what a conversation of these roles is written as, and what that takes for granted."""
        notes = self._notes
        notes.conditions, notes.clock = {}, {}
        messages = [{"role": role, "content": StandIn([Words(i)], notes)} for i, role in enumerate(roles)]
        blocks = sandbox.run_blocks(self._compiled, {**values, "messages": messages})
        return merged(blocks), Notes(notes.conditions, notes.clock)
