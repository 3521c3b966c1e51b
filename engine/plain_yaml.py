"""YAML as plain values, the only reader of it beside that of training data.

No tags, anchors, aliases or merges; no key twice, no second document; bounded in size and depth. `1e-4` is a
number, `no` is text, and dates stay text. It is read as a stream of events, so that neither nesting nor an
alias can make it grow or run out of stack.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from engine.errors import EngineError
from engine.paths import show_name

MAX_BYTES = 256 * 1024
MAX_DEPTH = 8
_NULL = re.compile(r"(?:~|null|Null|NULL|)$")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_WHOLE = re.compile(r"[-+]?[0-9][0-9_]*$")
_HEX = re.compile(r"[-+]?0x[0-9a-fA-F]+$")
_DECIMAL = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?)$")
_POWER = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Names of files that are no UTF-8 are written so; the parser in C does not take them.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_BREAKS = re.compile("[\r\x85\u2028\u2029]")
MOST_DIGITS = 4_000


@dataclass
class _Open:
    """A mapping or a list that is not closed yet."""

    value: dict[str, Any] | list[Any]
    path: str
    key: str | None = None


@dataclass
class _Reader:
    """Builds the values of one text; `what` names it in messages."""

    what: str
    file: str | None
    depth: int
    lines: dict[str, int] = field(default_factory=dict)
    value: Any = None
    opened: list[_Open] = field(default_factory=list)
    documents: int = 0

    def refuse(self, message: str, hint: str, line: int | None, path: str = "") -> EngineError:
        return EngineError(message, hint, "REC-01", file=self.file, line=line, field=path or None)

    def read(self, text: str) -> Any:
        try:
            loader: Any = yaml.SafeLoader if _SURROGATE.search(text) else _LOADER
            for event in yaml.parse(text, Loader=loader):
                self.take(event)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = show_name(error.problem or "not YAML", 120)
            line = None if mark is None else mark.line + 1
            raise self.refuse(f"{self.what} cannot be read: {what}.", "Correct this line.", line) from error
        except yaml.YAMLError as error:
            hint = "It may hold characters that cannot stand in a text file."
            raise self.refuse(f"{self.what} cannot be read as YAML.", hint, None) from error
        return self.value

    def take(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.refuse(f"{self.what} holds two documents.", "Keep one of them.", line)
        elif isinstance(event, yaml.NodeEvent):
            self.refuse_more_than_plain(event, line)
            if isinstance(event, yaml.ScalarEvent):
                self.take_text(event, line)
            else:
                self.open(event, line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.opened.pop()

    def refuse_more_than_plain(self, event: Any, line: int) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            words = "anchors and aliases are not allowed"
        elif event.tag is not None:
            words = f"the tag {show_name(event.tag, 60)} is not allowed"
        else:
            return
        raise self.refuse(f"{self.what} cannot be read: {words}.", "Write the value itself.", line)

    def open(self, event: Any, line: int) -> None:
        if len(self.opened) >= self.depth:
            raise self.refuse(
                f"{self.what} is nested too deeply.", f"At most {self.depth} levels are read.", line
            )
        path = self.place(line)
        made: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.put(made)
        self.opened.append(_Open(made, path))

    def take_text(self, event: Any, line: int) -> None:
        around = self.opened[-1] if self.opened else None
        if around is not None and isinstance(around.value, dict) and around.key is None:
            self.take_key(around, str(event.value), bool(event.implicit[0]), line)
            return
        path = self.place(line)
        try:
            value = plain_value(event.value) if event.implicit[0] else event.value
        except ValueError as error:
            shown = show_name(event.value, 40)
            raise self.refuse(f"{path}: {shown} is no number.", "Correct this value.", line, path) from error
        self.put(value)

    def take_key(self, around: _Open, key: str, bare: bool, line: int) -> None:
        where = f"{around.path}.{key}" if around.path else key
        if key == "<<" and bare:
            words = "merges (<<) are not allowed"
            raise self.refuse(f"{self.what} cannot be read: {words}.", "Write the values out.", line)
        if key in around.value:
            shown = show_name(where)
            raise self.refuse(f"{shown} stands twice.", "Keep one of them.", line, where)
        self.lines[where] = line
        around.key = key

    def place(self, line: int) -> str:
        """Return the dotted path of the value that begins now."""
        if not self.opened:
            return ""
        around = self.opened[-1]
        if isinstance(around.value, list):
            return f"{around.path}.{len(around.value)}"
        if around.key is None:
            raise self.refuse(f"{self.what} cannot be read: a key is no text.", "Correct this line.", line)
        return f"{around.path}.{around.key}" if around.path else around.key

    def put(self, value: Any) -> None:
        if not self.opened:
            self.value = value
            return
        around = self.opened[-1]
        if isinstance(around.value, list):
            around.value.append(value)
        else:
            around.value[str(around.key)] = value
            around.key = None


def plain_value(text: str) -> Any:
    """Return what a text without quotes stands for; raises ValueError for a number that cannot be held."""
    if _NULL.match(text):
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _WHOLE.match(text) or _HEX.match(text):
        if len(text) > MOST_DIGITS:
            raise ValueError("too long")
        return int(text, 16) if "x" in text else int(text)
    if _DECIMAL.match(text) or _POWER.match(text):
        number = float(text.replace("_", ""))
        if not math.isfinite(number):
            raise ValueError("not finite")
        return number
    return text


def read(
    text: str, what: str = "The file", file: str | None = None, *, depth: int = MAX_DEPTH
) -> tuple[Any, dict[str, int]]:
    """Return the values of a YAML text, and the line of every dotted path.

    `what` begins a message's sentence. Raises EngineError REC-01 with file, line and field.
    """
    reader = _Reader(what, file, depth)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise reader.refuse(f"{what} is larger than 256 KiB.", "Check that it is the right file.", None)
    return reader.read(text), reader.lines


class _Dumper(yaml.SafeDumper):
    """Quotes every text that `read` would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Within one quotation mark a rare line end would be folded to a blank.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _BREAKS.search(text) else None)


_Dumper.add_representer(str, _text)
_Dumper.add_implicit_resolver(
    "tag:tunesmith,2:number",
    re.compile("|".join(form.pattern for form in (_POWER, _WHOLE, _DECIMAL))),
    None,
)


def dump(values: Any) -> str:
    """Return values as YAML that `read` gives back unchanged."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text
