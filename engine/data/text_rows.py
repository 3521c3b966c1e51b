"""Plain text and Markdown as rows: whole paragraphs gathered to pieces of a few hundred words."""

from __future__ import annotations

from collections.abc import Iterator

from engine.data.lines import text_lines
from engine.data.rows import Finding, Row
from engine.data.source import Source
from engine.data.tally import Tally

PIECE_CHARACTERS = 2000
LONGEST_PIECE = 4000


def text_pieces(source: Source) -> Iterator[Row | Finding]:
    """Yield pieces that end at a blank line if they can; all but the last say that the text goes on.

    A line that cannot be used is a finding, and the text goes on behind it.
    """
    tally = Tally(source)
    held: Row | None = None
    for piece, line in _pieces(source, tally):
        if isinstance(piece, Finding):
            yield piece
            continue
        if held is not None:
            yield Row(held.value, held.line, continues=True)
        held = Row(piece, line)
    if held is not None:
        yield held
    yield from tally.findings()


def _pieces(source: Source, tally: Tally) -> Iterator[tuple[str | Finding, int]]:
    gathered: list[str] = []
    size, first = 0, 1
    for number, raw, problem in text_lines(source, tally):
        if problem is not None:
            yield problem, number
            continue
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
    at = 0
    while len(line) - at > LONGEST_PIECE:
        end = line.rfind(" ", at + LONGEST_PIECE // 2, at + LONGEST_PIECE) + 1 or at + LONGEST_PIECE
        yield line[at:end]
        at = end
    yield line[at:]
