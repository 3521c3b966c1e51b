"""What a chat template may use while it is rendered: steps, processor time, length of text, size of numbers.

Jinja's sandbox keeps a template from our objects, not from filling memory or never ending. Every loop, call,
filter, sum and capture passes here, so that one rendering stays within a second and a mebibyte.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import wraps
from itertools import islice
from typing import Any

from jinja2.exceptions import SecurityError

MAX_OUTPUT = 1 << 20
MAX_SECONDS = 1.0
MAX_STEPS = 1_000_000
MAX_BITS = 1 << 16  # of a whole number
MAX_WORDS = 100  # of lorem ipsum and the like
LOOK_EVERY = 256
TOO_LONG = "it makes more than 1 MiB of text"
_WIDE = re.compile(r"\d{6,}")
_NESTED = re.compile(r":[^{}]*\{")
# Filters that hand their value on, or look into it, without writing it out.
_STRUCTURAL = frozenset(
    "length count first last list reverse default d select reject selectattr rejectattr map sort unique "
    "groupby dictsort items min max sum random attr counted batch slice".split()
)
# Filters that cannot make anything longer; `counted` counts by itself.
_FREE = frozenset("counted as_text length count first last default d".split())
# What takes a width or a number of times.
_WIDTHS = frozenset(
    "center indent batch slice wordwrap truncate ljust rjust zfill expandtabs to_bytes".split()
)
_WRITERS = frozenset("urlize wordwrap xmlattr translate indent".split())


class Spent(SecurityError):
    """A rendering has used up what it may."""


class Budget:
    """What one rendering may still use."""

    def __init__(self) -> None:
        self.until = time.thread_time() + MAX_SECONDS
        self.steps = MAX_STEPS
        self.blocks: list[str] = []
        self.trained: list[tuple[int, int]] = []

    def step(self) -> None:
        """Count one turn of a loop, or one call."""
        self.steps -= 1
        if self.steps % LOOK_EVERY == 0:
            self.check()
        if self.steps < 0:
            raise Spent("it loops too often")

    def check(self, length: int = 0) -> None:
        """Refuse a text that grew too long, and a rendering that takes too long (time of this thread)."""
        if length > MAX_OUTPUT:
            raise Spent(TOO_LONG)
        if time.thread_time() > self.until:
            raise Spent(f"it takes more than {MAX_SECONDS:.0f} s of processor time")


BUDGET: ContextVar[Budget | None] = ContextVar("budget", default=None)


def step() -> None:
    """Count one step of the rendering that is going on."""
    budget = BUDGET.get()
    if budget is not None:
        budget.step()


def bound(length: int) -> None:
    """Refuse what would be longer than a whole rendering may be."""
    if length > MAX_OUTPUT:
        raise Spent(TOO_LONG)


def counted(values: Iterable[Any]) -> Iterator[Any]:
    """Yield values, each of them a step."""
    budget = BUDGET.get()
    if budget is None:
        yield from values
        return
    for value in values:
        budget.step()
        yield value


def whole_range(*limits: int) -> range:
    """Return `range(...)` unless it is longer than a rendering may loop."""
    made = range(*limits)
    if len(made) > MAX_STEPS:
        raise Spent("it loops too often")
    return made


def weigh(value: Any) -> int:
    """Return about how many characters a value is written with; raises Spent above a mebibyte."""
    total, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str | bytes):
            total += len(each)
        elif isinstance(each, dict):
            total += len(each)
            waiting.extend(each)
            waiting.extend(each.values())
        elif isinstance(each, list | tuple | set | frozenset):
            total += len(each)
            waiting.extend(each)
        else:
            total += 1
        bound(total)
    return total


def written(value: Any) -> Any:
    """Stand before a value is written out: a list may hold one long text many times."""
    if isinstance(value, list | tuple | dict | set | frozenset):
        weigh(value)
    return value


def joined(blocks: Iterable[str]) -> str:
    """Return captured blocks as one text."""
    kept, length = [], 0
    for block in blocks:
        length += len(block)
        bound(length)
        kept.append(block)
    return "".join(kept)


def check_sum(operator: str, left: Any, right: Any) -> None:
    """Refuse a sum, product or power that would be too long or too large."""
    if operator == "+":
        if isinstance(left, str | list | tuple) and type(left) is type(right):
            bound(len(left) + len(right))
    elif operator == "%":
        if isinstance(left, str):
            check_form(left, left.count("%"), right, "*" in left)
    elif operator in ("*", "**"):
        _check_product(operator, left, right)


def _check_product(operator: str, left: Any, right: Any) -> None:
    size = max(len(v) if isinstance(v, str | bytes | list | tuple) else 0 for v in (left, right))
    times = max(abs(v) if isinstance(v, int) else 0 for v in (left, right))
    bound(size * times)
    if isinstance(left, int) and isinstance(right, int):
        first, second = left.bit_length(), right.bit_length()
        bits = first * min(abs(right), MAX_BITS) if operator == "**" else first + second
        if bits > MAX_BITS:
            raise Spent("its numbers grow without end")


def check_form(form: str, places: int, values: Any, by_value: bool) -> None:
    """Refuse a form (`%`, `format`) with great widths or with long values written many times."""
    if _WIDE.search(form):
        raise Spent(TOO_LONG)
    if by_value and any(isinstance(v, int) and abs(v) > MAX_OUTPUT for v in _flat(values)):
        raise Spent(TOO_LONG)
    bound(len(form) + places * max((weigh(v) for v in _flat(values)), default=0))


def _flat(values: Any) -> list[Any]:
    if isinstance(values, dict):
        return list(values.values())
    return list(values) if isinstance(values, tuple | list) else [values]


def check_call(called: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """Refuse a method of a text that would make it too long; returns the arguments to call it with."""
    step()
    method = getattr(called, "__wrapped__", called)
    owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
    if name in _WIDTHS:
        _check_widths(arguments, named)
    if not isinstance(owner, str | bytes):
        return arguments
    # The compiled code hands its variables along under these names; they are no arguments.
    given = (*arguments, *(v for n, v in named.items() if n not in ("_loop_vars", "_block_vars")))
    if name == "join" and arguments:
        return (_parts(arguments[0], len(owner)), *arguments[1:])
    if name == "replace" and len(given) > 1:
        _check_replace(owner, given[0], given[1])
    elif name in ("format", "format_map"):
        places = str(owner).count("{")
        values = given if name == "format" else _flat(given[0]) if given else ()
        check_form(str(owner), places, tuple(values), bool(_NESTED.search(str(owner))))
    elif name == "translate" and given:
        bound(len(owner) * max((weigh(v) for v in _flat(given[0])), default=0))
    elif name == "expandtabs":
        width = next((v for v in given if isinstance(v, int)), 8)
        bound(len(owner) * max(1, width))
    return arguments


def _check_widths(arguments: Iterable[Any], named: dict[str, Any]) -> None:
    if any(isinstance(v, int) and abs(v) > MAX_OUTPUT for v in (*arguments, *named.values())):
        raise Spent(TOO_LONG)


def _check_replace(text: Any, old: Any, new: Any) -> None:
    if type(text) is type(old) is type(new):
        bound(len(text) + text.count(old) * len(new))


def _parts(values: Any, between: int) -> list[Any]:
    """Return what is to be joined as a list that is not too long when it is."""
    kept = list(islice(counted(values), MAX_OUTPUT))
    bound(weigh(kept) + between * len(kept))
    return kept


def bounded_filter(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that refuses to write more than a rendering may."""
    if name in _FREE:
        return made
    skipped = int(hasattr(made, "jinja_pass_arg"))

    @wraps(made)
    def bounded(*arguments: Any, **named: Any) -> Any:
        step()
        first, rest = arguments[: skipped + 1], arguments[skipped + 1 :]
        value = first[-1] if len(first) > skipped else None
        if name in _WIDTHS:
            _check_widths(rest, named)
        given = (*rest, *named.values())
        if name == "join":
            between = len(given[0]) if given and isinstance(given[0], str) else 0
            first = (*first[:-1], _parts(value, between))
        elif name == "replace" and len(given) > 1:
            _check_replace(str(written(value)), str(given[0]), str(given[1]))
        elif name == "format" and isinstance(value, str):
            check_form(value, value.count("%"), (*rest, *named.values()), "*" in value)
        elif name in _WRITERS and isinstance(value, str):
            longest = max((len(v) for v in given if isinstance(v, str)), default=1)
            bound(len(value) * max(1, longest))
        elif name == "batch" or name == "slice":
            bound(max((v for v in given if isinstance(v, int)), default=0) * 8)
        elif name not in _STRUCTURAL:
            written(value)
        return small(made(*first, *rest, **named))

    return bounded


def as_text(value: Any) -> str:
    """Return what `~` writes of a value."""
    return value if type(value) is str else str(written(value))


def small(value: Any) -> Any:
    """Return a value unless it is a text, or a list, that is too long."""
    if type(value) in (str, bytes, list, tuple):
        bound(len(value))
    return value
