"""How one answer counts: log-likelihoods of choices, and texts against what was expected.

The formulas of the choice tasks are lm-evaluation-harness's, so that scores on the same items are equal.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.benchmarks.patterns import matches
from engine.benchmarks.questions import Question
from engine.benchmarks.spec import Benchmark

LONGEST_ANSWER = 8000  # characters; what follows is not compared
# A number anywhere, as lm-eval's "flexible-extract" finds it; and the one after GSM8K's mark.
_NUMBER = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_MARKED = re.compile(r"#### (-?[0-9.,]+)")
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Likelihood:
    """One ending: the sum of its tokens' log-probabilities in nats, how many, and whether greedy takes it."""

    total: float
    tokens: int
    greedy: bool = False


@dataclass(frozen=True)
class Judged:
    """An answer in words with its metrics; `right` is None where nothing is right or wrong."""

    answer: str
    values: dict[str, float]
    right: bool | None = None


def judge_choice(benchmark: Benchmark, question: Question, found: Sequence[Likelihood]) -> Judged:
    """Judge a choice or a minimal pair by the log-likelihoods of its endings.

    acc takes the likeliest, acc_norm the likeliest by character of the choice, mc2 is the share of the
    probability that right choices have. The first of equals is taken.
    """
    totals = [each.total for each in found]
    taken = _first_best(totals)
    values: dict[str, float] = {}
    if "acc" in benchmark.metrics:
        values["acc"] = float(taken in question.right)
    if "acc_norm" in benchmark.metrics:
        by_length = [t / max(1, len(c)) for t, c in zip(totals, question.choices, strict=True)]
        values["acc_norm"] = float(_first_best(by_length) in question.right)
    if "mc2" in benchmark.metrics:
        highest = max(totals)
        shares = [math.exp(t - highest) for t in totals]
        values["mc2"] = sum(shares[i] for i in question.right) / sum(shares)
    first: str = benchmark.metrics[0]
    return Judged(question.choices[taken], values, None if first == "mc2" else values[first] == 1.0)


def _first_best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda i: values[i])


def judge_completion(question: Question, found: Likelihood) -> Judged:
    """Judge an expected continuation: right where greedy decoding would have written it."""
    shown = question.expected if found.greedy else f"(another; {math.exp(found.total):.2g} for the right one)"
    return Judged(shown, {"acc": float(found.greedy)}, found.greedy)


def judge_loss(found: Likelihood) -> Judged:
    """Judge a text by how likely its tokens are: loss in nats a token."""
    mean = -found.total / max(1, found.tokens)
    return Judged("", {"nll": -found.total, "tokens": float(found.tokens), "loss": mean})


def judge_text(benchmark: Benchmark, question: Question, answer: str) -> Judged:
    """Judge a written answer by each metric of the benchmark; `passed` is the question's own check.

    json_valid counts only where JSON is expected.
    """
    answer = answer[:LONGEST_ANSWER]
    values: dict[str, float] = {}
    for name in benchmark.metrics:
        if name == "passed":
            check = question.check or ("exact" if question.expected else "none")
            if check != "none":
                values[name] = float(CHECKS[check](answer, question.expected))
        elif question.expected and (name != "json_valid" or is_json(question.expected)):
            values[name] = float(TEXT_METRICS[name](answer, question.expected))
    first = values.get(benchmark.metrics[0])
    return Judged(answer, values, None if first is None else first == 1.0)


def plain_text(text: str) -> str:
    """Return a text as `exact_match` compares it: lower case, one blank between words, no full stop."""
    return " ".join(text.lower().split()).rstrip(".").rstrip()


def has_words(answer: str, expected: str) -> bool:
    """Return whether whole words of the expected text stand in the answer, one behind the other."""
    wanted = re.escape(plain_text(expected))
    return re.search(rf"(?<!\w){wanted}(?!\w)", plain_text(answer)) is not None


def is_json(text: str) -> bool:
    """Return whether a text is one JSON object or list."""
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def last_number(text: str) -> str:
    """Return the last number of a text without $ and commas, empty where there is none."""
    found = _NUMBER.findall(text)
    return _bare(next((part for part in found[-1] if part), "")) if found else ""


def _bare(number: str) -> str:
    return re.sub(r"\.$", "", number.replace(",", "").replace("$", ""))


def _same_number(answer: str, expected: str) -> bool:
    wanted = _expected_number(expected)
    return wanted != "" and last_number(answer) == wanted


def _expected_number(expected: str) -> str:
    marked = _MARKED.search(expected)
    return _bare(marked[1]) if marked else last_number(expected)


def _same_marked_number(answer: str, expected: str) -> bool:
    marked = _MARKED.search(answer)
    return marked is not None and _bare(marked[1]) == _expected_number(expected)


def words_of(text: str) -> list[str]:
    """Return the words of a text as ROUGE counts them; other scripts than Latin by character."""
    found = []
    for piece in re.findall(r"\w+", text.lower()):
        found += _WORD.findall(piece) if piece.isascii() else list(piece)
    return found


def rouge_l(answer: str, expected: str) -> float:
    """Return the F-measure of the longest common subsequence of words (Lin, 2004), 0 to 1."""
    mine, wanted = words_of(answer)[:2000], words_of(expected)[:2000]
    common = _longest_common(mine, wanted)
    return 2 * common / (len(mine) + len(wanted)) if common else 0.0


def _longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for j, other in enumerate(b, 1):
            above = row[j]
            row[j] = before + 1 if word == other else max(above, row[j - 1])
            before = above
    return row[-1]


def token_f1(answer: str, expected: str) -> float:
    """Return the F-measure of shared words, as SQuAD counts it but with articles left in, 0 to 1."""
    mine, wanted = Counter(words_of(answer)), Counter(words_of(expected))
    if not mine or not wanted:
        return float(mine == wanted)
    shared = (mine & wanted).total()
    return 2 * shared / (mine.total() + wanted.total())


TEXT_METRICS: dict[str, Callable[[str, str], float | bool]] = {
    "exact_match": lambda answer, expected: plain_text(answer) == plain_text(expected),
    "contains": has_words,
    "last_number": _same_number,
    "marked_number": _same_marked_number,
    "json_valid": lambda answer, expected: is_json(answer),
    "rouge_l": rouge_l,
    "f1": token_f1,
}
CHECKS: dict[str, Callable[[str, str], bool]] = {
    "exact": lambda answer, expected: plain_text(answer) == plain_text(expected),
    "contains": has_words,
    "json": lambda answer, expected: is_json(answer) and (not expected or _same_json(answer, expected)),
    "regex": matches,
}


def _same_json(answer: str, expected: str) -> bool:
    """Return whether two texts are the same JSON; an expected text that is none asks for valid JSON only."""
    return not is_json(expected) or bool(json.loads(answer) == json.loads(expected))
