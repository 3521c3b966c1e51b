"""Keep a prompt of a chat as a test of one's own: a line in RUN/tests.jsonl or in the home's."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from engine import durable
from engine.benchmarks.patterns import why_not
from engine.errors import EngineError, from_os_error
from engine.runs.evaluations import MAX_LINE_BYTES, TESTS

CHECKS = ("exact", "contains", "json", "regex", "none")
NEED_EXPECTED = ("exact", "contains", "regex")


def keep_test(place: Path, prompt: str, expected: str | None, check: str) -> bytes:
    """Append a test and return its line, which takes it back again.

    Raises EngineError REC-01 with the field that is wrong, DISK-* when it cannot be written.
    """
    _judge(prompt, expected, check)
    test = {"prompt": prompt, "expected": expected, "check": check, "from": "chat", "time": time.time()}
    line = json.dumps(test, ensure_ascii=False).encode() + b"\n"
    if len(line) >= MAX_LINE_BYTES:
        raise EngineError("This test is too long to be kept.", "Shorten it.", "REC-01", field="prompt")
    put_back(place, line)
    return line


def put_back(place: Path, line: bytes) -> None:
    """Append the line of a test; raises EngineError DISK-* when it cannot be written."""
    path = place / TESTS
    try:
        durable.make_folder(place)
        torn = path.is_file() and not _ends_in_newline(path)
        descriptor = durable.open_log(path)
        try:
            durable.append_line(descriptor, b"\n" + line if torn else line)
            durable.disk.fsync(descriptor)
        finally:
            durable.disk.close(descriptor)
    except OSError as error:
        raise from_os_error(error, str(path)) from error


def lines_of(place: Path) -> list[bytes]:
    """Return the lines of the tests kept in a place, the newest first; those too long are left out."""
    try:
        with open(place / TESTS, "rb") as file:
            lines = [line for line in file if line.endswith(b"\n") and len(line) < MAX_LINE_BYTES]
    except OSError:
        return []
    return [line for line in reversed(lines) if line.strip()]


def _judge(prompt: str, expected: str | None, check: str) -> None:
    if not prompt.strip():
        raise EngineError("A test needs a prompt.", "Write one.", "REC-01", field="prompt")
    if check not in CHECKS:
        raise EngineError(
            f"{check} is no check.", f"Use one of {', '.join(CHECKS)}.", "REC-01", field="check"
        )
    if check in NEED_EXPECTED and not (expected or "").strip():
        raise EngineError(
            "This check needs the expected answer.", "Write it, or check nothing.", "REC-01", field="expected"
        )
    if check == "regex":
        refused = why_not(expected or "")
        if refused:
            raise EngineError(
                f"The pattern cannot be used: {refused}.", "Correct it.", "REC-01", field="expected"
            )


def _ends_in_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def take_back(place: Path, line: bytes) -> None:
    """Remove a kept test by its line, the newest of its kind; raises EngineError DISK-*."""
    path = place / TESTS
    try:
        content = path.read_bytes()
        before, found, after = content.rpartition(line)
        if found:
            durable.write_file(path, before + after)
    except OSError as error:
        raise from_os_error(error, str(path)) from error
