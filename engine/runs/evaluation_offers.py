"""What a run can be measured on: its held-out rows, tests of one's own, the general set, the benchmarks.

Each with its questions, how long they will take, and what is missing where it cannot be measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Literal

from engine.benchmarks.questions import Question
from engine.benchmarks.spec import (
    GENERAL,
    HELD_OUT,
    HELD_OUT_LOSS,
    OWN_TESTS,
    Benchmark,
    benchmarks,
    parts_of,
)
from engine.data import frozen
from engine.data.dataset import Example
from engine.errors import EngineError
from engine.runs.benchmark_rows import is_at_hand, questions_for
from engine.runs.evaluation_pace import Pace, measured_paces, pace_of
from engine.runs.script_facts import FROZEN

LETTERS_A_TOKEN = 4.0  # of plain text, as a rule
WRITTEN = 0.5  # of the tokens that an answer may have at most
GENERAL_LABEL = "General skills"
GENERAL_ABOUT = "Grammar, plain facts, small wishes: what a tuned model must not lose. The forgetting check."
Group = Literal["yours", "general", "made", "hub"]
Basis = Literal["measured", "ledger", "formula", ""]


@dataclass(frozen=True)
class Part:
    """One benchmark of an offer; `seconds` is what a question takes base or adapter, None where unknown."""

    name: str
    label: str
    questions: int
    seconds: float | None = None
    basis: Basis = ""

    def asked(self, limit: int | None) -> int:
        """Return how many of its questions are asked."""
        return self.questions if limit is None else min(limit, self.questions)


@dataclass(frozen=True)
class Offer:
    """Something to measure on; `problem` says why it cannot be measured now, `hint` what to do about it.

    `name` is what `evaluate --benchmark` takes, `file` a person's own file that stands for its questions.
    """

    name: str
    label: str
    about: str
    group: Group
    parts: tuple[Part, ...] = ()
    licence: str = ""
    hub: str = ""
    file: Path | None = None
    proposed: bool = False
    problem: str = ""
    hint: str = ""
    code: str = ""

    @property
    def questions(self) -> int:
        """Return how many questions there are; held-out rows are asked in two ways and counted once."""
        counts = [part.questions for part in self.parts]
        return max(counts, default=0) if self.name == HELD_OUT else sum(counts)

    @property
    def made(self) -> bool:
        """Return whether its questions are made, so that another seed makes others."""
        return self.group == "made" and self.file is None

    @property
    def basis(self) -> Basis:
        """Return what its time rests on."""
        found = [part.basis for part in self.parts]
        weakest: Sequence[Basis] = ("", "formula", "ledger", "measured")
        return next((each for each in weakest if each in found), "")

    def seconds(self, limit: int | None, speakers: int) -> float | None:
        """Return how long it takes without the start; None where that is not known."""
        if not self.parts or any(part.seconds is None for part in self.parts):
            return None
        return sum(part.asked(limit) * (part.seconds or 0.0) for part in self.parts) * speakers


@dataclass(frozen=True)
class Offers:
    """All offers in their order, and how long it takes until the first question is asked."""

    offers: tuple[Offer, ...] = ()
    start_seconds: float = 0.0

    def of(self, names: Sequence[str]) -> list[Offer]:
        """Return the offers of some names, in their order."""
        return [offer for offer in self.offers if offer.name in names]


def read_offers(run: Path, files: Mapping[str, Path] | None = None) -> Offers:
    """Return what a run can be measured on; `files` are those a person chose for single benchmarks."""
    chosen, pace = files or {}, pace_of(run)
    reader = _Reader(run, dict(chosen), pace, measured_paces(run))
    known = benchmarks()
    found = [reader.held_out(), reader.own(), reader.general()]
    rest = [
        reader.plain(each)
        for each in known.values()
        if not each.forgetting and each.name not in (HELD_OUT, HELD_OUT_LOSS, OWN_TESTS)
    ]
    found += sorted(rest, key=lambda offer: (offer.group != "made", bool(offer.problem)))
    return Offers(tuple(found), pace.start if pace is not None else 0.0)


@dataclass(frozen=True)
class _Reader:
    run: Path
    files: dict[str, Path]
    pace: Pace | None
    measured: dict[str, float]

    def held_out(self) -> Offer:
        loss, written = parts_of(HELD_OUT)
        offer = Offer(HELD_OUT, written.label, written.about, "yours")
        rows = self._rows()
        if not rows:
            return replace(
                offer,
                problem="This run kept no rows aside.",
                hint="Drop a test file of your own, or train with a share for validation.",
                code="DATA-07",
            )
        read = mean(len(row.ids) for row in rows)
        answers = [sum(map(bool, row.trained[1:])) for row in rows]
        length = min(written.max_new_tokens, 2 * max(answers) + 16)
        parts = (
            self._part(loss, len(rows), read, 0.0),
            self._part(written, len(rows), read - mean(answers), (mean(answers) + length) / 2),
        )
        return replace(offer, parts=parts, proposed=True)

    def _rows(self) -> list[Example]:
        kept = frozen.read(self.run / FROZEN)
        return [] if kept is None else [e for e in kept[0].validation if e.trained[1:].any()]

    def own(self) -> Offer:
        offer = self._of(benchmarks()[OWN_TESTS], "yours")
        if offer.problem and offer.file is None:
            offer = replace(offer, hint="Keep a prompt as a test in Chat, or choose a file of tests.")
        return replace(offer, proposed=not offer.problem)

    def general(self) -> Offer:
        offers = [self._of(part, "general") for part in parts_of(GENERAL)]
        parts = tuple(part for offer in offers for part in offer.parts)
        return Offer(GENERAL, GENERAL_LABEL, GENERAL_ABOUT, "general", parts, proposed=True)

    def plain(self, benchmark: Benchmark) -> Offer:
        return self._of(benchmark, "hub" if benchmark.source.hub else "made")

    def _of(self, benchmark: Benchmark, group: Group) -> Offer:
        file = self.files.get(benchmark.name)
        offer = Offer(
            benchmark.name,
            benchmark.label,
            benchmark.about,
            group,
            licence=benchmark.licence,
            hub=benchmark.source.hub,
            file=file,
        )
        try:
            if file is None and benchmark.source.hub and not is_at_hand(benchmark):
                raise EngineError("Not on this computer.", "Choose its file, or download it once.", "HUB-01")
            questions = questions_for(benchmark, file, self.run)
        except EngineError as error:
            return replace(offer, problem=error.message, hint=error.hint, code=error.code)
        read = mean(_letters(question, benchmark) for question in questions) / LETTERS_A_TOKEN
        written = WRITTEN * benchmark.max_new_tokens if benchmark.kind == "generation" else 0.0
        return replace(offer, parts=(self._part(benchmark, len(questions), read, written),))

    def _part(self, benchmark: Benchmark, count: int, read: float, written: float) -> Part:
        if benchmark.label in self.measured:
            return Part(benchmark.name, benchmark.label, count, self.measured[benchmark.label], "measured")
        if self.pace is None:
            return Part(benchmark.name, benchmark.label, count)
        basis: Basis = "ledger" if self.pace.runs else "formula"
        return Part(benchmark.name, benchmark.label, count, self.pace.question(read, written), basis)


def _letters(question: Question, benchmark: Benchmark) -> int:
    """Return the letters that go through the model; what stands before every question does so once."""
    asked = question.choices or (question.expected,)
    endings = 0 if benchmark.kind == "generation" else sum(len(choice) for choice in asked)
    said = sum(len(message["content"]) for message in question.messages) or len(question.text)
    return endings if benchmark.kind == "pairs" else said + endings
