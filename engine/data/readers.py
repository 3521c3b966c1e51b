"""Any file as a stream of rows and findings; its kind is told from its content, not from its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.data import csv_rows, json_rows, text_rows
from engine.data.rows import Finding, Row
from engine.data.source import HEAD_BYTES, Source, open_source

__all__ = ["Finding", "Layout", "Row", "estimate_rows", "look_at", "read_rows"]

Kind = Literal["jsonl", "json", "csv", "text"]
TEXT_NAMES = (".txt", ".md", ".markdown", ".rst")


@dataclass(frozen=True)
class Layout:
    """What a file is: its kind, and for a table how it is written."""

    source: Source
    kind: Kind
    table: csv_rows.Table | None = None


def read_rows(path: str | Path) -> Iterator[Row | Finding]:
    """Yield the rows of a file in order, each with its line; what cannot be used comes as a finding.

    Raises EngineError for a file that cannot be used at all (DATA-01, -07, -08, -10, -12).
    """
    return _read(look_at(path))


def look_at(path: str | Path) -> Layout:
    """Tell what a file is from its first bytes."""
    source = open_source(path)
    # A character may be cut at the end of the head: what cannot be decoded there is no matter here.
    head = source.head.decode("utf-8", "replace").lstrip("\ufeff")
    suffix = source.path.suffix.lower()
    begin = head.lstrip()
    if begin[:1] in "{[":
        kind = _json_kind(begin, whole=source.size <= HEAD_BYTES, textual=suffix in TEXT_NAMES)
        if kind is not None:
            return Layout(source, kind)
    if suffix in (".jsonl", ".ndjson", ".json") and begin[:1] in '"tfn-0123456789':
        return Layout(source, "jsonl")
    table = _table(source, head, suffix)
    return Layout(source, "csv", table) if table is not None else Layout(source, "text")


def _json_kind(begin: str, whole: bool, textual: bool) -> Kind | None:
    first, _, rest = begin.partition("\n")
    first, rest = first.rstrip(), rest.lstrip()
    if begin[0] == "[":
        inner = begin[1:].lstrip()[:1]
        if inner not in tuple('{["]') and (textual or inner not in "-0123456789tfn"):
            return None
        complete = _parses(first)
        return "jsonl" if complete and rest[:1] == "[" else "json"
    if _parses(first):
        return "jsonl" if rest or not whole else "json"
    if textual and not rest.startswith("{"):
        return "json" if begin[1:].lstrip()[:1] == '"' else None
    alone = first in ("{", "{{") or not (first.endswith("}") or rest.startswith('{"'))
    return "json" if alone and rest else "jsonl"


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _table(source: Source, head: str, suffix: str) -> csv_rows.Table | None:
    named = suffix in (".csv", ".tsv", ".tab")
    if suffix in (".md", ".markdown", ".rst"):
        return None
    whole = source.size <= HEAD_BYTES
    sample = head[: 1 << 16]
    prefer = "\t" if suffix in (".tsv", ".tab") else ","
    table = csv_rows.guess_table(sample, whole and len(sample) == len(head), prefer)
    if named:
        return table or csv_rows.single_column(sample)
    # Prose has commas too: without the name of a table, only a header or tabs make one.
    sure = table is not None and (table.header or table.delimiter == "\t") and sample.count("\n") >= 2
    return table if sure else None


def _read(layout: Layout) -> Iterator[Row | Finding]:
    if layout.kind == "jsonl":
        yield from json_rows.lines(layout.source)
    elif layout.kind == "json":
        yield from json_rows.document(layout.source)
    elif layout.table is not None:
        yield from csv_rows.table_rows(layout.source, layout.table)
    else:
        yield from text_rows.text_pieces(layout.source)


def estimate_rows(source: Source, read: int, last_line: int) -> int:
    """Return about how many rows a file has, from the first `read` ones that reach to `last_line`."""
    lines = max(1, source.head.count(b"\n"))
    total_lines = lines * source.size / max(1, min(source.size, len(source.head)))
    return max(read, round(read * total_lines / max(1, last_line)))
