"""What an evaluation's items come to: scores with their errors, base against adapter, what was forgotten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from engine.benchmarks import statistics
from engine.benchmarks.spec import LOWER_IS_BETTER, Benchmark
from engine.benchmarks.statistics import Paired
from engine.runs.evaluations import Comparison, Forgetting, Item, Score, Verdict, Who

WHO: tuple[Who, Who] = ("base", "adapter")


def scores_of(benchmark: str, metrics: Sequence[str], items: Sequence[Item]) -> list[Score]:
    """Return every metric of a benchmark for base and adapter; what no item has is left out."""
    found = []
    for who in WHO:
        values = [item.values.get(who, {}) for item in items]
        for metric in metrics:
            if metric in ("loss", "perplexity"):
                score = _loss(benchmark, metric, values, who)
            else:
                score = _mean(benchmark, metric, values, who)
            found += [score] if score is not None else []
    return found


def _mean(benchmark: str, metric: str, values: Sequence[dict[str, float]], who: Who) -> Score | None:
    known = [each[metric] for each in values if metric in each]
    if not known:
        return None
    mean, error = statistics.mean_and_error(known)
    return Score(benchmark=benchmark, metric=metric, value=mean, stderr=error, n=len(known), target=who)


def _loss(benchmark: str, metric: str, values: Sequence[dict[str, float]], who: Who) -> Score | None:
    known = [each for each in values if each.get("tokens")]
    if not known:
        return None
    loss, error = statistics.ratio_and_error([e["nll"] for e in known], [e["tokens"] for e in known])
    if metric == "perplexity":  # the error of exp(loss), to the first order
        loss = math.exp(min(loss, 700.0))
        error = None if error is None else loss * error
    return Score(benchmark=benchmark, metric=metric, value=loss, stderr=error, n=len(known), target=who)


def comparisons_of(benchmark: str, metrics: Sequence[str], items: Sequence[Item]) -> list[Comparison]:
    """Return base against adapter on the items that both answered; perplexity says no more than loss."""
    found = []
    for metric in metrics:
        if metric == "perplexity":
            continue
        needed = "tokens" if metric == "loss" else metric
        both = [i for i in items if all(i.values.get(who, {}).get(needed) is not None for who in WHO)]
        if not both:
            continue
        if metric == "loss":
            sums = [
                ([i.values[who]["nll"] for i in both], [i.values[who]["tokens"] for i in both]) for who in WHO
            ]
            paired = statistics.compare_ratios(*sums)
        else:
            paired = statistics.compare_means(*([i.values[who][metric] for i in both] for who in WHO))
        found.append(_comparison(benchmark, metric, paired))
    return found


def _comparison(benchmark: str, metric: str, paired: Paired) -> Comparison:
    higher = metric not in LOWER_IS_BETTER
    return Comparison(
        benchmark=benchmark,
        metric=metric,
        base=paired.first,
        adapter=paired.second,
        difference=paired.difference,
        low=paired.low,
        high=paired.high,
        verdict=cast(Verdict, statistics.verdict(paired.low, paired.high, higher_is_better=higher)),
        wrong_to_right=paired.gained,
        right_to_wrong=paired.lost,
        n=paired.n,
        p_value=paired.p_value,
        higher_is_better=higher,
    )


def forgetting_of(benchmarks: Sequence[Benchmark], items: Sequence[Item]) -> Forgetting | None:
    """Return what became of general skills: red where the interval of the fall lies below zero.

    None where the general set was not answered by both.
    """
    names = {each.name for each in benchmarks if each.forgetting}
    both = [i for i in items if i.benchmark in names and all(who in i.right for who in WHO)]
    if not both:
        return None
    paired = statistics.compare_means(*([float(i.right[who]) for i in both] for who in WHO))
    red = paired.high < 0.0
    before, after = (sum(i.right[who] for i in both) for who in WHO)
    return Forgetting(
        state="red" if red else "green",
        base=paired.first,
        adapter=paired.second,
        difference=paired.difference,
        low=paired.low,
        high=paired.high,
        n=paired.n,
        wrong_to_right=paired.gained,
        right_to_wrong=paired.lost,
        message=_in_words(before, after, paired, red),
    )


def _in_words(before: int, after: int, paired: Paired, red: bool) -> str:
    told = f"{before} of {paired.n} general questions were right before, {after} are after: "
    band = f"95 % lie between {100 * paired.low:+.1f} and {100 * paired.high:+.1f} points"
    if red:
        return told + f"general skills fell by {-100 * paired.difference:.1f} points ({band})."
    if paired.low > 0.0:
        return told + f"general skills grew by {100 * paired.difference:.1f} points ({band})."
    return told + f"no clear difference ({band})."
