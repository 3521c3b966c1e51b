"""Chat templates run as strangers' code: Jinja's immutable sandbox, bounded in time, loops and length.

The environment follows transformers' (trim_blocks, lstrip_blocks, loop controls, `tojson` without escaping,
`raise_exception`, `strftime_now`, `{% generation %}`), so that a template renders the same text as there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import generate_lorem_ipsum
from jinja2.visitor import NodeTransformer

from engine.data import bounds
from engine.data.bounds import MAX_OUTPUT, Budget

__all__ = ["MAX_OUTPUT", "Environment", "Rewriter", "compile_template", "run", "run_blocks"]

MAX_SOURCE = 64 << 10
SPENT = (SecurityError, MemoryError, RecursionError)


class Environment(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, with what it computes and writes bounded."""

    intercepted_binops = frozenset(["*", "**", "+", "%"])
    concat = staticmethod(bounds.joined)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        bounds.check_sum(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        args = bounds.check_call(called, args, kwargs)
        if isinstance(called, LoopContext) and args:
            args = (bounds.counted(args[0]), *args[1:])
        return bounds.small(super().call(context, called, *args, **kwargs))


class Rewriter(NodeTransformer):
    """Rewrites what compiled code would do without asking the environment: loops, and `~`."""

    def __init__(self, environment: jinja2.Environment) -> None:
        self.environment = environment

    def filtered(self, node: nodes.Expr, name: str) -> nodes.Expr:
        """Return an expression with a filter behind it."""
        made = nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
        made.set_environment(self.environment)
        return made

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - jinja2's name
        """Let every turn be counted."""
        self.generic_visit(node)
        node.iter = self.filtered(cast("nodes.Expr", node.iter), "counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - jinja2's name
        """Write `~` as a sum of texts."""
        self.generic_visit(node)
        made, *rest = (self.filtered(n, "as_text") for n in node.nodes)
        for each in rest:
            made = nodes.Add(made, each, lineno=node.lineno)
            made.set_environment(self.environment)
        return made


class _Generation(Extension):
    """`{% generation %} ... {% endgeneration %}`: what stands in it is what the model is to write."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Any) -> str:
        text: str = caller()
        budget = bounds.BUDGET.get()
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


def _raise(message: str) -> None:
    raise TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    narrow = [indent if isinstance(indent, int) else len(indent or "")]
    narrow += [len(text) for text in separators or () if isinstance(text, str)]
    if max(narrow) > bounds.MAX_WORDS:
        raise bounds.Spent(bounds.TOO_LONG)
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _lipsum(n: int = 5, html: bool = True, min: int = 20, max: int = 100) -> str:
    if not all(0 <= number <= bounds.MAX_WORDS for number in (n, min, max)):
        raise bounds.Spent(bounds.TOO_LONG)
    return generate_lorem_ipsum(n, html, min, max)


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
    environment = kind(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, loopcontrols],
        finalize=bounds.written,
    )
    filters = {**environment.filters, "tojson": _tojson, "counted": bounds.counted, "as_text": bounds.as_text}
    environment.filters = {name: bounds.bounded_filter(name, each) for name, each in filters.items()}
    environment.globals.update(
        raise_exception=_raise,
        strftime_now=now,
        dict=_Dict(),
        namespace=Namespace,
        range=bounds.whole_range,
        lipsum=_lipsum,
    )
    return environment


ENVIRONMENT = make_environment()


def compile_template(source: str) -> jinja2.Template:
    """Return the compiled template; raises jinja2 errors, and SecurityError for one over 64 KiB."""
    if len(source) > MAX_SOURCE:
        raise SecurityError("it is longer than 64 KiB")
    with _budget():
        # What is constant is worked out here already.
        return ENVIRONMENT.from_string(Rewriter(ENVIRONMENT).visit(ENVIRONMENT.parse(source)))


@contextmanager
def _budget() -> Iterator[Budget]:
    budget = Budget()
    token = bounds.BUDGET.set(budget)
    try:
        yield budget
    finally:
        bounds.BUDGET.reset(token)


def run(template: jinja2.Template, values: dict[str, Any]) -> tuple[str, list[tuple[int, int]]]:
    """Return the text and the ranges inside `{% generation %}`; raises jinja2's errors."""
    with _budget() as budget:
        length = 0
        for block in template.generate(**values):
            length += len(block)
            bounds.bound(length)
            budget.step()
            budget.blocks.append(block)
        return "".join(budget.blocks), budget.trained


def run_blocks(template: jinja2.Template, values: dict[str, Any]) -> list[str]:
    """Return what a template writes piece by piece, within the same bounds of time and loops."""
    with _budget() as budget:
        for block in template.generate(**values):
            budget.step()
            budget.blocks.append(block)
        return budget.blocks
