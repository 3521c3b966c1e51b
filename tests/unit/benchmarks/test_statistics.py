"""Errors and intervals against closed formulas, and what the verdict says of them."""

from __future__ import annotations

import math
import random

import pytest

from engine.benchmarks import statistics


def test_that_the_error_of_a_mean_is_lm_evals() -> None:
    values = [1.0] * 30 + [0.0] * 10
    mean, error = statistics.mean_and_error(values)
    assert mean == 0.75
    assert error == pytest.approx(math.sqrt(0.75 * 0.25 / 39))
    assert statistics.mean_and_error([1.0]) == (1.0, None)


def test_that_the_error_of_a_ratio_is_that_of_the_mean_where_weights_are_equal() -> None:
    ratio, error = statistics.ratio_and_error([1.0, 2.0, 6.0, 3.0], [1.0] * 4)
    mean, wanted = statistics.mean_and_error([1.0, 2.0, 6.0, 3.0])
    assert ratio == mean
    assert error == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("gained", "lost", "p"), [(0, 0, 1.0), (5, 0, 0.0625), (3, 3, 1.0), (1, 8, 0.0390625)]
)
def test_that_the_exact_test_is_the_binomial_one(gained: int, lost: int, p: float) -> None:
    assert statistics.mcnemar(gained, lost) == pytest.approx(p)


def test_that_no_change_is_no_clear_difference() -> None:
    same = [1.0, 0.0] * 20
    paired = statistics.compare_means(same, same)
    assert (paired.difference, paired.low, paired.high, paired.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert statistics.verdict(paired.low, paired.high) == "no clear difference"


def test_that_a_few_lucky_answers_are_no_clear_difference() -> None:
    # Five of 200 became right, none wrong: the bootstrap alone would call that sure.
    paired = statistics.compare_means([0.0] * 200, [1.0] * 5 + [0.0] * 195)
    assert (paired.gained, paired.lost) == (5, 0)
    assert paired.low <= 0.0 < paired.high
    assert statistics.verdict(paired.low, paired.high) == "no clear difference"


def test_that_many_answers_that_turned_are_a_difference_and_its_sign_is_told() -> None:
    before, after = [1.0] * 60 + [0.0] * 40, [1.0] * 35 + [0.0] * 65
    paired = statistics.compare_means(before, after)
    assert paired.difference == pytest.approx(-0.25)
    assert paired.low < -0.25 < paired.high < 0.0
    assert statistics.verdict(paired.low, paired.high) == "worse"
    assert statistics.verdict(paired.low, paired.high, higher_is_better=False) == "better"
    assert paired == statistics.compare_means(before, after)  # the seed is fixed


def test_that_the_interval_of_a_mean_is_the_normal_one_for_many_items() -> None:
    chance = random.Random(1)
    first = [chance.gauss(0, 1) for _ in range(400)]
    second = [value + chance.gauss(0.1, 0.5) for value in first]
    paired = statistics.compare_means(first, second)
    mean, error = statistics.mean_and_error([b - a for a, b in zip(first, second, strict=True)])
    assert error is not None
    assert paired.p_value is None
    assert paired.low == pytest.approx(mean - 1.96 * error, abs=0.15 * error)
    assert paired.high == pytest.approx(mean + 1.96 * error, abs=0.15 * error)


def test_that_ratios_are_compared_with_their_weights() -> None:
    weights = [1.0, 9.0] * 50
    before, after = [2.0 * w for w in weights], [1.5 * w for w in weights]
    paired = statistics.compare_ratios((before, weights), (after, weights))
    assert (paired.first, paired.second) == (2.0, 1.5)
    assert paired.low == pytest.approx(-0.5)
    assert paired.high == pytest.approx(-0.5)
