"""A question's texts as token ids, cut where lm-evaluation-harness cuts them, so that scores are equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.benchmarks.questions import Question
from engine.benchmarks.spec import Benchmark
from engine.data.dataset import Example
from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.runtime.benchmark_tree import Asked


@dataclass(frozen=True)
class Prompter:
    """Puts questions to a model: its tokenizer, its chat template, the system prompt it was trained with."""

    tokenizer: ModelTokenizer
    template: ChatTemplate
    system_prompt: str | None = None

    def endings(self, benchmark: Benchmark, question: Question) -> list[Asked]:
        """Return what is asked of a question with choices, or of its one right continuation."""
        texts = question.choices or (question.expected,)
        context = self._chat(question) if benchmark.chat else question.context
        delimiter = "" if benchmark.chat else benchmark.delimiter
        return [self._ending(context, delimiter + text, chat=benchmark.chat) for text in texts]

    def _ending(self, context: str, ending: str, *, chat: bool) -> Asked:
        """Blanks before the ending belong to it; without a context the BOS token stands for one."""
        if not context:
            ids = self.tokenizer.encode(ending)
            prefix = self.tokenizer.bos_id if self.tokenizer.bos_id is not None else self.tokenizer.eos_id
            before = [] if prefix is None or ids[:1] == [prefix] else [prefix]
            return _whole(before + ids, 1, ending)
        kept = context.rstrip()
        start = [] if chat else self.tokenizer.start_ids
        first = start + self.tokenizer.encode(kept)
        whole = start + self.tokenizer.encode(context + ending)
        ids = first + whole[len(first) :]
        return _whole(ids, len(first), ending)

    def prompt(self, benchmark: Benchmark, question: Question) -> list[int]:
        """Return the ids of what a question is answered after."""
        if benchmark.chat:
            return self.tokenizer.encode(self._chat(question))
        return self.tokenizer.start_ids + self.tokenizer.encode(question.context)

    def _chat(self, question: Question) -> str:
        messages: list[dict[str, Any]] = list(question.messages)
        if self.system_prompt and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        return self.template.render(messages, add_generation_prompt=True)


def _whole(ids: list[int], begin: int, ending: str) -> Asked:
    if begin >= len(ids):
        raise EngineError(
            f"A choice holds nothing that the model could read: {ending[:40]!r}.",
            "Leave this question out.",
            "DATA-03",
        )
    return Asked(ids, range(begin, len(ids)))


def asked_of_row(example: Example) -> Asked:
    """Return what is asked of a prepared row: the likelihood of every token that training learns."""
    scored = [place for place, trained in enumerate(example.trained.tolist()) if trained and place > 0]
    return Asked(example.ids.tolist(), scored)


def first_answer(example: Example) -> tuple[list[int], list[int]]:
    """Return the ids before a prepared row's first answer, and the answer's; empty where there is none."""
    trained = example.trained.tolist()
    if True not in trained[1:]:
        return [], []
    begin = trained.index(True, 1)
    end = begin
    while end < len(trained) and trained[end]:
        end += 1
    ids = example.ids.tolist()
    return ids[:begin], ids[begin:end]
