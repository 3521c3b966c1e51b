"""What an evaluation says, in the words, bars and colours of its page; and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from app.i18n import duration, loss, number
from app.widgets.changed_list import ChangedLine
from app.widgets.paired_bars import Bar, PairLine
from engine.benchmarks.spec import GENERAL, LM_EVAL, LOWER_IS_BETTER, benchmarks
from engine.encoders import markdown as markdown_text
from engine.runs.evaluation_offers import GENERAL_LABEL, Offer
from engine.runs.evaluations import Comparison, Evaluation, Forgetting, Item, Results, Score

METRICS = {
    "acc": "right",
    "acc_norm": "right, by length",
    "mc2": "share of right answers",
    "exact_match": "exact match",
    "last_number": "last number right",
    "marked_number": "marked number right",
    "contains": "holds the expected words",
    "passed": "checks passed",
    "json_valid": "valid JSON",
    "rouge_l": "ROUGE-L",
    "f1": "words in common (F1)",
    "loss": "loss a token",
    "perplexity": "perplexity",
}
Z95 = 1.959964  # standard errors to either side that hold 95 % of a normal distribution
EXACT_FROM = 500  # questions, from which a tenth of a point means something
MOST_WORDS = 1500  # of an answer that are compared
PIECES = re.compile(r"\s+|\w+|[^\w\s]")
Segments = list[tuple[str, bool]]


def label_of(name: str) -> str:
    """Return what a benchmark is called."""
    if name == GENERAL:
        return GENERAL_LABEL
    known = benchmarks().get(name)
    return known.label if known is not None else name.removeprefix(LM_EVAL)


def metric_words(metric: str) -> str:
    """Return what a metric counts."""
    return METRICS.get(metric, metric)


def questions(count: int) -> str:
    """Return a count of questions."""
    return "1 question" if count == 1 else f"{number(count)} questions"


def is_share(metric: str) -> bool:
    """Return whether a metric is a share of 1, told in percent."""
    return metric not in LOWER_IS_BETTER


def value_words(value: float, metric: str, n: int) -> str:
    """Return a score as 62, 62.4 (percent) or 1.234."""
    return number(100 * value, 1 if n >= EXACT_FROM else 0) if is_share(metric) else loss(value)


def change_words(each: Comparison) -> str:
    """Return the paired difference with the interval that holds it."""
    if each.low == each.high == 0.0:
        return "the same on every question"
    if is_share(each.metric):
        low, high = (f"{100 * end:+.1f}" for end in (each.low, each.high))
        return f"{100 * each.difference:+.1f} points, 95 %: {low} to {high}"
    return f"{each.difference:+.3f}, 95 %: {each.low:+.3f} to {each.high:+.3f}"


def bar_lines(results: Results) -> list[PairLine]:
    """Return a line for each metric of each benchmark, in the order they were measured."""
    lines: list[PairLine] = []
    for name in results.benchmarks:
        compared = [each for each in results.comparisons if each.benchmark == name]
        scores = [each for each in results.scores if each.benchmark == name]
        seen = {each.metric for each in compared}
        found = [_compared(each, scores) for each in compared]
        if not compared:
            found += [_alone(each) for each in scores if each.metric not in seen]
        lines += found[:1] + [_follower(line) for line in found[1:]]
    return lines


def summary(results: Results) -> str:
    """Return in how many metrics the adapter is better, worse, or neither for sure."""
    counts = {verdict: 0 for verdict in ("better", "worse", "no clear difference")}
    for each in results.comparisons:
        counts[each.verdict] += 1
    said = [f"{words} in {number(count)}" for words, count in counts.items() if count]
    return ", ".join(said)[:1].upper() + ", ".join(said)[1:]


def _follower(line: PairLine) -> PairLine:
    return PairLine(
        line.id,
        "",
        line.second.rpartition(" · ")[0] or line.second,
        line.base,
        line.adapter,
        line.figures,
        line.verdict,
        line.change,
        line.spoken,
    )


def _compared(each: Comparison, scores: Sequence[Score]) -> PairLine:
    of = {score.target: score for score in scores if score.metric == each.metric}
    most = _axis([of[who] for who in of]) or 1.0
    unit = " %" if is_share(each.metric) else ""
    values = [value_words(value, each.metric, each.n) for value in (each.base, each.adapter)]
    label, change = label_of(each.benchmark), change_words(each)
    return PairLine(
        id=each.benchmark,
        label=label,
        second=f"{_second_words(each.metric)} · {questions(each.n)}",
        base=_bar(of.get("base"), each.base, most),
        adapter=_bar(of.get("adapter"), each.adapter, most),
        figures=f"{values[0]} → {values[1]}{unit}",
        verdict=each.verdict,
        change=change,
        spoken=f"{label}, {metric_words(each.metric)}: base {values[0]}{unit}, adapter {values[1]}{unit}, "
        f"{each.verdict} ({change}; {questions(each.n)}).",
    )


def _second_words(metric: str) -> str:
    """Return what is said under a benchmark's name; that of a loss names it already."""
    return "lower is better" if metric == "loss" else metric_words(metric)


def _alone(score: Score) -> PairLine:
    most, unit = _axis([score]), " %" if is_share(score.metric) else ""
    words = f"{value_words(score.value, score.metric, score.n)}{unit}"
    bar, label = _bar(score, score.value, most), label_of(score.benchmark)
    return PairLine(
        id=score.benchmark,
        label=label,
        second=f"{_second_words(score.metric)} · {questions(score.n)}",
        base=bar if score.target == "base" else None,
        adapter=bar if score.target == "adapter" else None,
        figures=words,
        spoken=f"{label}, {metric_words(score.metric)}: {score.target} {words} ({questions(score.n)}).",
    )


def _axis(scores: Sequence[Score]) -> float:
    """Return what the whole width of a line stands for."""
    if not scores or is_share(scores[0].metric):
        return 1.0
    return max(each.value + Z95 * (each.stderr or 0.0) for each in scores) * 1.04


def _bar(score: Score | None, value: float, most: float) -> Bar:
    share = max(0.0, min(1.0, value / most))
    if not (score is not None and score.stderr):  # none, or all answers alike: it would look exact
        return Bar(share)
    low, high = value - Z95 * score.stderr, value + Z95 * score.stderr
    return Bar(share, max(0.0, low / most), min(1.0, high / most))


# -- what was forgotten --------------------------------------------------------------------------------------
def forgetting_title(forgetting: Forgetting | None) -> tuple[str, str]:
    """Return the kind of the card (ok, bad, info) and what it says first."""
    if forgetting is None:
        return "info", "Forgetting is not checked yet"
    if forgetting.state == "red":
        return "bad", "Something was forgotten"
    grown = forgetting.low > 0.0
    return "ok", "General skills grew" if grown else "No clear loss of general skills"


def forgetting_evidence(results: Results) -> list[tuple[str, str]]:
    """Return what each part of the general set came to, the largest fall first: words and verdict."""
    general = {name for name, each in benchmarks().items() if each.forgetting}
    found = [each for each in results.comparisons if each.benchmark in general and each.p_value is not None]
    return [
        (
            f"{label_of(each.benchmark)}: {value_words(each.base, each.metric, each.n)} → "
            f"{value_words(each.adapter, each.metric, each.n)} % of {number(each.n)}",
            each.verdict,
        )
        for each in sorted(found, key=lambda each: each.difference)
    ]


# -- answers that changed ------------------------------------------------------------------------------------
def changed_line(item: Item) -> ChangedLine:
    """Return a changed answer on a line each."""
    before, after = (_one_line(item.answers.get(who, "")) for who in ("base", "adapter"))
    return ChangedLine(_one_line(item.prompt), before, after, item.change == "wrong to right")


def _one_line(text: str) -> str:
    return " ".join(text[:400].split()) or "(nothing)"


def word_differences(first: str, second: str) -> tuple[Segments, Segments]:
    """Return both texts in pieces, each with whether the other one lacks it."""
    a, b = PIECES.findall(first), PIECES.findall(second)
    head_a, head_b = a[:MOST_WORDS], b[:MOST_WORDS]
    left: Segments = []
    right: Segments = []
    matcher = SequenceMatcher(None, head_a, head_b, autojunk=False)
    for kind, begin, end, other, last in matcher.get_opcodes():
        left.append(("".join(head_a[begin:end]), kind != "equal"))
        right.append(("".join(head_b[other:last]), kind != "equal"))
    left.append(("".join(a[MOST_WORDS:]), False))
    right.append(("".join(b[MOST_WORDS:]), False))
    return [part for part in left if part[0]], [part for part in right if part[0]]


# -- before it is measured -----------------------------------------------------------------------------------
BASES = {
    "measured": "as measured before",
    "ledger": "by what this machine's runs measured",
    "formula": "by the plan's formula, nothing was measured here yet",
    "": "",
}


def time_words(seconds: float | None) -> str:
    """Return an estimate, as coarse as it is."""
    if seconds is None:
        return ""
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"about {round(seconds / 10) * 10} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def offer_figures(offer: Offer, limit: int | None, speakers: int) -> tuple[str, str]:
    """Return how many questions are asked, and how long that takes."""
    if offer.problem:
        return "", ""
    counts = [part.asked(limit) for part in offer.parts]
    asked = sum(counts) if offer.name == GENERAL else max(counts, default=0)
    whole = questions(offer.questions)
    counted = whole if asked >= offer.questions else f"{number(asked)} of {whole}"
    return counted, time_words(offer.seconds(limit, speakers))


def all_seconds(offers: Sequence[Offer], start: float, limit: int | None, speakers: int) -> float | None:
    """Return how long some offers take together; None where one of them is not known."""
    found = [offer.seconds(limit, speakers) for offer in offers]
    if not found or any(each is None for each in found):
        return None
    return start + sum(each or 0.0 for each in found)


# -- to take along -------------------------------------------------------------------------------------------
def about(results: Results) -> str:
    """Return how it was measured, in a line."""
    parts = [duration(results.seconds), f"{results.device} {results.dtype}".strip()]
    if results.limit is not None:
        parts.append(f"the first {number(results.limit)} questions of each")
    return " · ".join(part for part in parts if part)


def markdown(evaluation: Evaluation) -> str:
    """Return the results as a table with what was forgotten and left out."""
    results = evaluation.results
    assert results is not None
    head = f"**{markdown_text(results.target)}** against **{markdown_text(results.base)}** ({about(results)})"
    rows = ["| benchmark | metric | questions | base | adapter | difference | 95 % | verdict |"]
    rows.append("|---|---|--:|--:|--:|--:|--:|---|")
    for each in results.comparisons:
        factor, decimals, unit = (100, 1, " %") if is_share(each.metric) else (1, 3, "")
        base, adapter = (f"{factor * value:.{decimals}f}{unit}" for value in (each.base, each.adapter))
        moved, low, high = (
            f"{factor * value:+.{decimals}f}" for value in (each.difference, each.low, each.high)
        )
        label, metric = markdown_text(label_of(each.benchmark)), markdown_text(metric_words(each.metric))
        band = f"{low} to {high}"
        rows.append(
            f"| {label} | {metric} | {each.n} | {base} | {adapter} | {moved} | {band} | {each.verdict} |"
        )
    compared = {each.benchmark for each in results.comparisons}
    for score in (s for s in results.scores if s.benchmark not in compared):
        told = f"{100 * score.value:.1f} %" if is_share(score.metric) else f"{score.value:.3f}"
        base, adapter = (told if score.target == who else "" for who in ("base", "adapter"))
        label, metric = markdown_text(label_of(score.benchmark)), markdown_text(metric_words(score.metric))
        rows.append(f"| {label} | {metric} | {score.n} | {base} | {adapter} | | | |")
    lines = [head, "", *rows]
    if results.forgetting is not None:
        said = markdown_text(results.forgetting.message, 400)
        lines += ["", f"Forgetting check ({results.forgetting.state}): {said}"]
    lines += [
        f"Left out: {markdown_text(label_of(each.benchmark))}. {markdown_text(each.message, 400)}"
        for each in results.left_out
    ]
    return "\n".join(lines) + "\n"
