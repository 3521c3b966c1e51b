"""The seals of a run: six judgements, each green or red with its figures, or not measured.

Every seal is a pure function of the run's events, so it is the same live, replayed and in the library. None
is green unless something was measured that could have turned it red.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from engine.encoders import markdown as markdown_of
from engine.events import Seal

if TYPE_CHECKING:
    from engine.runs.history import RunHistory

State = Literal["green", "red", "unmeasured"]
STATE_WORDS = {"green": "green", "red": "red", "unmeasured": "not measured"}

MOST_UNLEARNT = 0.1  # of the rows: more of them without a trained token is red
LEAST_KL = {"float32": 1e-4, "bfloat16": 1e-3}  # nats a token; below it nobody could tell the two apart
FEWEST_STEPS = 10  # before them the loss is not judged
STEPS_COMPARED = 200  # at most so many at each end of the loss
FALL_IN_ERRORS = 2.0  # a fall counts when it is so many standard errors of the two means
COARSE = 0.05  # where that is more than this share of the loss, too few steps were taken to tell
RISE = 0.02  # of the lowest validation loss
LEAST_RISE = 0.005  # nats: near zero a share says nothing
MOST_CUT = 0.05  # of the answers
LEAST_ENDED = 0.5  # of the sample answers
ROOM_FOR_ANSWER = 0.75  # a sample is judged when the data's answer needs at most this share of its tokens


@dataclass(frozen=True)
class _Case:
    """What is judged: a run's history, whether it is over, and the step of its result, where there is one."""

    history: RunHistory
    over: bool
    result_step: int | None


def judge(history: RunHistory, result_step: int | None = None) -> tuple[Seal, ...]:
    """Return the six seals of a run as its events stand, always in the same order.

    `result_step` is the step of the result that is about to be made, before the event that ends the run.
    """
    if result_step is None and history.finished is not None:
        result_step = history.finished.adapter_step
    over = result_step is not None or history.state in ("finished", "stopped", "failed")
    case = _Case(history, over, result_step)
    return tuple(check(case) for check in _CHECKS)


def worst(seals: Iterable[Seal]) -> State:
    """Return red if one is red, green if one is green and none is red, else unmeasured."""
    states = {seal.state for seal in seals}
    return "red" if "red" in states else "green" if "green" in states else "unmeasured"


def in_words(seals: Sequence[Seal]) -> str:
    """Return the seals in one line: how many are green, and which are red."""
    red = [seal.label for seal in seals if seal.state == "red"]
    green = sum(seal.state == "green" for seal in seals)
    words = f"{green} of {len(seals)} green"
    return f"{words}, {len(red)} red ({', '.join(red)})" if red else words


def told(event: Mapping[str, Any]) -> tuple[Seal, ...]:
    """Return the seals of a `sealed` event as it stands in the log, none where it cannot be read."""
    found = event.get("seals")
    try:
        return tuple(Seal.model_validate(each) for each in found) if isinstance(found, list) else ()
    except ValidationError:
        return ()


def markdown(seals: Sequence[Seal]) -> str:
    """Return the seals as a table for the model card."""
    told = ((markdown_of(s.label), STATE_WORDS[s.state], markdown_of(s.evidence, 400)) for s in seals)
    rows = [f"| {label} | {state} | {evidence} |" for label, state, evidence in told]
    return "\n".join(["| seal | | evidence |", "|---|---|---|", *rows])


def _seal(
    name: str, state: State, evidence: str, hint: str = "", figures: Mapping[str, float | None] | None = None
) -> Seal:
    return Seal(
        name=name,
        state=state,
        label=LABELS[name][state == "red"],
        evidence=evidence[:400],
        hint=hint if state == "red" else "",
        figures=dict(figures or {}),
    )


# name: (as it should be, as it is when red)
LABELS: dict[str, tuple[str, str]] = {
    "trained_tokens": ("Tokens are trained", "Too little is trained"),
    "effect": ("Training changes the model", "Training changes nothing"),
    "finite": ("Every number is a number", "Not a number"),
    "loss": ("The loss fell", "The loss did not fall"),
    "validation": ("Validation does not rise", "Validation rises"),
    "answers": ("Answers come to their end", "Answers do not come to their end"),
}


def _trained_tokens(case: _Case) -> Seal:
    """Red when nothing is trained, a step trained nothing, or over a tenth of the rows holds nothing."""
    name, history, data = "trained_tokens", case.history, case.history.data
    if data is None:
        return _seal(name, "unmeasured", "The data has not been read yet.")
    trained = data.supervised_tokens if data.train_supervised_tokens is None else data.train_supervised_tokens
    tokens = data.tokens if data.train_tokens is None else data.train_tokens
    empty = len(history.empty_steps)
    share = data.unlearnt / data.rows if data.rows else 0.0
    red = not trained or bool(empty) or share > MOST_UNLEARNT
    words = f"{trained:,} of {tokens:,} tokens are trained"
    words += f" ({trained / tokens:.0%})" if tokens else ""
    if data.rows:
        words += f"; {data.unlearnt:,} of {data.rows:,} rows have nothing to learn from"
    if empty:
        words += (
            f"; {empty:,} of {history.step:,} steps trained none, the first at {history.empty_steps[0]:,}"
        )
    hint = "Look at the answer column, the chat template, what is learnt and the longest length."
    figures = {"trained": trained, "tokens": tokens, "rows": data.rows, "unlearnt": data.unlearnt}
    return _seal(
        name, "red" if red else "green", f"{words}.", hint, {**figures, "share": trained / max(1, tokens)}
    )


def _effect(case: _Case) -> Seal:
    """Red when the scores are those the run began with; judged at the step of the result."""
    name, history, step = "effect", case.history, case.result_step
    measured = [each for each in history.effects if step is None or each.step == step]
    found = measured[-1] if measured else (history.effects[-1] if history.effects else None)
    if found is None:
        return _seal(name, "unmeasured", "Measured at the first evaluation.")
    if found.mean_kl is None or found.max_logit_difference is None:
        return _seal(name, "unmeasured", f"At step {found.step:,} a score is not a number.")
    limit = LEAST_KL.get(history.model.dtype if history.model else "", max(LEAST_KL.values()))
    red = found.mean_kl < limit
    whose = "those of the adapter it began from" if found.beside == "adapter" else "the base's"
    words = (
        f"At step {found.step:,} the scores differ from {whose} by {found.mean_kl:.2g} nats a token"
        f" (at least {limit:g} asked), at most by {found.max_logit_difference:.2g};"
        f" {found.changed} of {found.positions} tokens have another likeliest one."
    )
    hint = "Raise the learning rate, train longer, or look at which layers are trained."
    figures = {"mean_kl": found.mean_kl, "limit": limit, "max_logit_difference": found.max_logit_difference}
    changed = {"changed": found.changed, "positions": found.positions, "step": found.step}
    return _seal(name, "red" if red else "green", words, hint, {**figures, **changed})


def _finite(case: _Case) -> Seal:
    """Red when a loss, a gradient or a validation loss was not a number."""
    name, history, bad = "finite", case.history, case.history.bad_steps
    measured = [e for e in history.evaluations if e.loss is None or not math.isfinite(e.loss)]
    if not history.has_stepped:
        return _seal(name, "unmeasured", "No step has been taken yet.")
    words = f"{len(bad):,} of {history.step:,} steps had a loss or gradient that is not a number"
    words += f", the first at step {bad[0]:,}" if bad else ""
    if history.evaluations:
        words += f"; {len(measured)} of {len(history.evaluations)} evaluations"
    hint = "Lower the learning rate, or look at the weights of the base and at the rows of that step."
    figures = {"bad_steps": len(bad), "steps": history.step, "bad_evaluations": len(measured)}
    return _seal(name, "red" if bad or measured else "green", f"{words}.", hint, figures)


def _loss(case: _Case) -> Seal:
    """Red when the mean of the last steps is not below that of the first by twice its standard error."""
    name, history, series = "loss", case.history, case.history.series["loss"]
    taken = len(series)
    if taken < FEWEST_STEPS:
        return _seal(name, "unmeasured", f"{taken} of the {FEWEST_STEPS} steps that are needed to tell.")
    if series.steps[0] != 1:
        return _seal(name, "unmeasured", "The log begins after the first step.")
    if not case.over and 3 * history.step < history.total_steps:
        return _seal(name, "unmeasured", "Judged once a third of the steps is taken.")
    count = min(taken // 3, STEPS_COMPARED)
    first, last = [v for v in series.values[:count] if math.isfinite(v)], series.finite(count)
    if min(len(first), len(last)) < 2:
        return _seal(name, "unmeasured", "Too few of the compared steps are numbers.")
    before, after = fmean(first), fmean(last)
    error = math.sqrt(variance(first) / len(first) + variance(last) / len(last))
    fall, needed = before - after, FALL_IN_ERRORS * error
    figures = {"first": before, "last": after, "error": error, "steps": count}
    words = f"{before:.3f} over the first {count} steps, {after:.3f} over the last"
    words += f" ({-fall / before:+.0%})" if before > 0 else ""
    if fall > needed and fall > 1e-3 * before:
        return _seal(name, "green", f"{words}; the steps' own noise is ±{error:.2g}.", figures=figures)
    if fall > 0 and needed > COARSE * before:
        words += f"; with noise of ±{error:.2g} these are too few steps to tell."
        return _seal(name, "unmeasured", words, figures=figures)
    hint = "Raise the learning rate where it never moved; lower it where the loss rose."
    return _seal(name, "red", f"{words}; noise ±{error:.2g}.", hint, figures)


def _validation(case: _Case) -> Seal:
    """Red when the newest validation loss lies above the lowest one by 2 % and 0.005 nats."""
    name, history = "validation", case.history
    measured = history.series["validation"].finite()
    if len(measured) < 2 or history.best is None:
        count = len(measured)
        words = (
            "No validation rows were measured." if not count else "One evaluation; two are needed to tell."
        )
        return _seal(name, "unmeasured", words)
    best, newest = history.best, measured[-1]
    rise = newest - best.loss
    limit = best.loss + max(RISE * best.loss, LEAST_RISE)
    red = newest > limit
    at = int(history.series["validation"].steps[-1])
    words = f"Lowest {best.loss:.3f} at step {best.step:,}, newest {newest:.3f} at {at:,}"
    words += f" ({rise / best.loss:+.1%})" if best.loss > 0 else ""
    words += f", {len(measured)} evaluations"
    if case.result_step == best.step != at:
        words += f"; the result is that of step {best.step:,}"
    hint = "Train less long, with a lower rate or more rows; the best step is kept."
    figures = {"best": best.loss, "newest": newest, "best_step": best.step, "limit": limit}
    return _seal(name, "red" if red else "green", f"{words}.", hint, figures)


def _answers(case: _Case) -> Seal:
    """Red when answers of the data lack their end, or when sample answers run on until they are cut."""
    name, history, data = "answers", case.history, case.history.answers
    if data is None:
        return _seal(name, "unmeasured", "The data has not been read yet.")
    if not data.answers:
        return _seal(name, "unmeasured", "Raw text has no answers that could be cut.")
    cut = data.answers - data.whole_answers
    share = cut / data.answers
    words = f"{data.whole_answers:,} of {data.answers:,} training answers hold their end"
    step, judged, ended = _samples(history, data.answer_tokens)
    late = bool(judged) and (case.over or 2 * step >= history.total_steps)
    if judged:
        words += f"; at step {step:,} {ended} of {judged} sample answers ended by themselves"
    red = share > MOST_CUT or (late and ended < LEAST_ENDED * judged)
    hint = "Raise the longest length; look whether the template ends an answer, or train longer."
    figures = {"answers": data.answers, "cut": cut, "share": 1 - share, "least_share": 1 - MOST_CUT}
    samples = {"samples": judged, "ended": ended, "least_ended": LEAST_ENDED}
    return _seal(name, "red" if red else "green", f"{words}.", hint, {**figures, **samples})


def _samples(history: RunHistory, usual: int) -> tuple[int, int, int]:
    """Return (step, judged, ended by themselves) of the newest sample answers that had room to end."""
    # What a person asks between two evaluations may be anything, and its answer as long as it likes.
    measured = {e.step for e in history.effects} | {e.step for e in history.evaluations}
    newest = max((sample.step for sample in history.samples if sample.step in measured), default=0)
    if not newest:
        return 0, 0, 0
    judged = [
        sample
        for sample in history.samples_at(newest)
        if sample.ended is not None
        and (sample.expected_tokens or usual) <= ROOM_FOR_ANSWER * (sample.limit or 0)
    ]
    return newest, len(judged), sum(1 for sample in judged if sample.ended)


_CHECKS: tuple[Callable[[_Case], Seal], ...] = (
    _trained_tokens,
    _effect,
    _finite,
    _loss,
    _validation,
    _answers,
)
