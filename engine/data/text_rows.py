"""Plain text and Markdown as rows: whole paragraphs gathered to pieces of a few hundred words."""

from __future__ import annotations

from collections.abc import Iterator

from engine.data.rows import Row
from engine.data.source import Source, text_lines

PIECE_CHARACTERS = 2000
LONGEST_PIECE = 4000


def text_pieces(source: Source) -> Iterator[Row]:
    """Yield pieces that end at a blank line if they can; all but the last say that the text goes on."""
    held: Row | None = None
    for piece, line in _pieces(source):
        if held is not None:
            yield Row(held.value, held.line, continues=True)
        held = Row(piece, line)
    if held is not None:
        yield held


def _pieces(source: Source) -> Iterator[tuple[str, int]]:
    gathered: list[str] = []
    size, first = 0, 1
    for number, raw in text_lines(source):
        line = raw.replace("\r\n", "\n")
        if not gathered:
            if line.isspace():
                continue
            first = number
        full = size >= PIECE_CHARACTERS and line.isspace()
        if full or size + len(line) > LONGEST_PIECE and gathered:
            yield "".join(gathered), first
            gathered, size, first = [], 0, number
            if line.isspace():
                continue
        for part in _cut(line):
            if size + len(part) > LONGEST_PIECE and gathered:
                yield "".join(gathered), first
                gathered, size, first = [], 0, number
            gathered.append(part)
            size += len(part)
    if "".join(gathered).strip():
        yield "".join(gathered), first


def _cut(line: str) -> Iterator[str]:
    """Cut a line that is longer than a piece, at blanks where there are some."""
    while len(line) > LONGEST_PIECE:
        at = line.rfind(" ", LONGEST_PIECE // 2, LONGEST_PIECE) + 1 or LONGEST_PIECE
        yield line[:at]
        line = line[at:]
    yield line
