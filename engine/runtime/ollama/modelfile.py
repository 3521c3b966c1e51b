"""Write a Modelfile and read it back as Ollama's own parser does.

A value is put into three quotation marks and parsed again at once: what would come back otherwise, such as a
line that ends in three of them, or a character that the parser drops, is refused. Grammar: ollama's
docs/modelfile.md and parser/parser.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import EngineError
from engine.paths import show_name

QUOTES = '"""'
NAMES = ("from", "template", "system", "adapter", "license", "parameter", "message", "renderer", "parser")
Command = tuple[str, str]


def write_modelfile(commands: Iterable[Command]) -> str:
    """Return the text of commands such as ("from", "./a.gguf"), ("stop", "</s>"), ("system", "Be brief.").

    Raises EngineError MODEL-05 for a value that would not come back as it is.
    """
    commands = list(commands)
    lines = [_line(name, value) for name, value in commands]
    text = "".join(lines)
    if parse_modelfile(text) != commands:
        raise _unwritable("together", text)
    return text


def _line(name: str, value: str) -> str:
    word = name.upper() if name in NAMES else f"PARAMETER {name}"
    plain = value.isascii() and value.isprintable() and not set(value) & set('" #') and value == value.strip()
    line = f"{word} {value}\n" if plain and value else f"{word} {QUOTES}{value}{QUOTES}\n"
    try:
        found = parse_modelfile(line)
    except ValueError:
        found = []
    if found != [(name, value)]:
        raise _unwritable(name, value)
    return line


def _unwritable(name: str, value: str) -> EngineError:
    return EngineError(
        f"A Modelfile cannot hold this {name}: {show_name(value, 120)!r}.",
        "It may end a line with three quotation marks, or hold invisible characters. Change it, or export "
        "the GGUF alone.",
        "MODEL-05",
        field="format",
    )


def parse_modelfile(text: str) -> list[Command]:
    """Return the commands of a Modelfile; raises ValueError where Ollama would refuse it."""
    found: list[Command] = []
    state, name, held = "nil", "", ""
    for char in text:
        after, kept = _next(state, char)
        if after != state:
            if state == "name":
                if held.lower() not in NAMES:
                    raise ValueError(f"there is no command {held}")
                name = held.lower()
                after = {"parameter": "parameter", "message": "message"}.get(name, after)
            elif state == "parameter":
                name = held
            elif state == "value":
                value = _unquoted(held.strip())
                if value is None or char in " \t":
                    held += char
                    continue
                found.append((name, value))
            held, state = "", after
        if kept and char.isprintable():
            held += char
    if state == "value":
        value = _unquoted(held.strip())
        if value is None:
            raise ValueError("a value does not end")
        found.append((name, value))
    elif state not in ("nil", "comment"):
        raise ValueError("a command has no value")
    return found


def _next(state: str, char: str) -> tuple[str, bool]:
    """Return the state after a character, and whether the character belongs to what is being read."""
    blank, newline = char in " \t", char in "\r\n"
    if state == "nil":
        if char == "#":
            return "comment", False
        return ("nil", False) if blank or newline else ("name", True)
    if state == "comment":
        return ("nil", False) if newline else ("comment", False)
    if state == "value":
        return ("nil", True) if blank or newline else ("value", True)
    if blank:
        return "value", False
    allowed = char.isascii() and (
        char.isalpha() or (state == "parameter" and (char.isdigit() or char == "_"))
    )
    if not allowed:
        raise ValueError(f"{char!r} stands where a name belongs")
    return state, True


def _unquoted(text: str) -> str | None:
    """Return a value without its quotation marks, None while they are not closed."""
    for marks in (QUOTES, '"'):
        if text.startswith(marks):
            closed = len(text) >= 2 * len(marks) and text.endswith(marks)
            return text[len(marks) : -len(marks)] if closed else None
    return text
