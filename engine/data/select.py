"""Which rows are trained, which are measured on, and how each is cut: a pure function of table and recipe.

The window shows its figures and training obeys it, so both are the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.options import options_for
from engine.data.table import Bools, Ints, Table, repeats
from engine.errors import EngineError

FEWEST_ROWS = 20


@dataclass(frozen=True, eq=False)
class Pieces:
    """Sequences as training gets them: tokens [start, end) of row `index` of the table."""

    index: Ints
    start: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.index)

    @property
    def lengths(self) -> Ints:
        """Return the tokens of each piece."""
        return np.asarray(self.end - self.start)


@dataclass(frozen=True, eq=False)
class Cut:
    """What a longest length does to the training rows: how many are longer, what of the answers is lost."""

    limit: int
    rows: int
    answer_tokens: int
    answer_share: float
    unlearnt: int


@dataclass(frozen=True, eq=False)
class Selection:
    """The outcome, with the rows left out by reason; `dropped` is all of them together.

    `duplicates`, `near_duplicates` and `overlap` are counted whether or not they are left out. `unlearnt` are
    the table's rows of which nothing is learnt once they are cut, `whole` says that nothing is kept aside.
    """

    train: Pieces
    validation: Pieces
    duplicates: int
    near_duplicates: int
    overlap: int
    truncated: int
    cut_learnt: int
    dropped: int
    shared_out: int
    unlearnt: Ints
    overlapping: Ints
    too_few: bool


def select(table: Table, data: Any, seed: int) -> Selection:
    """Decide over all rows; `seed` is the run's. Raises EngineError REC-01 for shares that cannot be."""
    seed = seed if data.split_seed is None else data.split_seed
    trained_files = table.source < len(data.train)
    usable = table.learnt > 0
    asked = usable & trained_files
    near = table.near & asked  # with the copies of such rows
    doubles = np.where(near, False, _repeated(table, asked))
    kept = asked & ~(doubles & data.dedupe) & ~(near & (data.near_duplicates == "drop"))
    mixed = kept & shared(table, kept, data, seed)
    held_file = usable & ~trained_files
    overlap = overlapping(table, held_file, kept)
    held = held_file.copy()
    if data.overlap == "drop":
        held &= ~overlap
    if data.dedupe:
        held &= ~_repeated(table, held_file)
    fits = _fits(table, data)
    few = False
    if data.validation is None:
        candidates = np.flatnonzero(mixed & fits)
        chosen, few = kept_aside(table, candidates, data.validation_split, seed)
        train, aside = _pieces(table, np.flatnonzero(mixed & fits & ~chosen), data), chosen & fits
    else:
        train, aside = _pieces(table, np.flatnonzero(mixed & fits), data), held & fits
    validation = _pieces(table, np.flatnonzero(aside), data)
    used = mixed | held
    long = used & (table.length > data.max_length)
    cut = long if data.too_long == "truncate" else _no(table)
    if data.too_long == "split":
        cut = long & ~table.raw
    lost = int(table.learnt_beyond(data.max_length)[cut].sum()) if cut.any() else 0
    unlearnt = np.flatnonzero(used & ~fits) if data.too_long != "drop" else np.zeros(0, dtype=np.int64)
    rows_out = len(np.unique(train.index)) + len(np.unique(validation.index))
    return Selection(
        train=train,
        validation=validation,
        duplicates=int(doubles.sum()),
        near_duplicates=int(near.sum()),
        overlap=int(overlap.sum()),
        truncated=int(cut.sum()),
        cut_learnt=lost,
        dropped=len(table) - rows_out,
        shared_out=int((kept & ~mixed).sum()),
        unlearnt=unlearnt,
        overlapping=np.flatnonzero(overlap),
        too_few=few,
    )


def cut_at(table: Table, data: Any, limit: int) -> Cut:
    """Return what cutting at `limit` tokens does to all training rows that can be learnt from."""
    rows = (table.source < len(data.train)) & (table.learnt > 0)
    long = rows & (table.length > limit)
    lost = int(table.learnt_beyond(limit)[long].sum()) if long.any() else 0
    whole = int(table.learnt[rows].sum())
    unlearnt = int((long & (table.first >= limit)).sum())
    return Cut(limit, int(long.sum()), lost, lost / max(1, whole), unlearnt)


def overlapping(table: Table, held: Bools, trained: Bools) -> Bools:
    """Return the held-out rows that are trained on too, equal but for case and blanks."""
    if not held.any() or not len(table.fold):
        return _no(table)
    known = np.unique(_joined(table.fold[trained]))
    return held & np.isin(_joined(table.fold), known)


def _joined(keys: NDArray[np.uint64]) -> NDArray[np.bytes_]:
    return np.ascontiguousarray(keys).view(np.dtype("S16")).reshape(-1)


def _repeated(table: Table, rows: Bools) -> Bools:
    """Return the rows that are the same as an earlier one of `rows`."""
    found = _no(table)
    places = np.flatnonzero(rows)
    if len(places):
        found[places] = repeats(table.key[places])
    return found


def _no(table: Table) -> Bools:
    return np.zeros(len(table), dtype=np.bool_)


def _fits(table: Table, data: Any) -> Bools:
    """Say of each row whether something of it is learnt within the longest length."""
    limit, long = data.max_length, table.length > data.max_length
    if data.too_long == "drop":
        return np.asarray(~long)
    reached = np.asarray(~long | (table.first < limit))
    return np.asarray(reached | table.raw) if data.too_long == "split" else reached


def _pieces(table: Table, rows: Ints, data: Any) -> Pieces:
    """Cut rows to the longest length, raw text into several pieces where the recipe says so."""
    limit = data.max_length
    lengths = table.length[rows].astype(np.int64)
    if data.too_long != "split":
        return Pieces(rows, np.zeros_like(lengths), np.minimum(lengths, limit))
    raw = table.raw[rows]
    counts = np.where(raw, np.maximum(1, -(-lengths // limit)), 1)
    index = np.repeat(rows, counts)
    order = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    start = order * limit
    end = np.minimum(np.repeat(lengths, counts), start + limit)
    keep = end - start > 1  # one token alone teaches nothing
    return Pieces(index[keep], start[keep], end[keep])


def draws(table: Table, seed: int, purpose: str) -> NDArray[np.uint64]:
    """Return a number for each row, drawn from the seed and its own tokens: equal rows, equal numbers."""
    salt = hashlib.blake2b(f"{seed}-{purpose}".encode(), digest_size=8).digest()
    with np.errstate(over="ignore"):
        mixed = table.key[:, 0] ^ np.frombuffer(salt, dtype=np.uint64)[0]
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def kept_aside(table: Table, rows: Ints, share: float, seed: int) -> tuple[Bools, bool]:
    """Return (rows to measure on, are there too few to keep any aside). Equal rows go to the same side."""
    chosen = _no(table)
    if share <= 0 or not len(rows):
        return chosen, False
    if len(rows) < FEWEST_ROWS:
        return chosen, True
    wanted = max(1, round(len(rows) * share))
    drawn = draws(table, seed, "validation")[rows]
    last = np.partition(drawn, wanted - 1)[wanted - 1]
    aside = rows[drawn <= last]
    if len(aside) > len(rows) // 2:  # nearly all rows are the same: there is nothing to keep apart
        aside = rows[np.argsort(drawn, kind="stable")[:wanted]]
    chosen[aside] = True
    return chosen, False


def shared(table: Table, rows: Bools, data: Any, seed: int) -> Bools:
    """Leave rows out until each file has its share of the training rows; no row is ever repeated.

    Files without a share keep the rest, in proportion to their size.
    """
    shares = [options_for(data, path).share for path in data.train]
    if all(share is None for share in shares):
        return np.ones(len(table), dtype=np.bool_)
    counts = [int((rows & (table.source == i)).sum()) for i in range(len(shares))]
    targets = _targets(shares, counts)
    drawn = draws(table, seed, "share")
    chosen = np.zeros(len(table), dtype=np.bool_)
    for i, target in enumerate(targets):
        places = np.flatnonzero(rows & (table.source == i))
        chosen[np.sort(places[np.lexsort((places, drawn[places]))][:target])] = True
    return chosen


def _targets(shares: list[float | None], counts: list[int]) -> list[int]:
    given = sum(s for s in shares if s is not None)
    free = sum(c for s, c in zip(shares, counts, strict=True) if s is None)
    if given > 1 + 1e-9 or (any(s is None for s in shares) and given > 1 - 1e-9):
        raise EngineError(
            f"The shares of the files come to {given:.0%}.",
            "Let them come to 100 %, or to less where one file has no share of its own.",
            "REC-01",
            field="data.sources",
        )
    rest = 1.0 - given if any(s is None for s in shares) else 0.0
    scale = given + rest  # shares below 100 % in all are taken in proportion
    bounds = [c * scale / s for s, c in zip(shares, counts, strict=True) if s is not None]
    total = min([*bounds, free * scale / rest] if rest > 0 else bounds)
    found = []
    for share, count in zip(shares, counts, strict=True):
        part = share if share is not None else rest * count / max(1, free)
        found.append(min(count, round(total * part / scale)))
    return found
