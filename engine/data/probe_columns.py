"""What a Parquet or Arrow file must bear before anything of ours opens it: schema, first rows, batches."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute  # noqa: F401  (lists are taken apart by it)
import pyarrow.parquet as parquet  # noqa: F401

from engine.data import arrow_rows
from engine.data.options import ReadOptions
from engine.data.source import peek

FIRST_ROWS = 100
READ_SECONDS = 0.3  # of processor time; about 100 MiB of text


def one_thread() -> None:
    """Let Arrow begin no threads in this process: their stacks would count against its address space."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def look(path: Path) -> dict[str, Any]:
    """Return how many rows were read and whether they are all; raises the EngineError of a refused file.

    The first rows become values as they will be; further batches are read and checked as far as time allows.
    """
    until = time.process_time() + READ_SECONDS
    source = peek(path)
    found = arrow_rows.look(source, ReadOptions())
    number = sum(1 for _ in islice(arrow_rows.rows(source, found), FIRST_ROWS))
    if time.process_time() > until:
        return {"rows": number, "whole": False}
    with arrow_rows.reading(source):
        for first, batch in arrow_rows.batches(source, found.detail, 0):
            arrow_rows.checked(source, batch.select(list(found.detail.names)))
            number = first + batch.num_rows
            if time.process_time() > until:
                return {"rows": number, "whole": False}
    return {"rows": number, "whole": True}
