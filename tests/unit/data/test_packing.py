"""Packs: every example once, none too full, and as few as can be."""

from __future__ import annotations

import random

import pytest

from engine.data.order import epoch_order, pack, packed_order
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runtime.timetable import make_timetable

LENGTHS = tuple(random.Random(3).choices(range(8, 300), k=500))


@pytest.mark.parametrize("best_fit", [True, False])
def test_that_every_example_stands_in_one_pack_that_is_not_too_full(best_fit: bool) -> None:
    packs = pack(LENGTHS, 512, best_fit)
    assert sorted(i for each in packs for i in each) == list(range(len(LENGTHS)))
    assert max(sum(LENGTHS[i] for i in each) for each in packs) <= 512


def test_that_best_fit_wastes_next_to_nothing() -> None:
    packs = pack(LENGTHS, 512)
    assert len(packs) <= 1.02 * sum(LENGTHS) / 512 + 1
    assert len(packs) < len(pack(LENGTHS, 512, False))


def test_that_an_example_longer_than_a_pack_stands_alone() -> None:
    assert pack((600, 10, 10), 512) == ((0,), (1, 2))


def test_that_packs_in_file_order_keep_the_order() -> None:
    batches = packed_order(LENGTHS, 512, 1, 0, 2, shuffle=False)
    assert [i for batch in batches for i in batch] == list(range(len(LENGTHS)))


def test_that_a_packed_epoch_is_a_pure_function_of_seed_and_epoch() -> None:
    first = packed_order(LENGTHS, 512, 7, 0, 4)
    assert first == packed_order(LENGTHS, 512, 7, 0, 4)
    assert first != packed_order(LENGTHS, 512, 7, 1, 4)
    assert sorted(i for batch in first for i in batch) == list(range(len(LENGTHS)))


def test_that_packing_changes_the_steps_of_a_run() -> None:
    plain = codec.override(Recipe(), {"data.train": ["a"], "data.max_length": 512})
    packed = codec.override(plain, {"data.packing": True})
    lengths = list(LENGTHS)
    without, with_packs = make_timetable(plain, lengths), make_timetable(packed, lengths)
    assert with_packs.total_steps < without.total_steps
    seen = [i for s in range(1, with_packs.total_steps + 1) for b in with_packs.micro_batches(s) for i in b]
    assert sorted(seen) == list(range(len(lengths)))
    assert without.micro_batches(1) == epoch_order(lengths, 42, 0, 8)[:1]
