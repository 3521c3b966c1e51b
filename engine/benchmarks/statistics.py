"""What scores and their differences are worth: standard errors, paired intervals, an exact test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SEED = 20260101
RESAMPLES = 10_000
AT_ONCE = 2_000_000  # counts drawn at a time
CONFIDENCE = 0.95
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """Two means over the same items, their difference and the interval that holds it with 95 % confidence.

    `p_value` is the exact two-sided McNemar test's where all values are 0 or 1, else None.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    n: int
    gained: int = 0
    lost: int = 0
    p_value: float | None = None


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and its standard error s / sqrt(n) with n - 1 in s; None for fewer than two values."""
    found = np.asarray(values, dtype=np.float64)
    if len(found) < 2:
        return float(found.mean()), None
    return float(found.mean()), float(found.std(ddof=1) / math.sqrt(len(found)))


def ratio_and_error(sums: Sequence[float], weights: Sequence[float]) -> tuple[float, float | None]:
    """Return sum(sums) / sum(weights) over items and its standard error (linearised ratio estimator)."""
    top, bottom = np.asarray(sums, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    ratio = float(top.sum() / bottom.sum())
    n = len(top)
    if n < 2:
        return ratio, None
    rest = top - ratio * bottom
    return ratio, float(math.sqrt(n / (n - 1) * float((rest**2).sum())) / bottom.sum())


def compare_means(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Compare second with first, item by item: a paired bootstrap with a fixed seed.

    Where all is right or wrong, the interval is widened to the exact one over the answers that changed: with
    few of them the bootstrap alone is too sure.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    moved = b - a
    low, high = _interval(len(a), lambda counts: counts @ moved / len(a))
    gained, lost, p_value = 0, 0, None
    if bool(np.isin(np.concatenate([a, b]), (0.0, 1.0)).all()):
        gained, lost = int((moved > 0).sum()), int((moved < 0).sum())
        p_value = mcnemar(gained, lost)
        exact = _exact_interval(gained, lost, len(a))
        low, high = min(low, exact[0]), max(high, exact[1])
    return Paired(
        float(a.mean()), float(b.mean()), float(moved.mean()), low, high, len(a), gained, lost, p_value
    )


def compare_ratios(
    first: tuple[Sequence[float], Sequence[float]], second: tuple[Sequence[float], Sequence[float]]
) -> Paired:
    """Compare two ratios of sums over the same items, such as losses a token, by a paired bootstrap."""
    (a, aw), (b, bw) = ([np.asarray(x, dtype=np.float64) for x in pair] for pair in (first, second))

    def difference(counts: Floats) -> Floats:
        return (counts @ b) / (counts @ bw) - (counts @ a) / (counts @ aw)

    low, high = _interval(len(a), difference)
    before, after = float(a.sum() / aw.sum()), float(b.sum() / bw.sum())
    return Paired(before, after, after - before, low, high, len(a))


def _interval(n: int, of: Callable[[Floats], Floats]) -> tuple[float, float]:
    """Return the percentile interval over items drawn with replacement; `of` takes counts [draws, n]."""
    chance = np.random.default_rng(SEED)
    found: list[Floats] = []
    step = max(1, min(RESAMPLES, AT_ONCE // n))
    for start in range(0, RESAMPLES, step):
        draws = min(step, RESAMPLES - start)
        found.append(of(chance.multinomial(n, np.full(n, 1.0 / n), size=draws).astype(np.float64)))
    edge = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(found), [edge, 1 - edge])
    return float(low), float(high)


def mcnemar(gained: int, lost: int) -> float:
    """Return the exact two-sided p-value: that many changes of one kind, were both kinds as likely."""
    changed = gained + lost
    fewer = min(gained, lost)
    return min(1.0, 2 * _below(fewer, changed, 0.5)) if changed else 1.0


def _exact_interval(gained: int, lost: int, n: int) -> tuple[float, float]:
    """Return the difference's interval from that of the share of gains among changes (Clopper-Pearson)."""
    changed = gained + lost
    if not changed:
        return 0.0, 0.0
    edge = (1 - CONFIDENCE) / 2
    least = 0.0 if not gained else _solve(lambda p: 1 - _below(gained - 1, changed, p), edge)
    most = 1.0 if not lost else _solve(lambda p: 1 - _below(gained, changed, p), 1 - edge)
    return (2 * least - 1) * changed / n, (2 * most - 1) * changed / n


def _solve(rising: Callable[[float], float], wanted: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2


def _below(most: int, n: int, p: float) -> float:
    """Return the chance of at most `most` hits in `n` tries of chance p."""
    if most < 0 or p >= 1.0:
        return float(most >= n)
    if p <= 0.0:
        return 1.0
    whole = math.lgamma(n + 1)
    return sum(
        math.exp(
            whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
        )
        for k in range(most + 1)
    )


def verdict(low: float, high: float, *, higher_is_better: bool = True) -> str:
    """Return better, worse, or that there is no clear difference: the interval holds zero."""
    if low <= 0.0 <= high:
        return "no clear difference"
    return "better" if (low > 0.0) == higher_is_better else "worse"
