"""Chat templates run as strangers' code: Jinja's immutable sandbox, bounded in time, loops and length.

The environment follows transformers' (trim_blocks, lstrip_blocks, loop controls, `tojson` without escaping,
`raise_exception`, `strftime_now`, `{% generation %}`), so that a template renders the same text as there.
"""

from __future__ import annotations

import json
import time
from contextvars import ContextVar
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_SOURCE = 64 << 10
MAX_OUTPUT = 1 << 20
MAX_SECONDS = 2.0
MAX_LOOPS = 100_000


class Budget:
    """What one rendering may still use; raises SecurityError when it is spent."""

    def __init__(self) -> None:
        self.until = time.monotonic() + MAX_SECONDS
        self.loops = MAX_LOOPS
        self.blocks: list[str] = []
        self.trained: list[tuple[int, int]] = []

    def check(self, length: int = 0) -> None:
        """Refuse a text that grew too long, and a rendering that takes too long."""
        if length > MAX_OUTPUT:
            raise SecurityError("it makes more than 1 MiB of text")
        if time.monotonic() > self.until:
            raise SecurityError(f"it takes more than {MAX_SECONDS:.0f} s")


_BUDGET: ContextVar[Budget | None] = ContextVar("budget", default=None)


def _spend(length: int = 0) -> None:
    budget = _BUDGET.get()
    if budget is not None:
        budget.check(length)


class Environment(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, with sums and products bounded."""

    intercepted_binops = frozenset(["*", "**", "+", "%"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator in "**":
            size = max(len(v) if isinstance(v, str | list | tuple) else 0 for v in (left, right))
            times = max(abs(v) if isinstance(v, int) else 0 for v in (left, right))
            if size * times > MAX_OUTPUT or operator == "**" and times > 64:
                raise SecurityError("it makes more than 1 MiB of text")
        elif operator == "+" and isinstance(left, str):
            _spend(len(left))
        return super().call_binop(context, operator, left, right)


class _Generation(Extension):
    """`{% generation %} ... {% endgeneration %}`: what stands in it is what the model is to write."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Any) -> str:
        text: str = caller()
        budget = _BUDGET.get()
        if budget is not None:
            start = sum(len(block) for block in budget.blocks)
            budget.trained.append((start, start + len(text)))
        return text


class _Dict:
    """`dict(...)` without the attributes of the class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[str, Any]:
        return dict.fromkeys(*args)


class Namespace(jinja2.utils.Namespace):
    """A namespace that takes no name with an underscore in front."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # noqa: N805 - `namespace(self=...)` is allowed
        self, rest = args[0], args[1:]
        values = dict(*rest, **kwargs)
        for name in values:
            _check_name(name)
        jinja2.utils.Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"it stores the hidden name {name}")


def _range(*bounds: int) -> range:
    made = range(*bounds)
    budget = _BUDGET.get()
    if budget is not None:
        budget.loops -= len(made)
        if budget.loops < 0:
            raise SecurityError("it loops too often")
        budget.check()
    return made


def _raise(message: str) -> None:
    raise TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


_stopped_at: datetime | None = None


def stop_clock(seconds: float | None) -> None:
    """Let every template see the time `seconds` (Unix) from now on; None lets the clock go again."""
    global _stopped_at
    _stopped_at = None if seconds is None else datetime.fromtimestamp(seconds)


def now(form: str) -> str:
    """Return the time as a template sees it."""
    return (_stopped_at or datetime.now()).strftime(form)


def make_environment(kind: type[Environment] = Environment) -> Environment:
    """Return an environment with what chat templates may call."""
    environment = kind(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals.update(
        raise_exception=_raise, strftime_now=now, dict=_Dict(), namespace=Namespace, range=_range
    )
    return environment


ENVIRONMENT = make_environment()


def compile_template(source: str) -> jinja2.Template:
    """Return the compiled template; raises jinja2 errors, and SecurityError for one over 64 KiB."""
    if len(source) > MAX_SOURCE:
        raise SecurityError("it is longer than 64 KiB")
    return ENVIRONMENT.from_string(source)


def run(template: jinja2.Template, values: dict[str, Any]) -> tuple[str, list[tuple[int, int]]]:
    """Return the text and the ranges inside `{% generation %}`; raises jinja2's errors."""
    budget = Budget()
    token = _BUDGET.set(budget)
    try:
        length = 0
        for block in template.generate(**values):
            length += len(block)
            budget.check(length)
            budget.blocks.append(block)
        return "".join(budget.blocks), budget.trained
    finally:
        _BUDGET.reset(token)


def run_blocks(template: jinja2.Template, values: dict[str, Any]) -> list[str]:
    """Return what a template writes piece by piece, within the same bounds of time and loops."""
    budget = Budget()
    token = _BUDGET.set(budget)
    try:
        for block in template.generate(**values):
            budget.check()
            budget.blocks.append(block)
        return budget.blocks
    finally:
        _BUDGET.reset(token)
