"""What is told about the data before it is trained on: repeated rows, hidden characters, addresses, keys."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.data import checks_text
from engine.data.batch import PARTS, Batch
from engine.data.characters import DIGIT, RIGHT_TO_LEFT, SCRIPTS, WORD, hidden_spans, marked, script_table
from engine.data.check import SHOWN, TEXT, Check, Place, shown
from engine.data.checks_found import contradictions, copies, near_copies, scripts, tallied
from engine.data.conversation import Conversation
from engine.data.labels import Labels
from engine.data.near import Doubles, NearIndex

__all__ = [
    "Check",
    "Checks",
    "NearIndex",
    "Place",
    "hidden_spans",
    "marked",
]

HEADS = 10_000
_BLANK = re.compile(r"[\s\u200b-\u200f\u2060\ufeff\u00ad]*")
_RTL = np.array([False] + [name in RIGHT_TO_LEFT for name, _ in SCRIPTS])


@dataclass
class _Tally:
    """Rows that have something, and the first places."""

    rows: int = 0
    places: list[Place] = field(default_factory=list)
    last: int = -1


class Checks:
    """Collects what is said about the data in one pass: `see` every row, `found` once at the end.

    About 96 bytes a row, beside 20 MB. The same rows in the same order always give the same.
    """

    def __init__(self, special_texts: frozenset[str] = frozenset()) -> None:
        self._near = NearIndex(self._look)
        self._finders: dict[str, checks_text.Finder] = {
            "keys": checks_text.keys,
            "cards": checks_text.cards,
            "emails": checks_text.emails,
            "phones": checks_text.phones,
            "hidden_characters": checks_text.hidden,
            "special_tokens": checks_text.special_finder(special_texts),
        }
        self._tallies = {name: _Tally() for name in (*self._finders, "empty_prompts")}
        self._files: list[str] = []
        self._file_starts: list[int] = []
        self._row_numbers, self._lines = array("I"), array("I")
        self._prompts = array("q")
        self._heads: list[str] = []
        self._labels = Labels()
        self._letters = np.zeros(len(SCRIPTS) + 1, np.int64)
        self._rtl_rows = 0
        self._doubles: Doubles | None = None

    def see(
        self, file: str, row: int, line: int, conversation: Conversation, ids: Sequence[int] | None = None
    ) -> None:
        """Take the next row: number `row` from 0, at `line`. Its text is looked at later."""
        number = len(self._lines)
        if not self._files or file != self._files[-1]:
            self._files.append(file)
            self._file_starts.append(number)
        self._row_numbers.append(row)
        self._lines.append(max(line, 0))
        other, question, answer = self._near.add(conversation)
        if number < HEADS:
            self._heads.append((question or answer)[:TEXT])
        if conversation.text is not None:
            self._prompts.append(0)
            return
        self._labels.see(answer)
        empty = _asks_nothing(conversation)
        self._prompts.append(0 if empty else hash((other, question)) or 1)
        if empty:
            self._note("empty_prompts", number, answer)

    def _place(self, number: int, text: str | None = None) -> Place:
        """Return the place of the row seen as number so-and-so."""
        file = self._files[bisect_right(self._file_starts, number) - 1]
        if text is None:
            text = self._heads[number] if number < len(self._heads) else ""
        return Place(file, self._row_numbers[number], self._lines[number], shown(text))

    def _note(self, name: str, number: int, text: str) -> None:
        tally = self._tallies[name]
        if number != tally.last:
            tally.last = number
            tally.rows += 1
            if len(tally.places) < SHOWN:
                tally.places.append(self._place(number, text))

    def _look(self, batch: Batch) -> None:
        """Search a batch of rows for all that is seen in the text itself."""
        for name, finder in self._finders.items():
            for first, last in sorted(finder(batch)):
                row = batch.row_at(first)
                self._note(name, batch.first + row, batch.around(row, first, last))
        letter = (batch.classes & (WORD | DIGIT)) == WORD
        self._letters[1] += np.count_nonzero(letter) - np.count_nonzero(letter.take(batch.beyond))
        of = script_table()[batch.codes.take(batch.beyond)]
        self._letters += np.bincount(of, minlength=len(self._letters))
        rtl = batch.beyond[_RTL[of]]
        if len(rtl):
            self._rtl_rows += len(np.unique(np.searchsorted(batch.offsets[PARTS::PARTS], rtl, side="right")))

    @property
    def doubles(self) -> Doubles:
        """Which of the rows seen repeat earlier ones. Nothing may be seen after it."""
        if self._doubles is None:
            self._doubles = self._near.finish()
        return self._doubles

    def found(self) -> list[Check]:
        """Return what was found, the worst first. Nothing may be seen after it."""
        near, doubles, place = self._near, self.doubles, self._place
        made = [tallied(n, t.rows, t.places) for n, t in self._tallies.items() if t.rows]
        made += copies(doubles, place) + near_copies(doubles, place)
        made += contradictions(np.array(self._prompts), near.keys(), near.parts, doubles, place)
        made += self._labels.found() + scripts(self._letters, self._rtl_rows)
        return sorted(made, key=lambda check: ("bad", "warn", "info").index(check.severity))


def _asks_nothing(conversation: Conversation) -> bool:
    """Say whether there is no question, or one of them is empty."""
    asked = False
    for message in conversation.messages:
        if message["role"] == "user":
            text = message["content"]
            if not text or ((text[0] <= " " or text[0] > "\x7f") and _BLANK.fullmatch(text)):
                return True
            asked = True
    return not asked
