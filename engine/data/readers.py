"""Any file as a stream of rows and findings; its kind is told from its content, not from its name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.data import csv_rows, json_parts, json_rows, nested, sniff, text_rows
from engine.data.options import ReadOptions
from engine.data.rows import Finding, Found, Row
from engine.data.source import FOUND_OUT, Source, as_text, peek
from engine.data.steady import Stamp, unchanged
from engine.data.table_form import Table
from engine.errors import EngineError, from_os_error
from engine.paths import show_name
from engine.probes import proof, verdicts

__all__ = ["Finding", "Layout", "Row", "estimate_rows", "look_at", "read_rows"]

Kind = Literal["jsonl", "json", "csv", "text", "yaml", "xlsx", "parquet", "arrow", "folder"]
Rows = Iterator[Row | Finding]
PROVEN: dict[Kind, proof.Kind] = {"xlsx": "workbook", "parquet": "columns", "arrow": "columns"}
PROVEN_AHEAD = 12  # more of them a probe has no time for


@dataclass(frozen=True)
class Layout:
    """What a file is: its kind, how it is written, and what could be read from it instead.

    `parts` are the sheets, lists, members or splits to choose from, `part` the one that is read. `remarks`
    are reports about the whole file. `label_names`: what the numbers of a column are called. `rows_known`:
    how many rows it has, where its format says it.
    """

    source: Source
    kind: Kind
    table: Table | None = None
    parts: tuple[str, ...] = ()
    part: str | None = None
    remarks: tuple[Finding, ...] = ()
    label_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rows_known: int | None = None
    found: Found | None = field(default=None, repr=False)

    def rows(self) -> Rows:
        """Yield its rows in order, each with its line; what cannot be used comes as a finding.

        What is accepted and only told comes last, as findings of severity `report`. Raises EngineError for a
        file that cannot be used at all (DATA-01, -07, -08, -10, -12).
        """
        empty = True
        for item in _READERS[self.kind][1](self):
            empty = False
            yield item
        if empty:
            raise self.source.refusal("has no rows.", "DATA-07", "Choose a file with at least one row.", 1)
        if self.kind != "folder" and self.source.stamp != Stamp(0, 0):
            unchanged(self.source)


def read_rows(path: str | Path, options: ReadOptions = FOUND_OUT) -> Rows:
    """Yield the rows and findings of a file as `Layout.rows` does."""
    return look_at(path, options).rows()


def look_at(path: str | Path, options: ReadOptions = FOUND_OUT, beside: Sequence[str | Path] = ()) -> Layout:
    """Tell what a file (or a folder of a dataset) is from its first bytes; no more of it is read.

    Some kinds are proven first by a probe, which looks at files `beside` of the same kind too.
    """
    path = Path(path)
    if path.is_dir():
        source = Source(path, show_name(path.name), "utf-8", 0, b"", _folder_bytes(path))
        return _look("folder", source, options)
    source = peek(path)
    kind = sniff.binary_kind(source)
    if kind is not None:
        _prove(kind, source, beside)
        return _look(kind, source, options)
    source = as_text(source, options)
    return _look(sniff.text_kind(source, options), source, options)


def _prove(kind: Kind, source: Source, beside: Sequence[str | Path]) -> None:
    """Refuse a file whose reader does not live through it, before it is read in this process."""
    asked = proof.file_question(PROVEN[kind], source.path)
    others: list[proof.Question] = []
    if verdicts.recall(asked.key) is None:
        for path in map(Path, beside[:PROVEN_AHEAD]):
            with contextlib.suppress(EngineError):  # told when its turn comes
                others += [proof.file_question(asked.kind, path)] if path.is_file() else []
    try:
        proof.proven(asked, str(source.path), beside=others)
    except EngineError as error:
        error.line = error.line or 1
        raise


def _folder_bytes(path: Path) -> int:
    try:
        return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    except OSError as error:
        raise from_os_error(error, str(path)) from None


def _look(kind: Kind, source: Source, options: ReadOptions) -> Layout:
    return _READERS[kind][0](kind, source, options)


def _look_text(kind: Kind, source: Source, options: ReadOptions) -> Layout:
    """Return the layout of a file of text, with what its encoding, its kind and its lists give to tell."""
    if kind == "jsonl" and source.old_line_ends:
        raise source.refusal("has the line ends of old Macs.", "DATA-02", "Save it with LF line ends.", 1)
    unpacker = source.unpacker
    parts = unpacker.parts if unpacker is not None else ()
    part = unpacker.part if unpacker is not None else None
    table, remarks = None, sniff.remarks(source, kind)
    if kind == "csv":
        table = sniff.table(source, options)
        if table is not None and table.repeated:
            twice = ", ".join(f'"{show_name(name)}"' for name in table.repeated)
            remarks += (source.report(f"the header names {twice} twice; the later ones got a number.", 1),)
        remarks += _guessed(source, table, options)
    if kind == "json" and len(parts) < 2:
        parts, part = json_parts.look(source, options.part)
        others = tuple(f'"{show_name(name)}"' for name in parts if name != part)
        if others and part is not None:
            said = f'the list "{show_name(part)}" is read, {", ".join(others)} not.'
            remarks += (source.report(said, code="DATA-12", hint="Choose the list with the rows."),)
    if kind in ("json", "jsonl") and (why := nested.reason(sniff.text_of(source))) is not None:
        remarks += (source.report(why, code="DATA-04"),)
    return Layout(source, kind, table, parts, part, remarks)


def _guessed(source: Source, table: Table | None, options: ReadOptions) -> tuple[Finding, ...]:
    """Return what was found out of how a table is written, where that is not the usual way."""
    usual = "\t" if source.suffix in (".tsv", ".tab") else ","
    if (
        table is None
        or len(table.columns) < 2
        or options.delimiter is not None
        and options.header is not None
    ):
        return ()
    if table.header and table.delimiter == usual:
        return ()
    between = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}.get(table.delimiter, "marks")
    header = "its first line names the columns" if table.header else "its first line is a row"
    said = f"it is read as a table with {between} between its cells; {header}."
    return (source.report(said, 1, "DATA-10", "Choose delimiter and header where that is wrong."),)


def _look_found(kind: Kind, source: Source, options: ReadOptions) -> Layout:
    """Return the layout of a format that has a module of its own, as that one tells it."""
    found = _MODULES[kind]().look(source, options)
    return Layout(
        source,
        kind,
        parts=found.parts,
        part=found.part,
        remarks=(*(sniff.remarks(source, kind) if kind == "yaml" else ()), *found.remarks),
        label_names=found.label_names,
        rows_known=found.rows,
        found=found,
    )


def _found_rows(layout: Layout) -> Rows:
    rows: Rows = _MODULES[layout.kind]().rows(layout.source, layout.found)
    return rows


def _xlsx() -> Any:
    from engine.data import xlsx_rows

    return xlsx_rows


def _yaml() -> Any:
    from engine.data import yaml_rows

    return yaml_rows


def _arrow() -> Any:
    from engine.data import arrow_rows

    return arrow_rows


def _folder() -> Any:
    from engine.data import folder_rows

    return folder_rows


def _table_rows(layout: Layout) -> Rows:
    assert layout.table is not None
    return csv_rows.table_rows(layout.source, layout.table)


# Formats that have a module of their own, loaded when such a file is read: `look` tells, `rows` reads.
_MODULES: dict[Kind, Callable[[], Any]] = {
    "yaml": _yaml,
    "xlsx": _xlsx,
    "parquet": _arrow,
    "arrow": _arrow,
    "folder": _folder,
}
_READERS: dict[Kind, tuple[Callable[[Kind, Source, ReadOptions], Layout], Callable[[Layout], Rows]]] = {
    "jsonl": (_look_text, lambda layout: json_rows.lines(layout.source)),
    "json": (_look_text, lambda layout: json_parts.document(layout.source, layout.part)),
    "csv": (_look_text, _table_rows),
    "text": (_look_text, lambda layout: text_rows.text_pieces(layout.source)),
    **dict.fromkeys(_MODULES, (_look_found, _found_rows)),
}


def estimate_rows(source: Source, read: int, last_line: int) -> int:
    """Return about how many rows a file has, from the first `read` ones that reach to `last_line`."""
    lines = max(1, source.head.count(b"\n"))
    size = source.text_bytes
    total_lines = lines * size / max(1, min(size, len(source.head)))
    return max(read, round(read * total_lines / max(1, last_line)))
