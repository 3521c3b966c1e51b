"""Which rows are trained, held out and cut, against a plain loop that does the same row by row."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.select import Selection, cut_at, select
from engine.data.table import Table, TableMaker
from engine.errors import EngineError
from engine.recipe.data_options import DataOptions


def key(text: str) -> bytes:
    """Return 16 bytes for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def table_of(rows: list[tuple[int, int, list[tuple[int, int]], str]], raw: bool = False) -> Table:
    """Return the table of (source, length, trained ranges, content) rows."""
    made = TableMaker()
    for number, (source, length, ranges, content) in enumerate(rows):
        made.add(source, number, number + 1, length, ranges, key(content), key(content.lower()), raw)
    return made.done()


def many(count: int, seed: int = 0, source: int = 0) -> list[tuple[int, int, list[tuple[int, int]], str]]:
    """Return rows with one or two answers."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        length = rng.randint(4, 200)
        cuts = sorted(rng.sample(range(length + 1), 4))
        ranges = [(cuts[0], cuts[1]), (cuts[2], cuts[3])] if rng.random() < 0.5 else [(cuts[1], cuts[3])]
        rows.append((source, length, ranges, f"{source}-{i if rng.random() < 0.9 else i // 2}"))
    return rows


def options(**values: object) -> DataOptions:
    """Return a data section for one file without anything kept aside."""
    return DataOptions(**{"train": ["a"], "validation_split": 0.0, "max_length": 64, **values})


def pieces(found: Selection) -> list[tuple[int, int, int]]:
    """Return the training pieces as plain numbers."""
    train = found.train
    return list(zip(train.index.tolist(), train.start.tolist(), train.end.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    limit=st.integers(8, 220),
    how=st.sampled_from(["truncate", "drop", "split"]),
    raw=st.booleans(),
    dedupe=st.booleans(),
)
def test_that_the_pieces_are_those_of_a_plain_loop(
    seed: int, limit: int, how: str, raw: bool, dedupe: bool
) -> None:
    rows = many(60, seed)
    if raw:
        rows = [(s, n, [(0, n)], c) for s, n, _, c in rows]
    table = table_of(rows, raw)
    found = select(table, options(max_length=limit, too_long=how, dedupe=dedupe), 1)
    expected, seen, lost = [], set(), 0
    for i, (_, length, ranges, content) in enumerate(rows):
        trained = {t for a, b in ranges for t in range(max(1, a), b)}
        if not trained or (dedupe and content in seen):
            continue
        seen.add(content)
        if length <= limit:
            expected.append((i, 0, length))
        elif how == "split" and raw:
            expected += [
                (i, a, min(length, a + limit))
                for a in range(0, length, limit)
                if min(length, a + limit) - a > 1
            ]
        elif how != "drop" and any(t < limit for t in trained):
            expected.append((i, 0, limit))
        if how == "truncate" or how == "split" and not raw:
            lost += sum(t >= limit for t in trained)
    assert pieces(found) == expected
    assert found.cut_learnt == lost
    assert found.dropped == len(rows) - len({i for i, _, _ in expected})


def test_that_what_is_cut_is_told_for_any_length() -> None:
    rows = many(80, 5)
    table = table_of(rows)
    for limit in (8, 33, 100, 500):
        cut = cut_at(table, options(), limit)
        trained = [{t for a, b in r for t in range(max(1, a), b)} for _, _, r, _ in rows]
        usable = [(n, t) for (_, n, _, _), t in zip(rows, trained, strict=True) if t]
        assert cut.rows == sum(n > limit for n, _ in usable)
        assert cut.answer_tokens == sum(x >= limit for _, t in usable for x in t)
        assert cut.answer_share == pytest.approx(cut.answer_tokens / sum(len(t) for _, t in usable))
        assert cut.unlearnt == sum(n > limit and min(t) >= limit for n, t in usable)


def test_that_equal_rows_are_kept_aside_together() -> None:
    rows = [(0, 10, [(4, 10)], f"row {i % 40}") for i in range(200)]
    found = select(table_of(rows), options(validation_split=0.2), 3)
    train = {rows[i][3] for i in found.train.index}
    held = {rows[i][3] for i in found.validation.index}
    assert held and not train & held
    assert len(found.validation) == pytest.approx(40, abs=5)


def test_that_the_split_is_drawn_from_the_seed_and_not_from_the_order() -> None:
    rows = [(0, 10, [(4, 10)], f"row {i}") for i in range(100)]
    forward = select(table_of(rows), options(validation_split=0.2), 3)
    backward = select(table_of(rows[::-1]), options(validation_split=0.2), 3)
    other = select(table_of(rows), options(validation_split=0.2), 4)
    names = {rows[i][3] for i in forward.validation.index}
    assert names == {rows[::-1][i][3] for i in backward.validation.index}
    assert names != {rows[i][3] for i in other.validation.index}


def test_that_each_file_gets_its_share_and_no_row_comes_twice() -> None:
    rows = [(s, 10, [(4, 10)], f"{s} {i}") for s, n in ((0, 1000), (1, 1000), (2, 500)) for i in range(n)]
    data = options(train=["a", "b", "c"], sources={"a": {"share": 0.6}, "b": {"share": 0.2}})
    found = select(table_of(rows), data, 3)
    sources = np.array([rows[i][0] for i in found.train.index])
    counts = np.bincount(sources)
    assert counts[0] == 1000
    assert counts / counts.sum() == pytest.approx([0.6, 0.2, 0.2], abs=0.002)
    assert len(set(found.train.index.tolist())) == len(found.train)
    assert found.shared_out == 2500 - counts.sum()
    again = select(table_of(rows), data, 3)
    assert again.train.index.tolist() == found.train.index.tolist()


@pytest.mark.parametrize("shares", [{"a": 0.7, "b": 0.6}, {"a": 1.0}])
def test_that_shares_that_cannot_be_are_refused(shares: dict[str, float]) -> None:
    data = options(train=["a", "b"], sources={p: {"share": s} for p, s in shares.items()})
    rows = [(s, 10, [(4, 10)], f"{s} {i}") for s in (0, 1) for i in range(10)]
    with pytest.raises(EngineError) as caught:
        select(table_of(rows), data, 0)
    assert (caught.value.code, caught.value.field) == ("REC-01", "data.sources")


def test_d40_that_validation_rows_that_are_trained_on_are_counted_and_left_out_when_asked() -> None:
    rows = [(0, 10, [(4, 10)], f"Row {i}") for i in range(30)]
    rows += [(1, 10, [(4, 10)], f"ROW {i}") for i in range(25, 35)]
    keep = select(table_of(rows), options(validation="v"), 0)
    drop = select(table_of(rows), options(validation="v", overlap="drop"), 0)
    assert (keep.overlap, len(keep.validation)) == (5, 10)
    assert (drop.overlap, len(drop.validation)) == (5, 5)
    assert len(drop.train) == 30


def test_that_near_duplicates_are_left_out_only_when_asked() -> None:
    made = TableMaker()
    for i in range(10):
        made.add(0, i, i + 1, 10, [(4, 10)], key(f"row {i}"), key(f"row {i}"))
    made.mark_near(4)
    table = made.done()
    assert (select(table, options(), 0).near_duplicates, len(select(table, options(), 0).train)) == (1, 10)
    dropped = select(table, options(near_duplicates="drop"), 0)
    assert 4 not in dropped.train.index and len(dropped.train) == 9


def test_that_an_empty_table_gives_nothing() -> None:
    found = select(TableMaker().done(), options(validation_split=0.1), 0)
    assert len(found.train) == len(found.validation) == found.dropped == 0
