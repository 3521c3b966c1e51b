"""The filter over the list of runs: words, `base:llama`, `state:failed`, `best<1`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from app.tables.runs import state_words
from engine.runs.store import RunSummary

_TEXT_FIELDS: dict[str, Callable[[RunSummary], str]] = {
    "name": lambda run: run.name,
    "base": lambda run: run.base,
    "data": lambda run: run.data,
    "method": lambda run: run.method,
    "state": lambda run: f"{run.state} {state_words(run)}",
    "seals": lambda run: " ".join(f"{seal.state} {seal.label}" for seal in run.seals),
    "id": lambda run: run.id,
}
_NUMBER_FIELDS: dict[str, Callable[[RunSummary], float | None]] = {
    "best": lambda run: run.best_validation,
    "loss": lambda run: run.loss,
    "step": lambda run: run.step,
    "steps": lambda run: run.total_steps,
    "minutes": lambda run: None if run.seconds is None else run.seconds / 60,
    "seed": lambda run: run.seed,
}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "=": lambda a, b: a == b,
}
_TERM = re.compile(r"(?P<field>[a-z]+)(?P<sign>:|<=|>=|<|>|=)(?P<value>\S+)$")
HELP = "Words, or base:llama state:failed method:qlora seals:red best<1 step>100"


@dataclass(frozen=True)
class RunFilter:
    """What was typed, taken apart; `matches` says whether a run passes all of it."""

    terms: tuple[Callable[[RunSummary], bool], ...]
    unknown: tuple[str, ...] = ()

    def matches(self, run: RunSummary) -> bool:
        """Say whether a run passes every term."""
        return all(term(run) for term in self.terms)


def parse(text: str) -> RunFilter:
    """Return the filter that was typed; a term with an unknown field is told in `unknown`."""
    terms: list[Callable[[RunSummary], bool]] = []
    unknown: list[str] = []
    for word in text.lower().split():
        made = _term(word)
        if made is None:
            unknown.append(word)
        else:
            terms.append(made)
    return RunFilter(tuple(terms), tuple(unknown))


def _term(word: str) -> Callable[[RunSummary], bool] | None:
    found = _TERM.match(word)
    if not found:
        return lambda run: any(word in read(run).lower() for read in _TEXT_FIELDS.values())
    field, sign, value = found["field"], found["sign"], found["value"]
    if sign == ":" and field in _TEXT_FIELDS:
        return lambda run: value in _TEXT_FIELDS[field](run).lower()
    if field in _NUMBER_FIELDS and sign != ":":
        try:
            limit = float(value)
        except ValueError:
            return None

        def compared(run: RunSummary) -> bool:
            number = _NUMBER_FIELDS[field](run)
            return number is not None and _COMPARE[sign](number, limit)

        return compared
    return None
