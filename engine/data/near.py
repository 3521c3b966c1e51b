"""Rows that are nearly the same as an earlier one, by MinHash over runs of three words.

One hash a run of words; the smallest hash of each of 128 bins is kept to 4 bits (64 bytes a row). Bins that
are filled in neither of two rows do not count, so that the signatures of short rows compare as their sets do.
P. Li, A. Owen, C.-H. Zhang, One Permutation Hashing (2012).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.data.batch import CHARACTERS, LONGEST_PART, PARTS, ROWS, Batch, Parts, make_batch, parts_of
from engine.data.characters import SOLO, WORD
from engine.data.conversation import Conversation
from engine.data.near_search import BINS, find_near

MOST_ROWS = 2_000_000
WORDS = 3
COMMON_ROWS = 10
COMMON_SHARE = 0.05
SHORT_PART = 8
_SLOT_BITS = 17
_STEP = np.uint64(0x9E3779B97F4A7C15)
_BACK = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
U64 = NDArray[np.uint64]


@dataclass(frozen=True)
class Doubles:
    """Which rows repeat earlier ones, by their number in the order they were added; -1: none.

    `copy_of`: the first row equal in every character. `near_to`: the earlier, kept row it is nearly the same
    as; a copy of such a row is so too. `capped`: rows after the two millionth were compared as copies only.
    """

    copy_of: NDArray[np.int64]
    near_to: NDArray[np.int64]
    capped: bool


class NearIndex:
    """Collects rows and says in the end which repeat an earlier one: 80 bytes a row and 10 MB.

    What stands in one row of twenty (and in ten or more of five hundred) is a template and does not count.
    Nearly the same are two rows only if the question's last line and the answer are each alike as well, short
    ones the same: questions about one passage are not.
    The result depends on the rows and their order alone: whoever adds the same rows in the same order finds
    the same.
    """

    def __init__(self, on_batch: Callable[[Batch], None] | None = None) -> None:
        self._on_batch = on_batch
        self._waiting: list[Parts] = []
        self._characters = 0
        self.rows = 0
        self._keys = array("q")
        self._signatures: list[NDArray[np.uint8]] = []
        self._parts: list[U64] = []
        self._signed = 0
        self._room = np.empty(CHARACTERS + 1, np.uint64)
        self._common = np.zeros(1 << _SLOT_BITS, np.bool_)

    def add(self, conversation: Conversation) -> Parts:
        """Take the next row."""
        parts = parts_of(conversation)
        self._keys.append(hash((parts, conversation.untrained) if conversation.untrained else parts))
        self._waiting.append(parts)
        self._characters += len(parts[0]) + len(parts[1]) + len(parts[2])
        self.rows += 1
        if len(self._waiting) >= ROWS or self._characters >= CHARACTERS:
            self._flush()
        return parts

    def _flush(self) -> None:
        if not self._waiting:
            return
        batch = make_batch(self.rows - len(self._waiting), self._waiting)
        self._waiting, self._characters = [], 0
        if self._signed < MOST_ROWS:
            signatures, parts = self._sign(batch)
            self._signatures.append(signatures)
            self._parts.append(parts)
            self._signed += batch.rows
        if self._on_batch is not None:
            self._on_batch(batch)

    def _sign(self, batch: Batch) -> tuple[NDArray[np.uint8], U64]:
        """Return (signatures [rows, 64], those of question and answer alone [rows])."""
        hashes, part = shingles(batch, self._room)
        row = part // PARTS
        slots = (hashes >> np.uint64(64 - _SLOT_BITS)).astype(np.int64)
        often = max(COMMON_ROWS, int(batch.rows * COMMON_SHARE))
        self._common |= np.bincount(slots, minlength=1 << _SLOT_BITS) >= often
        common = self._common.take(slots)
        bare = np.bincount(row, ~common, batch.rows) == 0  # nothing but templates: all of it counts
        common &= ~bare.take(row)
        own = np.flatnonzero(~common)
        asked = np.flatnonzero(part % PARTS >= PARTS - 2)
        place = 2 * row.take(asked) + part.take(asked) % 2  # of the last line asked, of the answer
        parts = _sign_parts(hashes.take(asked), place, batch.rows)
        return _pack(_smallest(hashes.take(own), row.take(own), batch.rows, BINS)), parts

    @property
    def parts(self) -> U64:
        """The signatures of last lines asked (lower half) and answers: equal where the words are the same."""
        return np.concatenate(self._parts) if self._parts else np.zeros(0, np.uint64)

    def keys(self) -> NDArray[np.int64]:
        """Return a number a row, the same for rows equal in every character (and for no others)."""
        return np.array(self._keys, np.int64)

    def finish(self) -> Doubles:
        """Look at what is still waiting, and say which rows repeat which; nothing may be added after it."""
        self._flush()
        copy_of = first_of_equals(self.keys())
        near_to = np.full(self.rows, -1, np.int64)
        unique = np.flatnonzero(copy_of[: self._signed] < 0)
        if len(unique) > 1:
            signatures = np.concatenate(self._signatures)
            found = find_near(signatures, self.parts, unique)
            near_to[: self._signed] = found
            near_to[copy_of >= 0] = near_to[copy_of[copy_of >= 0]]
        return Doubles(copy_of, near_to, self.rows > self._signed)


def first_of_equals(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each key the place of the first equal one before it, or -1."""
    found = np.full(len(keys), -1, np.int64)
    if len(keys) < 2:
        return found
    order = np.argsort(keys, kind="stable")
    equal = keys[order[1:]] == keys[order[:-1]]
    starts = np.flatnonzero(np.concatenate(([True], ~equal)))
    first = np.repeat(order[starts], np.diff(np.append(starts, len(keys))))
    again = order != first
    found[order[again]] = first[again]
    return found


@cache
def _powers(size: int) -> tuple[U64, U64]:
    """Return the powers of a step and of its inverse modulo 2^64."""
    one = np.ones(1, np.uint64)
    forth = np.concatenate((one, np.full(size - 1, _STEP, np.uint64))).cumprod(dtype=np.uint64)
    back = np.concatenate((one, np.full(size - 1, _BACK, np.uint64))).cumprod(dtype=np.uint64)
    return forth, back


def shingles(batch: Batch, room: U64 | None = None) -> tuple[U64, NDArray[np.int64]]:
    """Return (hash, part) of the three words that begin at each word of the questions and answers.

    Upper and lower case are the same, punctuation and blanks do not count; in scripts without blanks each
    character is a word. The last two words of a part begin shorter runs. `room` is written over if it is as
    long as the text: large arrays are dear to ask of the system again and again.
    """
    solo = (batch.classes & SOLO) != 0
    inside = (batch.classes & WORD) != 0
    written = np.flatnonzero(solo | inside)  # taking by number is four times as fast as by truth
    starts = solo | inside
    starts[1:] &= ~(inside[1:] & inside[:-1])
    edges = np.array(batch.offsets, np.int64)
    at = edges[:-1][edges[:-1] < len(starts)]
    starts[at] |= inside[at]
    codes = batch.codes.take(written)
    first = np.flatnonzero(starts.take(written))
    if not len(first):
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    words = np.searchsorted(np.flatnonzero(starts), edges)
    counts = np.diff(words)
    part = np.repeat(np.arange(len(counts)), counts)
    ends = np.minimum(np.arange(WORDS, len(first) + WORDS), np.repeat(words[1:], counts))
    bounds = np.append(first, len(codes))
    forth, back = _powers(CHARACTERS if len(codes) <= CHARACTERS else 4 * LONGEST_PART + CHARACTERS)
    if room is None or len(room) <= len(codes):
        room = np.empty(len(codes) + 1, np.uint64)
    room[0] = 0
    sums = room[: len(codes) + 1]
    np.multiply(codes, forth[: len(codes)], out=sums[1:])
    np.cumsum(sums[1:], out=sums[1:])
    wanted = np.flatnonzero(part % PARTS > 0)
    if len(wanted) < len(part):
        first, ends, part = first.take(wanted), ends.take(wanted), part.take(wanted)
    return _mixed((sums.take(bounds.take(ends)) - sums.take(first)) * back.take(first)), part


def _mixed(hashes: U64) -> U64:
    """Spread what differs over all bits (the finisher of MurmurHash3)."""
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xFF51AFD7ED558CCD)
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xC4CEB9FE1A85EC53)
    hashes ^= hashes >> np.uint64(33)
    return hashes


def _smallest(hashes: U64, row: NDArray[np.int64], rows: int, bins: int) -> NDArray[np.uint8]:
    """Return 1 to 15 for the smallest hash of each bin, 0 for an empty bin: [rows, bins]."""
    found = np.full(rows * bins, 0xFFFFFFFF, np.uint32)
    bits = bins.bit_length() - 1
    places = row * bins + (hashes >> np.uint64(64 - bits)).astype(np.int64)
    np.minimum.at(found, places, (hashes >> np.uint64(16)).astype(np.uint32))
    marks = (found % np.uint32(15) + np.uint32(1)).astype(np.uint8)
    marks[found == 0xFFFFFFFF] = 0
    return marks.reshape(rows, bins)


def _pack(marks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return marks[:, ::2] | (marks[:, 1::2] << np.uint8(4))


def _sign_parts(hashes: U64, place: NDArray[np.int64], rows: int) -> U64:
    """Return 32 bits for place 2 * row (the question's last line) and 32 for the next (the answer).

    Seven bins of 4 bits above a 0; of a part of fewer than eight words the hash of it all above a 1.
    """
    packed = _pack(_smallest(hashes, place, 2 * rows, 8)).view(np.uint32).reshape(-1)
    packed &= ~np.uint32(15)
    sums = np.zeros(2 * rows, np.uint64)
    np.add.at(sums, place, hashes)
    counts = np.bincount(place, minlength=2 * rows)
    short = np.flatnonzero((counts > 0) & (counts < SHORT_PART))
    packed[short] = (_mixed(sums[short]).astype(np.uint32) & ~np.uint32(15)) | np.uint32(1)
    return packed.view(np.uint64)
