"""A folder as one stream of rows: what `datasets` saved, shards and splits of data files, documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from engine.data import folder_files, sniff, text_rows
from engine.data.options import ReadOptions
from engine.data.rows import Finding, Found, Row
from engine.data.source import Source, open_source
from engine.data.steady import open_regular, unchanged
from engine.errors import EngineError
from engine.paths import show_name

MOST_JSON = 16 << 20
COUNTED_FILES = 64
STATE, INFO, DICT = "state.json", "dataset_info.json", "dataset_dict.json"
HINT = "Choose a file, or a folder of JSONL, CSV, Parquet, Arrow, Excel, YAML, text or Markdown files."


@dataclass(frozen=True)
class Reading:
    """The files that are read one after the other, and how; `documents`: each is a text of its own."""

    files: tuple[Path, ...]
    options: ReadOptions
    documents: bool = False


def look(source: Source, options: ReadOptions) -> Found:
    """Find what a folder holds; `source.path` is the folder.

    Raises EngineError DATA-12 for a folder without data or without the part, DATA-07 for an empty one.
    """
    held = folder_files.contents(source.path)
    saved = _saved(source, held)
    parts, others = (saved, []) if saved is not None else _by_name(source, held)
    part = _chosen(source, parts, options.part)
    files = tuple(source.path / path for path in parts[part])
    documents = all(folder_files.kind_of(path) == folder_files.DOCUMENTS for path in files)
    reading = Reading(files, replace(options, part=None), documents)
    found = Found(detail=reading) if documents else _first(reading)
    names = tuple(parts)
    return replace(
        found,
        parts=names if len(names) > 1 else (),
        part=part if len(names) > 1 else None,
        remarks=(*_told(source, parts, part, others, held), *found.remarks),
        detail=reading,
    )


def _saved(source: Source, held: folder_files.Contents) -> dict[str, list[PurePath]] | None:
    """Return the shards of each split of a folder that `save_to_disk` wrote; None for other folders."""
    if PurePath(DICT) in held.files:
        splits = _json(source, PurePath(DICT)).get("splits")
        names = splits if isinstance(splits, list) else []
        known = [PurePath(n) for n in names if isinstance(n, str) and PurePath(n) / STATE in held.files]
        if not known:
            raise _refused(
                source, f"has a {DICT} whose splits are not there.", "Copy the whole folder again."
            )
        ordered = sorted(known, key=lambda path: path.name != "train")
        return {show_name(path.name): _shards(source, held, path) for path in ordered}
    if PurePath(STATE) in held.files and PurePath(INFO) in held.files:
        return {"": _shards(source, held, PurePath())}
    return None


def _shards(source: Source, held: folder_files.Contents, below: PurePath) -> list[PurePath]:
    state = _json(source, below / STATE)
    listed = state.get("_data_files")
    names = [f.get("filename") for f in listed if isinstance(f, dict)] if isinstance(listed, list) else []
    shards = [below / name for name in names if isinstance(name, str)]
    missing = [path for path in shards if path not in held.files]
    if missing or not shards:
        what = f"{show_name(missing[0].name)} is not in it" if missing else f"its {STATE} names no files"
        raise _refused(source, f"is not complete: {what}.", "Copy or save the whole folder again.")
    if state.get("_indices_data_files"):
        hint = "Save it again after `flatten_indices()`."
        raise _refused(source, "keeps a selection of its rows apart from them.", hint)
    return shards


def _json(source: Source, path: PurePath) -> dict[str, Any]:
    with open_regular(source.path / path) as file:
        raw = file.read(MOST_JSON + 1)
    try:
        value = json.loads(raw) if len(raw) <= MOST_JSON else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _refused(source, f"has a damaged {path.name}.", "Copy or save the whole folder again.")
    return value


def _by_name(source: Source, held: folder_files.Contents) -> tuple[dict[str, list[PurePath]], list[PurePath]]:
    """Return the parts of a folder of files, and the files that belong to none."""
    if not held.files:
        left = f" ({', '.join(held.left_out)})" if held.left_out else ""
        raise _refused(source, f"is an empty folder{left}.", HINT, "DATA-07")
    data = folder_files.usable(held.files)
    model = any(path.suffix.lower() in (".safetensors", ".gguf") for path in held.files)
    if not data or model:
        what = "is the folder of a model" if model else "is a folder without data"
        hint = "Choose it in the step before, as the model." if model else HINT
        raise _refused(source, f"{what}: it holds {folder_files.told(held.files)}.", hint)
    taken = {path for path, _ in data}
    return folder_files.groups(source.path, data), [path for path in held.files if path not in taken]


def _chosen(source: Source, parts: dict[str, list[PurePath]], wanted: str | None) -> str:
    if wanted in parts:
        return wanted
    named = [name for name in parts if name.rsplit("/", 1)[-1] == wanted]
    if len(named) == 1:
        return named[0]
    listed = ", ".join(list(parts)[:20])
    if wanted is not None and len(parts) > 1:
        error = _refused(source, f'has no part "{show_name(wanted)}".', f"Its parts are {listed}.")
        error.field = "data.part"
        raise error
    return next(iter(parts))


def _told(
    source: Source,
    parts: dict[str, list[PurePath]],
    part: str,
    others: list[PurePath],
    held: folder_files.Contents,
) -> Iterator[Finding]:
    counts = {name: f"{len(files):,} file{'s' if len(files) > 1 else ''}" for name, files in parts.items()}
    left = [f"{name} ({count})" for name, count in counts.items() if name != part]
    if left:
        shown = ", ".join(left[:8]) + (f" and {len(left) - 8} more" if len(left) > 8 else "")
        hint = "Choose another part to read that one."
        yield _report(source, f"{part} is read ({counts[part]}); not read: {shown}.", hint)
    unread = [*([folder_files.told(others)] if others else []), *held.left_out]
    if unread:
        yield _report(source, f"left out: {', '.join(unread)}.")


def _first(reading: Reading) -> Found:
    """Look at the first file: what it is said to be goes for all of them."""
    from engine.data.readers import look_at

    first = look_at(reading.files[0], reading.options, reading.files[1:])
    counts: list[int | None] = [first.rows_known]
    if first.rows_known is not None and len(reading.files) <= COUNTED_FILES:
        rest = enumerate(reading.files[1:], 2)
        counts += [look_at(path, reading.options, reading.files[at:]).rows_known for at, path in rest]
    known = [count for count in counts if count is not None]
    complete = len(known) == len(reading.files)
    return Found(remarks=first.remarks, label_names=first.label_names, rows=sum(known) if complete else None)


def rows(source: Source, found: Found) -> Iterator[Row | Finding]:
    """Yield the rows of all files in order; each says the file and the line it stands in.

    A document that cannot be read is a finding; a data file that cannot be read ends it with its EngineError.
    """
    reading: Reading = found.detail
    told: set[str] = set()
    for number, path in enumerate(reading.files):
        name, file = show_name(path.name), str(path)
        items = _document(path, reading.options) if reading.documents else _table(number, reading, told)
        for item in items:
            if isinstance(item, Row):
                yield Row(item.value, item.line, item.continues, item.cells, file)
                continue
            if item.severity == "report":
                # Two thousand shards of one kind tell the same thing once.
                same = item.message.replace(name, "")
                if same in told:
                    continue
                told.add(same)
            yield item


def _document(path: Path, options: ReadOptions) -> Iterable[Row | Finding]:
    try:
        source = open_source(path, options)
        yield from sniff.remarks(source, "text")
        yield from text_rows.text_pieces(source)
        unchanged(source)
    except EngineError as error:
        empty = error.code == "DATA-07"
        yield Finding(
            error.code,
            str(path),
            error.line or 1,
            None,
            error.message,
            error.hint,
            "report" if empty else "error",
        )


def _table(number: int, reading: Reading, told: set[str]) -> Iterator[Row | Finding]:
    from engine.data.readers import look_at

    path = reading.files[number]
    layout = look_at(path, reading.options, reading.files[number + 1 :])
    remarks = layout.remarks
    if not number:  # told by the look at the folder
        told.update(remark.message.replace(show_name(path.name), "") for remark in remarks)
        remarks = ()
    yield from remarks
    yield from layout.rows()


def _refused(source: Source, what: str, hint: str, code: str = "DATA-12") -> EngineError:
    return EngineError(f"{source.name} {what}", hint, code, file=str(source.path), line=1)


def _report(source: Source, what: str, hint: str = "") -> Finding:
    return replace(source.finding("DATA-12", 1, what, hint), severity="report")
