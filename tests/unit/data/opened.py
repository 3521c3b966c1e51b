"""A file or folder as the readers of columns and folders get it: with its first bytes, its size, its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data import arrow_rows
from engine.data.options import ReadOptions
from engine.data.rows import Finding, Row
from engine.data.source import HEAD_BYTES, Source
from engine.errors import EngineError

PLAIN = ReadOptions()


def source_of(path: Path) -> Source:
    """Return the source of a file (or of a folder, which has no bytes)."""
    if path.is_dir():
        return Source(path=path, name=path.name, encoding="utf-8", start=0, head=b"", size=0)
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    return Source(path=path, name=path.name, encoding="utf-8", start=0, head=head, size=path.stat().st_size)


def read_arrow(path: Path, start: int = 0) -> list[Row | Finding]:
    """Return all that a Parquet or Arrow file gives."""
    source = source_of(path)
    return list(arrow_rows.rows(source, arrow_rows.look(source, PLAIN), start))


def values(items: list[Row | Finding]) -> list[object]:
    """Return the values of rows, which all of them have to be."""
    assert all(isinstance(item, Row) for item in items), items[:3]
    return [item.value for item in items if isinstance(item, Row)]


def refusal_of(path: Path) -> EngineError:
    """Return the error that refuses a Parquet or Arrow file, fit to be told."""
    with pytest.raises(EngineError) as caught:
        read_arrow(path)
    told = caught.value
    assert told.hint and told.line and told.file == str(path) and path.name in told.message
    return told
