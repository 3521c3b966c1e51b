"""What kind of rows a file holds, told from its first bytes; its name only decides what they leave open."""

from __future__ import annotations

import json
from typing import Literal

from engine.data import table_form, yaml_rows
from engine.data.options import ReadOptions
from engine.data.rows import Finding
from engine.data.source import Source
from engine.data.table_form import Table
from engine.data.unpack import unpacker

TextKind = Literal["jsonl", "json", "csv", "text", "yaml"]
BinaryKind = Literal["xlsx", "parquet", "arrow"]
TEXT_NAMES = (".txt", ".md", ".markdown", ".rst")
TABLE_NAMES = (".csv", ".tsv", ".tab")
LINES_NAMES = (".jsonl", ".ndjson")
_SAMPLE = 1 << 16
_NAMES = {
    "jsonl": "JSON lines",
    "json": "one JSON document",
    "csv": "a table",
    "text": "plain text",
    "yaml": "YAML",
}
_SUFFIXES: dict[str, tuple[str, ...]] = {
    ".jsonl": ("jsonl",),
    ".ndjson": ("jsonl",),
    ".json": ("json",),
    ".csv": ("csv",),
    ".tsv": ("csv",),
    ".yaml": ("yaml",),
    ".yml": ("yaml",),
}


def binary_kind(source: Source) -> BinaryKind | None:
    """Tell a file that is neither text nor an archive of text; raises EngineError for archives of no use."""
    head = source.head
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return "xlsx"  # whose reader tells a password from an old document
    if head.startswith(b"PK\x03\x04") and unpacker(source.path, head, None) is None:
        return "xlsx"
    return None


def text_of(source: Source) -> str:
    """Return the first text of a source; a character that is cut at its end is no matter here."""
    return source.head.decode("utf-8", "replace").lstrip("\ufeff")


def text_kind(source: Source, options: ReadOptions) -> TextKind:
    """Tell what kind of text a source is."""
    head = text_of(source)
    suffix = source.suffix
    begin = head.lstrip()
    if begin[:1] in "{[":
        kind = _json_kind(begin, source.whole, textual=suffix in TEXT_NAMES)
        if kind is not None:
            return kind
    if suffix in (*LINES_NAMES, ".json") and begin[:1] in '"tfn-0123456789':
        return "jsonl"
    if suffix not in (*TEXT_NAMES, *TABLE_NAMES) and yaml_rows.looks_like(head, suffix):
        return "yaml"
    return "csv" if table(source, options) is not None else "text"


def _json_kind(begin: str, whole: bool, textual: bool) -> TextKind | None:
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


def table(source: Source, options: ReadOptions) -> Table | None:
    """Return how a table is written, None where the text is none."""
    suffix = source.suffix
    named = suffix in TABLE_NAMES
    if suffix in (".md", ".markdown", ".rst") and options.delimiter is None:
        return None
    sample = text_of(source)[:_SAMPLE]
    prefer = "\t" if suffix in (".tsv", ".tab") else ","
    whole = source.whole and len(sample) < _SAMPLE
    found = table_form.guess_table(sample, whole, prefer, options)
    if named or options.delimiter is not None:
        return found or table_form.single_column(sample, options)
    # Prose has commas too: without the name of a table, only a header or tabs make one.
    sure = found is not None and (found.header or found.delimiter == "\t") and sample.count("\n") >= 2
    return found if sure else None


def remarks(source: Source, kind: str) -> tuple[Finding, ...]:
    """Return what is told of how a file of text is written."""
    found: list[Finding] = []
    if source.encoding == "utf-8" and source.start:
        found.append(source.report("it begins with a byte order mark, which was left out.", 1, "DATA-01"))
    if source.encoding != "utf-8":
        how = "as you chose" if source.explicit else "as its byte order mark says"
        found.append(source.report(f"it is read as {source.encoding.upper()}, {how}.", 1, "DATA-01"))
    if source.old_line_ends:
        found.append(source.report("its lines end as on old Macs (CR); they were read as lines.", 1))
    expected = _SUFFIXES.get(source.suffix)
    lone = kind == "json" and source.suffix in LINES_NAMES and "\n" not in text_of(source).strip()
    if expected is not None and kind not in expected and not lone:  # one row on one line is both
        named = f"it is named {source.suffix} and holds {_NAMES[kind]}; it was read by its content."
        found.append(source.report(named, 1))
    return tuple(found)
