"""How the rows of a step are dealt out: each once, as many and as long ones to every rank."""

from __future__ import annotations

import numpy as np
import pytest

from engine.data.dataset import Example
from engine.runtime.ranks import Ranks, Told


def example(length: int, row: int) -> Example:
    trained = np.zeros(length, dtype=bool)
    trained[length // 2 :] = True
    return Example(np.arange(length, dtype=np.int32), trained, row, 0)


LENGTHS = [30, 4, 17, 90, 8, 8, 45, 21, 60, 12, 33, 5, 77, 9, 14, 26]
ROWS = [example(length, row) for row, length in enumerate(LENGTHS)]


@pytest.mark.parametrize("world", [2, 3, 4, 8])
def test_that_each_row_goes_to_one_rank_and_the_work_is_even(world: int) -> None:
    shares = [Ranks(rank, world).share(ROWS) for rank in range(world)]
    assert sorted(e.row for share in shares for e in share) == list(range(len(ROWS)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert all(list(share) == sorted(share, key=lambda e: e.row) for share in shares)  # in their order
    loads = [sum(len(e.ids) for e in share) for share in shares]
    assert max(loads) - min(loads) <= max(LENGTHS)


def test_that_the_tokens_of_a_step_are_those_of_all_ranks() -> None:
    micro = [ROWS[:5], ROWS[5:6]]
    alone = Ranks().portion(micro)
    assert alone.micro is micro
    portions = [Ranks(rank, 2).portion(micro) for rank in range(2)]
    assert {(p.tokens, p.supervised) for p in portions} == {(alone.tokens, alone.supervised)}
    assert [len(p.micro) for p in portions] == [2, 1]  # one rank has no row of the second


def test_that_a_rank_of_a_sharded_model_never_goes_without_a_row() -> None:
    left = Ranks(1, 2, sharded=True).share(ROWS[:1])
    assert len(left) == 1 and not left[0].trained.any() and len(left[0].ids) == 2
    assert Ranks(1, 2).share(ROWS[:1]) == []


@pytest.mark.parametrize("sharded", [False, True])
def test_that_all_ranks_take_as_many_turns(sharded: bool) -> None:
    batches = [ROWS[:3], ROWS[3:6], ROWS[6:9]]
    turns = [Ranks(rank, 2, sharded).turns(batches) for rank in range(2)]
    assert [len(t) for t in turns] == [2, 2]
    assert turns[0] == [batches[0], batches[2]] and turns[1][0] == batches[1]
    assert [e.trained.any() for e in turns[1][1]] == ([False] if sharded else [])


def test_that_dropout_is_drawn_anew_for_every_micro_batch_of_every_rank() -> None:
    numbers = [Ranks(rank, 3).turn(n) for n in range(4) for rank in range(3)]
    assert numbers == list(range(12))


def test_that_one_process_sends_nothing() -> None:
    alone, told = Ranks(), Told(1.5, 10, (2,))
    with alone.rank_0_first():  # none of these would do without a group of processes
        assert alone.agree({"command": "stop"}) == {"command": "stop"}
    assert alone.add_up([], told) is told
    assert alone.gather([1.0, 2.0]) == [[1.0, 2.0]]
    assert alone.turns([ROWS]) == [ROWS] and alone.even([ROWS]) == [ROWS]
    alone.leave()
