"""Broken files of every kind end in rows, findings with a line, or one refusal, never in anything else."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from engine.data.inspect import inspect_file
from engine.data.readers import Finding, read_rows
from engine.errors import EngineError

FILES = 2_000
ROWS = 20
SEEDS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Hi 😀"}, {"role": "assistant", "content": "Hello"}]},
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "tools": "[]"},
    {"instruction": "a", "input": "b", "output": "c"},
    {"prompt": "a", "chosen": "b", "rejected": "c"},
    {
        "conversations": [
            {"from": "human", "value": "a"},
            {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
            {"from": "observation", "value": "x"},
            {"from": "gpt", "value": "b"},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
            },
        ]
    },
]
VALUES = [None, 1, True, [], {}, "", [1], ["a"], {"a": 1}, "\u200b", [None], [[]], 1.5]
PIECES = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"\\",
    b"\\ud800",
    b"NaN",
    b"\n",
    b"\xff",
    b"'",
    b"\t",
]


def change_values(value: Any, source: random.Random) -> None:
    """Put other values in some places of a row."""
    places = value if isinstance(value, list) else list(value) if isinstance(value, dict) else []
    for key in range(len(places)) if isinstance(value, list) else places:
        if source.random() < 0.15:
            value[key] = source.choice(VALUES)
        else:
            change_values(value[key], source)


def change_bytes(content: bytes, source: random.Random) -> bytes:
    """Delete, insert, repeat or replace some bytes, or cut the end."""
    made = bytearray(content)
    for _ in range(source.choice([1, 1, 2, 5])):
        at = source.randrange(len(made) or 1)
        kind = source.randrange(5)
        if kind == 0:
            del made[at : at + source.randrange(1, 6)]
        elif kind == 1:
            made[at:at] = source.choice(PIECES)
        elif kind == 2:
            made[at : at + 1] = bytes([source.randrange(256)])
        elif kind == 3:
            made[at:at] = made[at : at + 8]
        else:
            del made[at + len(made) // 2 :]
    return bytes(made)


def fuzzed_file(number: int, source: random.Random) -> bytes:
    """Return a broken file: lines, a list, an object with a list, or a table."""
    rows = []
    for _ in range(ROWS):
        row = json.loads(json.dumps(SEEDS[number % len(SEEDS)]))
        if source.random() < 0.5:
            change_values(row, source)
        rows.append(row)
    lines = [json.dumps(row).encode() for row in rows]
    match source.randrange(4):
        case 0:
            return b"\n".join(change_bytes(x, source) if source.random() < 0.4 else x for x in lines)
        case 1:
            return change_bytes(json.dumps(rows, indent=source.choice([None, 1])).encode(), source)
        case 2:
            return change_bytes(b'{"data": [' + b",".join(lines) + b"]}", source)
    return change_bytes(b"q;a\n" + b"".join(b'"x%d;";y\n' % i for i in range(ROWS)), source)


def test_r06_that_fuzzed_files_never_raise_anything_else(tmp_path: Path, tiny_model: Path) -> None:
    source = random.Random(7)
    path = tmp_path / "fuzzed.jsonl"
    outcomes: set[str] = set()
    for number in range(FILES):
        path.write_bytes(fuzzed_file(number, source))
        try:
            assert all(r.line for r in read_rows(path) if isinstance(r, Finding))
            answer = inspect_file(path, tiny_model)
            assert all(p["line"] for p in answer["problems"])
            outcomes.add("read")
        except EngineError as error:
            assert error.file == str(path)
            outcomes.add(error.code)
    assert {"read", "DATA-01", "DATA-02"} <= outcomes
