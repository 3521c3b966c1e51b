"""A small part of Go's text/template, enough to run what is written into a Modelfile, and nothing more.

text {{ .Role }} {{ $x := "a" }} {{ $x = .Content }} {{ if eq .Role "user" "tool" }} ... {{ else if ... }}
{{ else }} ... {{ end }} {{ range $i, $m := .Messages }} ... {{ end }} {{ "literal" }}
functions: eq, ne, and, or, not. https://pkg.go.dev/text/template
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_ACTION = re.compile(r'\{\{((?:"(?:\\.|[^"\\])*"|[^{}"])*)\}\}')
_TOKEN = re.compile(
    r'\s*(?:(?P<text>"(?:\\.|[^"\\])*")|(?P<word>[A-Za-z_]\w*)|(?P<path>\$?[A-Za-z_\w]*(?:\.[A-Za-z_]\w*)+|\.)'
    r"|(?P<variable>\$\w*)|(?P<number>-?\d+)|(?P<mark>:=|=|\(|\)|,))"
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


class GoTemplateError(ValueError):
    """A template that is not of the part that is known here."""


@dataclass
class _Node:
    """An action with what stands inside it; `branches` are of if and range: (condition, nodes)."""

    kind: str
    tokens: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""
    branches: list[tuple[list[tuple[str, str]], list[_Node]]] = field(default_factory=list)


def literal(text: str) -> str:
    """Return a template that writes a text whatever stands in it, and that a Modelfile can hold."""
    safe = all(char.isprintable() or char in "\n\t" for char in text)
    if safe and "{" not in text and '"' not in text:
        return text
    return "{{ " + quoted(text) + " }}" if text else ""


def quoted(text: str) -> str:
    """Return a Go string of a text, every character escaped that is not plain."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char == "\n":
        return "\\n"
    if char.isprintable() and char not in '"\\{}':
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return what a template writes; raises GoTemplateError for what is not known here."""
    nodes, rest = _parse(_pieces(template), 0, top=True)
    scope: dict[str, Any] = {"$": dict(values)}
    out: list[str] = []
    _run(nodes[0], scope, scope["$"], out)
    assert rest is not None
    return "".join(out)


def messages_of(messages: Sequence[Mapping[str, str]], system: str | None) -> dict[str, Any]:
    """Return the values that Ollama gives a template: the Modelfile's SYSTEM stands in where none is said.

    Neighbours of one role become one message, as its `collate` makes them.
    """
    given = [dict(message) for message in messages]
    if system and not any(message["role"] == "system" for message in given[:1]):
        given.insert(0, {"role": "system", "content": system})
    joined: list[dict[str, str]] = []
    for message in given:
        if joined and joined[-1]["Role"] == message["role"] and message["role"] != "tool":
            joined[-1]["Content"] += "\n\n" + message["content"]
        else:
            joined.append({"Role": message["role"], "Content": message["content"]})
    said = "\n\n".join(message["content"] for message in given if message["role"] == "system")
    return {"Messages": joined, "System": said, "Prompt": "", "Response": ""}


def _pieces(template: str) -> list[_Node]:
    found, at = [], 0
    for match in _ACTION.finditer(template):
        found.append(_Node("text", text=template[at : match.start()]))
        found.append(_Node("action", _tokens(match.group(1))))
        at = match.end()
    found.append(_Node("text", text=template[at:]))
    if any("{{" in node.text for node in found):
        raise GoTemplateError("an action that is not known here")
    return found


def _tokens(source: str) -> list[tuple[str, str]]:
    found, at = [], 0
    source = source.strip()
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None or match.lastgroup is None:
            raise GoTemplateError(f"{source[at:]!r} is not known here")
        found.append((match.lastgroup, match.group(match.lastgroup)))
        at = match.end()
    return found


def _parse(pieces: list[_Node], at: int, *, top: bool = False) -> tuple[list[list[_Node]], int]:
    """Gather nodes up to the `end` or `else` that belongs to them."""
    nodes: list[_Node] = []
    while at < len(pieces):
        piece = pieces[at]
        at += 1
        head = piece.tokens[0][1] if piece.kind == "action" and piece.tokens else ""
        if piece.kind == "text" or head not in ("if", "range", "else", "end"):
            nodes.append(piece)
        elif head in ("else", "end"):
            if top:
                raise GoTemplateError(f"{head} without a beginning")
            return [nodes], at - 1
        else:
            node, at = _block(pieces, at, head, piece.tokens[1:])
            nodes.append(node)
    if not top:
        raise GoTemplateError("an end is missing")
    return [nodes], at


def _block(pieces: list[_Node], at: int, head: str, condition: list[tuple[str, str]]) -> tuple[_Node, int]:
    node = _Node(head)
    while True:
        inner, at = _parse(pieces, at)
        node.branches.append((condition, inner[0]))
        tokens = pieces[at].tokens
        at += 1
        if tokens[0][1] == "end":
            return node, at
        condition = tokens[2:] if len(tokens) > 1 else [("word", "true")]


def _run(nodes: list[_Node], scope: dict[str, Any], dot: Any, out: list[str]) -> None:
    for node in nodes:
        if node.kind == "text":
            out.append(node.text)
        elif node.kind == "if":
            for condition, inner in node.branches:
                if _value(condition, scope, dot):
                    _run(inner, _Inner(scope), dot, out)
                    break
        elif node.kind == "range":
            _range(node, scope, dot, out)
        else:
            _act(node.tokens, scope, dot, out)


class _Inner(dict[str, Any]):
    """The variables of a block: new ones end with it, a change of an outer one stays."""

    def __init__(self, outer: dict[str, Any]) -> None:
        super().__init__()
        self.outer = outer

    def __missing__(self, name: str) -> Any:
        return self.outer[name]

    def change(self, name: str, value: Any) -> None:
        """Set a variable where it was made."""
        if name in self:
            self[name] = value
        else:
            _change(self.outer, name, value)


def _change(scope: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(scope, _Inner):
        scope.change(name, value)
    elif name in scope:
        scope[name] = value
    else:
        raise GoTemplateError(f"{name} was never made")


def _range(node: _Node, scope: dict[str, Any], dot: Any, out: list[str]) -> None:
    tokens = node.branches[0][0]
    names: list[str] = []
    if ("mark", ":=") in tokens:
        cut = tokens.index(("mark", ":="))
        names = [text for kind, text in tokens[:cut] if kind == "variable"]
        tokens = tokens[cut + 1 :]
    for number, item in enumerate(_value(tokens, scope, dot)):
        inner = _Inner(scope)
        if names:
            inner[names[-1]] = item
            if len(names) == 2:
                inner[names[0]] = number
        _run(node.branches[0][1], inner, item, out)


def _act(tokens: list[tuple[str, str]], scope: dict[str, Any], dot: Any, out: list[str]) -> None:
    if len(tokens) > 2 and tokens[0][0] == "variable" and tokens[1][0] == "mark":
        value = _value(tokens[2:], scope, dot)
        if tokens[1][1] == ":=":
            scope[tokens[0][1]] = value
        else:
            _change(scope, tokens[0][1], value)
        return
    out.append(str(_value(tokens, scope, dot)))


def _value(tokens: list[tuple[str, str]], scope: dict[str, Any], dot: Any) -> Any:
    arguments, at = [], 0
    name = tokens[0][1] if tokens and tokens[0][0] == "word" else ""
    called = name in ("eq", "ne", "and", "or", "not")
    at = 1 if called else 0
    while at < len(tokens):
        kind, text = tokens[at]
        if (kind, text) == ("mark", "("):
            depth, end = 1, at + 1
            while depth:
                depth += {"(": 1, ")": -1}.get(tokens[end][1], 0) if tokens[end][0] == "mark" else 0
                end += 1
            arguments.append(_value(tokens[at + 1 : end - 1], scope, dot))
            at = end
            continue
        arguments.append(_single(kind, text, scope, dot))
        at += 1
    if called:
        return _call(name, arguments)
    if len(arguments) != 1:
        raise GoTemplateError("one value is wanted")
    return arguments[0]


def _call(name: str, arguments: list[Any]) -> Any:
    if name == "eq":
        return arguments[0] in arguments[1:]
    if name == "ne":
        return arguments[0] != arguments[1]
    if name == "not":
        return not arguments[0]
    wanted = name == "or"
    return next((a for a in arguments if bool(a) is wanted), arguments[-1])


def _single(kind: str, text: str, scope: dict[str, Any], dot: Any) -> Any:
    if kind == "text":
        return _unescaped(text[1:-1])
    if kind == "number":
        return int(text)
    if kind == "word" and text in ("true", "false"):
        return text == "true"
    if kind == "variable":
        return scope[text]
    if kind == "path":
        start, *names = text.split(".")
        value = scope[start] if start else dot
        for name in names:
            value = value[name] if name else value
        return value
    raise GoTemplateError(f"{text} is not known here")


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        found = match.group(1)
        return chr(int(found[1:], 16)) if found[0] in "uUx" else _ESCAPES[found]

    return re.sub(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)", one, text)
