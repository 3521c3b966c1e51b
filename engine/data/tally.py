"""What a reader accepts and only tells: one finding a kind and file, with its count and its first line."""

from __future__ import annotations

from collections.abc import Iterator

from engine.data.rows import Finding
from engine.data.source import Source

# What is said of one and of many; `{n}` is how many.
_SAYS: dict[str, tuple[str, str]] = {
    "blank": ("a blank line between rows was passed over", "{n} blank lines between rows were passed over"),
    "bom": (
        "a byte order mark stands before this row (were files joined?); it was left out",
        "byte order marks stand before {n} rows (were files joined?); they were left out",
    ),
    "control": ("a row holds control characters", "{n} rows hold control characters"),
    "header": (
        "the header stands here again and was left out",
        "the header stands here again {n} times",
    ),
    "mended": (
        "a stray quote inside a cell was read as spreadsheets do",
        "{n} rows with stray quotes inside cells were read as spreadsheets do",
    ),
    "joined": (
        "another JSON value follows the first; its rows were read too",
        "{n} JSON values follow the first; their rows were read too",
    ),
}


class Tally:
    """The counts of one reading."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._seen: dict[str, tuple[int, int]] = {}

    def note(self, kind: str, line: int, count: int = 1) -> None:
        """Count something that begins on `line`."""
        first, before = self._seen.get(kind, (line, 0))
        self._seen[kind] = (first, before + count)

    def passed(self, line: int, blank: int) -> int:
        """Count blank lines before `line`; return 0, the number of those that wait to be counted."""
        self.note("blank", line - blank, blank)
        return 0

    def findings(self) -> Iterator[Finding]:
        """Yield what is told at the end of a file."""
        for kind, (line, count) in self._seen.items():
            one, many = _SAYS[kind]
            said = one if count == 1 else f"{many.format(n=f'{count:,}')}; this is the first"
            yield self._source.report(f"{said}.", line)
