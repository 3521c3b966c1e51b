"""How answers count, against values worked out by hand and the formulas of lm-evaluation-harness."""

from __future__ import annotations

import math

import pytest

from engine.benchmarks.patterns import matches, why_not
from engine.benchmarks.questions import Question
from engine.benchmarks.scoring import (
    Likelihood,
    judge_choice,
    judge_completion,
    judge_loss,
    judge_text,
    last_number,
    rouge_l,
    token_f1,
)
from engine.benchmarks.spec import benchmarks


def likelihoods(*totals: float) -> list[Likelihood]:
    """Return endings of these sums."""
    return [Likelihood(total, 3) for total in totals]


def test_that_acc_takes_the_likeliest_and_acc_norm_the_likeliest_by_character() -> None:
    question = Question(0, "?", "?", ("no", "a very long answer"), (1,), "a very long answer")
    judged = judge_choice(benchmarks()["arc-easy"], question, likelihoods(-4.0, -9.0))
    assert judged.values == {"acc": 0.0, "acc_norm": 1.0}  # -4 / 2 < -9 / 18
    assert judged.answer == "no"
    assert judged.right is False


def test_that_mc2_is_the_share_of_probability_on_right_answers() -> None:
    question = Question(0, "?", "?", ("a", "b", "c"), (0, 2))
    totals = (-700.0, -701.0, -702.0)  # exp of these is nothing in float32
    judged = judge_choice(benchmarks()["truthfulqa-mc2"], question, likelihoods(*totals))
    shares = [1.0, math.exp(-1), math.exp(-2)]
    assert judged.values["mc2"] == pytest.approx((shares[0] + shares[2]) / sum(shares), abs=1e-12)
    assert judged.right is None


def test_that_a_completion_counts_where_greedy_decoding_writes_it() -> None:
    question = Question(0, "?", "?", expected="79")
    assert judge_completion(question, Likelihood(-0.4, 2, True)).right is True
    assert judge_completion(question, Likelihood(-0.1, 2, False)).right is False


def test_that_loss_is_told_a_token() -> None:
    assert judge_loss(Likelihood(-6.0, 4)).values == {"nll": 6.0, "tokens": 4.0, "loss": 1.5}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so she has 5 + 13 = 18 apples.", "18"),
        ("That is $1,234.50.", "1234.50"),
        ("minus: -7", "-7"),
        ("It takes 3.", "3"),
        ("none at all", ""),
    ],
)
def test_that_the_last_number_is_found_as_flexible_extract_finds_it(text: str, number: str) -> None:
    assert last_number(text) == number


def test_that_gsm8k_compares_with_the_number_behind_the_mark() -> None:
    question = Question(0, "?", "?", expected="2 + 3 = <<2+3=5>>5 and 1,000 more\n#### 1,005")
    judged = judge_text(benchmarks()["gsm8k"], question, "So 1005 in all.")
    assert judged.values == {"last_number": 1.0, "marked_number": 0.0}
    assert judge_text(benchmarks()["gsm8k"], question, "#### 1,005 or 7").values["marked_number"] == 1.0


def test_that_rouge_l_and_f1_equal_their_formulas() -> None:
    # Longest common subsequence "the cat the mat" of 4, with 6 and 6 words: 2 * 4 / 12.
    assert rouge_l("the cat sat on the mat", "the cat is at the mat") == pytest.approx(8 / 12)
    assert rouge_l("", "a") == 0.0
    # Shared: a, b of (a, b, b) and (a, a, b): 2 * 2 / 6.
    assert token_f1("a b b", "a a b") == pytest.approx(4 / 6)
    assert token_f1("", "") == 1.0


@pytest.mark.parametrize(
    ("check", "expected", "answer", "right"),
    [
        ("exact", "Paris", " paris. ", True),
        ("exact", "Paris", "It is Paris", False),
        ("contains", "no", "I do not know", False),
        ("contains", "no", "No, it is not.", True),
        ("json", "", '{"a": 1}', True),
        ("json", '{"a": 1, "b": 2}', '{"b": 2, "a": 1}', True),
        ("json", '{"a": 1}', '{"a": 2}', False),
        ("json", "", "{a: 1}", False),
        ("regex", r"\bCAT\b", "the CAT", True),
        ("regex", r"\bCAT\b", "the cat", False),
        ("regex", "(", "(", False),
    ],
)
def test_that_a_test_is_checked_as_it_says(check: str, expected: str, answer: str, right: bool) -> None:
    question = Question(0, "?", "?", expected=expected, check=check)
    assert judge_text(benchmarks()["own-tests"], question, answer).right is right


def test_that_a_test_without_a_check_says_neither_right_nor_wrong() -> None:
    judged = judge_text(benchmarks()["own-tests"], Question(0, "?", "?", check="none"), "anything")
    assert judged.right is None
    assert judged.values == {}


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a*)*b", "(a|b+)*c", "x" * 501])
def test_that_a_pattern_that_could_take_for_ever_is_found_nowhere(pattern: str) -> None:
    assert why_not(pattern)
    assert not matches("a" * 40 + "!", pattern)


@pytest.mark.parametrize("pattern", [r"^\d{2,4}$", r"(yes|no)", r"[a-z]+ [0-9]*", r"(?i)paris\.?"])
def test_that_usual_patterns_are_taken(pattern: str) -> None:
    assert not why_not(pattern)
