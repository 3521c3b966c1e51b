"""What is to be answered for a benchmark: its questions as tokens, and who answers and judges them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.benchmarks.questions import Question
from engine.benchmarks.scoring import (
    Judged,
    Likelihood,
    judge_choice,
    judge_completion,
    judge_loss,
    judge_text,
)
from engine.benchmarks.spec import HELD_OUT, Benchmark
from engine.data import frozen
from engine.data.dataset import Example
from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.runs.benchmark_rows import questions_for
from engine.runtime.benchmark_generate import Writer
from engine.runtime.benchmark_likelihoods import Likelihoods
from engine.runtime.benchmark_prompts import Prompter, asked_of_row, first_answer
from engine.runtime.benchmark_tree import head_of
from engine.runtime.generate import stops_of
from engine.runtime.prepared import FROZEN
from engine.runtime.target import Target

Beat = Callable[[], None]
Work = Callable[[Sequence[int], str, Beat], list[Judged]]
CHUNK_TOKENS = 8192  # after so many of them items are written down


@dataclass(frozen=True)
class Task:
    """A benchmark ready to be answered. `sizes` are tokens by item; `work(items, who, beat)` judges some."""

    benchmark: Benchmark
    prompts: list[str]
    expected: list[str]
    sizes: list[int]
    work: Work

    def chunks(self) -> Iterator[range]:
        """Yield the items in their order, as many at a time as are written down together."""
        begin, used = 0, 0
        for number, size in enumerate(self.sizes):
            if number > begin and used + size > CHUNK_TOKENS:
                yield range(begin, number)
                begin, used = number, 0
            used += size
        if begin < len(self.sizes):
            yield range(begin, len(self.sizes))


class Tasks:
    """Makes tasks for a loaded model."""

    def __init__(self, target: Target, model: Any, seed: int | None = None) -> None:
        self._run, self._seed = target.run, seed
        folder = target.base.path
        self._tokenizer = ModelTokenizer(folder)
        template = load_template(folder, target.chat_template)
        self._prompter = Prompter(self._tokenizer, template, target.system_prompt)
        self._writer = Writer(model, self._tokenizer, stops_of(folder, template, self._tokenizer))
        self._likelihoods = Likelihoods(model)

    def make(self, benchmark: Benchmark, data: Path | None, limit: int | None) -> Task:
        """Return the first `limit` questions of a benchmark; raises EngineError where there are none."""
        if benchmark.form == "rows":
            rows = self._held_out()[:limit]
            return (
                self._written_rows(benchmark, rows)
                if benchmark.name == HELD_OUT
                else self._loss(benchmark, rows)
            )
        questions = questions_for(benchmark, data, self._run, limit, self._seed)
        if benchmark.kind == "generation":
            return self._generation(benchmark, questions)
        return self._choice(benchmark, questions)

    def _held_out(self) -> list[Example]:
        kept = frozen.read(self._run / FROZEN) if self._run is not None else None
        rows = [] if kept is None else [e for e in kept[0].validation if e.trained[1:].any()]
        if not rows:
            what = "This run kept no rows aside." if self._run else "Held-out rows belong to a run."
            raise EngineError(what, "Name a file of your own with --data.", "DATA-07")
        return rows

    def _choice(self, benchmark: Benchmark, questions: list[Question]) -> Task:
        asked = [self._prompter.endings(benchmark, question) for question in questions]
        head = head_of(asked)

        def judge(question: Question, found: list[Likelihood]) -> Judged:
            if benchmark.kind == "completion":
                return judge_completion(question, found[0])
            return judge_choice(benchmark, question, found)

        def work(items: Sequence[int], who: str, beat: Beat) -> list[Judged]:
            found = self._likelihoods.of([asked[i] for i in items], head=head, who=who, beat=beat)
            return [judge(questions[i], each) for i, each in zip(items, found, strict=True)]

        sizes = [max(len(a.ids) for a in each) + sum(len(a.scored) for a in each) - head for each in asked]
        return _task(benchmark, questions, sizes, work)

    def _generation(self, benchmark: Benchmark, questions: list[Question]) -> Task:
        prompts = [self._prompter.prompt(benchmark, question) for question in questions]

        def work(items: Sequence[int], who: str, beat: Beat) -> list[Judged]:
            written = self._writer.answers(
                [prompts[i] for i in items], benchmark.max_new_tokens, benchmark.stop, beat
            )
            return [
                judge_text(benchmark, questions[i], each.text.strip() if benchmark.chat else each.text)
                for i, each in zip(items, written, strict=True)
            ]

        return _task(benchmark, questions, [len(p) + benchmark.max_new_tokens for p in prompts], work)

    def _written_rows(self, benchmark: Benchmark, rows: list[Example]) -> Task:
        parts = [first_answer(row) for row in rows]
        expected = [self._tokenizer.decode(answer, skip_special_tokens=True).strip() for _, answer in parts]
        longest = max(len(answer) for _, answer in parts)
        limit = min(benchmark.max_new_tokens, 2 * longest + 16)
        shown = [self._shown(row, prompt) for row, (prompt, _) in zip(rows, parts, strict=True)]
        questions = [
            Question(i, text, "", expected=answer)
            for i, (text, answer) in enumerate(zip(shown, expected, strict=True))
        ]

        def work(items: Sequence[int], who: str, beat: Beat) -> list[Judged]:
            written = self._writer.answers([parts[i][0] for i in items], limit, (), beat)
            return [
                judge_text(benchmark, questions[i], each.text.strip())
                for i, each in zip(items, written, strict=True)
            ]

        return _task(benchmark, questions, [len(prompt) + limit for prompt, _ in parts], work)

    def _loss(self, benchmark: Benchmark, rows: list[Example]) -> Task:
        asked = [[asked_of_row(row)] for row in rows]
        shown = [self._shown(row, first_answer(row)[0]) for row in rows]
        questions = [Question(i, text, "") for i, text in enumerate(shown)]

        def work(items: Sequence[int], who: str, beat: Beat) -> list[Judged]:
            found = self._likelihoods.of([asked[i] for i in items], beat=beat)
            return [judge_loss(each[0]) for each in found]

        return _task(benchmark, questions, [len(row.ids) for row in rows], work)

    def _shown(self, row: Example, prompt: list[int]) -> str:
        return row.prompt or self._tokenizer.decode(prompt, skip_special_tokens=True).strip()


def _task(benchmark: Benchmark, questions: list[Question], sizes: list[int], work: Work) -> Task:
    return Task(benchmark, [q.text for q in questions], [q.expected for q in questions], sizes, work)
