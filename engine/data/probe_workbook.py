"""What a workbook must bear before anything of ours opens it: every part parsed, the first rows read."""

from __future__ import annotations

import contextlib
import time
from itertools import islice
from pathlib import Path
from typing import Any
from xml.parsers import expat

from engine.data import xlsx_rows
from engine.data.options import ReadOptions
from engine.data.source import Source, peek
from engine.data.xlsx_book import CHUNK, ERRORS, MAX_TOKEN_BYTES, Book, Damaged, refused
from engine.errors import EngineError

FIRST_ROWS = 500
PARSE_SECONDS = 5.0


def look(path: Path) -> dict[str, Any]:
    """Return its number of sheets; raises EngineError DATA-08 or DATA-12 for one that may not be used."""
    source = peek(path)
    try:
        with Book(source) as book:
            sheets = len(book.sheets)
            parsed = _parse_parts(book)
    except ERRORS as error:
        raise refused(source, error) from None
    _read_rows(source)
    return {"sheets": sheets, "parsed_bytes": parsed}


def _parse_parts(book: Book) -> int:
    """Let the parser see every part, as far as time allows; returns the bytes it saw."""
    until = time.process_time() + PARSE_SECONDS
    seen = 0
    for name in book.names:
        if not name.endswith((".xml", ".rels")):
            continue
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _typed
        fed = 0
        with book.part(name) as file, contextlib.suppress(expat.ExpatError):
            while piece := file.read(CHUNK):
                parser.Parse(piece, False)
                fed += len(piece)
                seen += len(piece)
                if fed - max(0, parser.CurrentByteIndex) > MAX_TOKEN_BYTES:
                    raise Damaged("it holds a name or a mark longer than 1 MiB")
                if time.process_time() > until:
                    return seen
    return seen


def _typed(*_: object) -> None:
    raise Damaged("it holds a document type, which can hide a bomb")


def _read_rows(source: Source) -> None:
    """Read the first rows; that there are none, or which sheet to choose, is told to the person later."""
    with contextlib.suppress(EngineError):
        found = xlsx_rows.look(source, ReadOptions())
        for _ in islice(xlsx_rows.rows(source, found), FIRST_ROWS):
            continue
