"""Parquet files, Arrow files (Feather) and Arrow streams as rows, a few hundred at a time.

Columns that cannot be training data (pictures, binary values, dates) are never read from the disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from engine.data import arrow_values
from engine.data.options import ReadOptions
from engine.data.rows import Finding, Found, Row
from engine.data.source import Source
from engine.data.steady import open_regular, stamp_of
from engine.errors import EngineError, from_os_error
from engine.paths import show_name

Form = Literal["parquet", "file", "stream"]
BATCH_ROWS = 1024  # at most; a batch is also bounded by its bytes
BATCH_BYTES = 8 << 20
MOST_BATCH_BYTES = 2 << 30
LONGEST_ROW = 16 << 20
MOST_ROWS = 1_000_000_000
TRIAL_ROWS = 16
LABEL_NAMES = 10_000
DAMAGED_HINT = "Download or export it again; it may not be complete."


@dataclass(frozen=True)
class Columns:
    """How a file is stored, its columns that are offered, and the type of every column as Arrow names it."""

    form: Form
    names: tuple[str, ...]
    types: Mapping[str, str]


def form_of(head: bytes) -> Form | None:
    """Tell the form of a file from its first bytes; None when it is neither Parquet nor Arrow."""
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1"):
        return "file"
    return "stream" if head.startswith(b"\xff\xff\xff\xff") else None


def look(source: Source, options: ReadOptions) -> Found:
    """Read a file's schema; raises EngineError DATA-04 when no column holds text, DATA-12 when damaged."""
    form = form_of(source.head)
    if form is None:
        raise _refused(source, "is neither a Parquet nor an Arrow file.", "DATA-12", DAMAGED_HINT)
    with reading(source):
        schema, rows = _schema(source, form)
        columns, remarks = _columns(source, form, schema)
    if rows == 0:
        raise _empty(source)
    if rows is not None and not 0 < rows <= MOST_ROWS:
        hint = "Check that it is what you expect, then split it yourself."
        raise _refused(source, f"claims {rows:,} rows; at most {MOST_ROWS:,} are read.", "DATA-08", hint)
    if rows is not None and rows > source.size:
        remarks += (
            _report(
                source,
                "DATA-08",
                f"{rows:,} rows are packed into {source.size:,} bytes, so nearly all of them are the same; "
                f"they are read as they are needed, at most {MOST_ROWS:,}.",
            ),
        )
    return Found(remarks=remarks, label_names=_label_names(schema), rows=rows, detail=columns)


def _schema(source: Source, form: Form) -> tuple[Any, int | None]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    with open_regular(source.path) as file:
        if form == "parquet":
            opened = parquet.ParquetFile(file)
            return opened.schema_arrow, int(opened.metadata.num_rows)
        if form == "file":
            with pa.ipc.open_file(file) as reader:
                return reader.schema, int(reader.count_rows())
        with pa.ipc.open_stream(file) as reader:
            return reader.schema, None


def _columns(source: Source, form: Form, schema: Any) -> tuple[Columns, tuple[Finding, ...]]:
    types = {field.name: str(field.type) for field in schema}
    if len(types) < len(schema.names):
        twice = next(name for name in schema.names if schema.names.count(name) > 1)
        message = f'has two columns called "{show_name(twice)}".'
        raise _refused(source, message, "DATA-04", "Give each column a name of its own.")
    told = {name: show_name(kind, 80) for name, kind in types.items()}
    offered = [field for field in schema if arrow_values.readable(field.type)]
    if not any(arrow_values.holds_text(field.type) for field in offered):
        listed = ", ".join(f"{show_name(name)} is {kind}" for name, kind in list(told.items())[:8])
        hint = "Export the column with the text as a column of type string."
        raise _refused(source, f"has no column of text: {listed or 'it has no columns'}.", "DATA-04", hint)
    names = tuple(field.name for field in offered)
    remarks = tuple(
        _report(
            source,
            "DATA-04",
            f'column "{show_name(name)}" is not offered: it holds {kind}.',
            "Export it as text (string) if it is needed.",
        )
        for name, kind in told.items()
        if name not in names
    )
    return Columns(form, names, types), remarks


def _label_names(schema: Any) -> dict[str, tuple[str, ...]]:
    """Return the names of class labels that a `datasets` file keeps in its schema."""
    raw = (schema.metadata or {}).get(b"huggingface", b"")
    if not raw or len(raw) > 16 << 20:
        return {}
    try:
        info = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    info = info.get("info") if isinstance(info, dict) else None
    return label_names(info.get("features") if isinstance(info, dict) else None)


def label_names(features: Any) -> dict[str, tuple[str, ...]]:
    """Return the class names of each ClassLabel among the features of a `datasets` description."""
    found: dict[str, tuple[str, ...]] = {}
    for column, feature in features.items() if isinstance(features, dict) else ():
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            names = feature.get("names")
            if isinstance(names, list) and len(names) <= LABEL_NAMES:
                found[str(column)] = tuple(str(name) for name in names)
    return found


def rows(source: Source, found: Found, start: int = 0) -> Iterator[Row | Finding]:
    """Yield the rows from number `start` (counted from 0) on; a row's line is its number from 1.

    Raises EngineError DATA-12 where the file is damaged or changes while it is read.
    """
    columns: Columns = found.detail
    before = stamp_of(source.path)
    number = 0
    with reading(source):
        for number, batch in batches(source, columns, start):
            skipped = max(0, start - number)
            batch = checked(source, batch.select(list(columns.names))).slice(skipped)
            yield from _slices(source, batch, number + skipped + 1)
            number += skipped + batch.num_rows
    if stamp_of(source.path) != before:
        raise _refused(
            source, "changed while it was read.", "DATA-12", "Wait until it is written, then retry."
        )
    if found.rows is not None and number != found.rows and start < found.rows:
        raise _refused(source, f"says {found.rows:,} rows and has {number:,}.", "DATA-12", DAMAGED_HINT)
    if not number and not start:
        raise _empty(source)
    if columns.form == "stream" and not _ends(source):
        yield _report(source, "DATA-12", "the stream has no end mark.", DAMAGED_HINT, max(1, number))


def _ends(source: Source) -> bool:
    with open_regular(source.path) as file:
        file.seek(-min(8, source.size), os.SEEK_END)
        return file.read().endswith(bytes(4))


def batches(source: Source, columns: Columns, start: int) -> Iterator[tuple[int, Any]]:
    """Yield (number of its first row, batch), leaving out batches that end before row `start`."""
    with open_regular(source.path) as file:
        if columns.form == "parquet":
            yield from _parquet_batches(file, columns, start)
            return
        number = 0
        for batch in _ipc_batches(file, columns.form):
            if number + batch.num_rows > start:
                yield number, batch
            number += batch.num_rows


def _ipc_batches(file: Any, form: Form) -> Iterator[Any]:
    import pyarrow as pa

    if form == "stream":
        with pa.ipc.open_stream(file) as reader:
            yield from reader
        return
    with pa.ipc.open_file(file) as reader:
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)


def _parquet_batches(file: Any, columns: Columns, start: int) -> Iterator[tuple[int, Any]]:
    import pyarrow.parquet as parquet

    # Without pre_buffer a row group is read page by page, however large it is.
    opened = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True)
    number = 0
    for group in range(opened.num_row_groups):
        facts = opened.metadata.row_group(group)
        if number + facts.num_rows <= start:
            number += facts.num_rows
            continue
        size = _batch_rows(opened, group, facts, list(columns.names))
        chosen = {"row_groups": [group], "columns": list(columns.names), "use_threads": False}
        for batch in opened.iter_batches(size, **chosen):
            if number + batch.num_rows > start:
                yield number, batch
            number += batch.num_rows


def _batch_rows(opened: Any, group: int, facts: Any, names: list[str]) -> int:
    """Return how many rows of a row group make a batch of a few MiB, from its size and its first rows.

    The sizes of its columns would tell more, but asking for them ends the process when they are damaged.
    """
    row_bytes = 0
    if len(names) == len(opened.schema_arrow.names):
        row_bytes = facts.total_byte_size // max(1, facts.num_rows)
    if facts.num_rows > TRIAL_ROWS:
        # A value that stands once in the file may stand in every row.
        for batch in opened.iter_batches(TRIAL_ROWS, row_groups=[group], columns=names, use_threads=False):
            row_bytes = max(row_bytes, batch.nbytes // max(1, batch.num_rows))
            break
    return int(min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, row_bytes))))


def checked(source: Source, batch: Any) -> Any:
    """Return the batch with every offset checked; text that is not UTF-8 is left as bytes to look at."""
    import pyarrow as pa

    try:
        batch.validate(full=True)
        return _bounded(source, batch)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
    arrays = [arrow_values.as_bytes(column) for column in batch.columns]
    batch = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
    batch.validate(full=True)
    return _bounded(source, batch)


def _bounded(source: Source, batch: Any) -> Any:
    if batch.nbytes > MOST_BATCH_BYTES:
        what = f"unpacks to {batch.nbytes >> 20:,} MiB for {batch.num_rows:,} rows."
        raise _refused(source, what, "DATA-08", "Check that it is what you expect, then split it yourself.")
    return batch


def _slices(source: Source, batch: Any, first: int) -> Iterator[Row | Finding]:
    """Yield the rows of a batch, made Python values a few MiB at a time; `first` is the line of its first."""
    step = min(BATCH_ROWS, max(1, BATCH_BYTES * batch.num_rows // max(1, _bytes(batch))))
    for at in range(0, batch.num_rows, step):
        part = batch.slice(at, step)
        size = _bytes(part)
        if part.num_rows > 1 and size > 4 * BATCH_BYTES:
            half = part.num_rows // 2
            yield from _slices(source, part.slice(0, half), first + at)
            yield from _slices(source, part.slice(half), first + at + half)
        elif part.num_rows == 1 and size > LONGEST_ROW:
            hint = "Check that it is what you expect; one row is one example."
            yield source.finding("DATA-08", first + at, "the row is larger than 16 MiB.", hint)
        else:
            yield from _made(source, part, first + at)


def _bytes(batch: Any) -> int:
    # The values of a dictionary are made once, so its indices alone count.
    return sum(int(getattr(column, "indices", column).nbytes) for column in batch.columns)


def _made(source: Source, batch: Any, first: int) -> Iterator[Row | Finding]:
    names = batch.schema.names
    columns = [arrow_values.values(column) for column in batch.columns]
    for line, cells in enumerate(zip(*columns, strict=True), first):
        value = dict(zip(names, cells, strict=True))
        fault = arrow_values.fault_in(value)
        if fault is None:
            yield Row(value, line)
        else:
            path, why = fault
            yield source.finding(why.code, line, f"{show_name(path)}: {why.what}.", "Correct the value.")


@contextmanager
def reading(source: Source) -> Iterator[None]:
    """Tell what Arrow says of a damaged file as the one refusal it is."""
    import pyarrow as pa

    try:
        yield
    except EngineError:
        raise
    except (pa.ArrowException, ValueError, EOFError, OverflowError, MemoryError) as error:
        if "UTF8" in str(error) or isinstance(error, UnicodeDecodeError):
            hint = "Write its text, and the names of its columns, as UTF-8."
            raise _refused(source, "holds text that is not UTF-8.", "DATA-01", hint) from None
        raise _damaged(source, error) from None
    except OSError as error:
        if error.errno is not None:
            raise from_os_error(error, str(source.path)) from None
        raise _damaged(source, error) from None


def _damaged(source: Source, error: Exception) -> EngineError:
    why = show_name(str(error).partition("\n")[0], 120)
    return _refused(source, f"is damaged or cut off ({why}).", "DATA-12", DAMAGED_HINT)


def _refused(source: Source, what: str, code: str, hint: str) -> EngineError:
    return EngineError(f"{source.name} {what}", hint, code, file=str(source.path), line=1)


def _empty(source: Source) -> EngineError:
    return _refused(source, "has no rows.", "DATA-07", "Choose a file with at least one row.")


def _report(source: Source, code: str, what: str, hint: str = "", line: int = 1) -> Finding:
    return replace(source.finding(code, line, what, hint), severity="report")
