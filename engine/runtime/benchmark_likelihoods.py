"""How likely a model finds endings: many questions a pass, the head of the model only where one is read.

blocks of questions, as many as fit a budget of tokens -> one pass through the model
hidden states where a likelihood is read -> scores there, a chunk at a time -> sums by ending
A model whose attention cannot be told apart gets padded rows, each with its whole question.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from engine.benchmarks.scoring import Likelihood
from engine.errors import EngineError
from engine.runtime import memory
from engine.runtime.benchmark_tree import (
    NAME,
    Asked,
    Block,
    Forest,
    block_of,
    going_through,
    head_of,
    register,
)
from engine.runtime.computing import kind_of
from engine.runtime.load import choose_layout
from engine.runtime.loss import decoder_of, plain_head, rows_at_once

BUDGET_TOKENS = {"cpu": 2048, "cuda": 8192}  # of one pass
LEAST_TOKENS = 64
Question = Sequence[Asked]
Beat = Callable[[], None]


@dataclass
class _Reads:
    """Where likelihoods are read in a pass: rows of hidden states, tokens, and the endings they count for."""

    places: list[int]
    tokens: list[int]
    owners: list[int]


class Likelihoods:
    """Computes likelihoods with a loaded model, whose adapter may be turned on and off between calls.

    `tree` says whether questions share what they have in common, `budget` how many tokens go at once.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device = model.device
        self.budget = BUDGET_TOKENS.get(self.device.type, BUDGET_TOKENS["cuda"])
        self._own = model.config._attn_implementation
        layout = choose_layout(model)
        model.set_attn_implementation(self._own)
        self._apart = layout.head_apart
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.longest = longest_input(model)
        self._heads: dict[tuple[str, tuple[int, ...]], Forest] = {}
        self.tree = layout.flat and self._tree_is_sound()

    def forget(self) -> None:
        """Let go of what was kept of heads."""
        self._heads.clear()

    @torch.inference_mode()
    def of(
        self, questions: Sequence[Question], *, head: int = 0, who: str = "", beat: Beat = lambda: None
    ) -> list[list[Likelihood]]:
        """Return the likelihood of every ending of every question.

        The first `head` tokens are the same in all of them (see `benchmark_tree.head_of`); `who` tells apart
        the heads of base and adapter. `beat` is called before each pass and may raise to end the work.
        """
        if not questions:
            return []
        cut = [[self._fitting(each) for each in question] for question in questions]
        if any(len(each.ids) - 1 > self.longest for question in questions for each in question):
            head = 0  # what was cut off no longer begins like the others
        while True:
            try:
                return self._through(cut, head, who, beat)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not memory.ran_out(error) or self.budget <= LEAST_TOKENS:
                    raise
            self.budget //= 2  # outside the handler: the error's frames hold what was computed
            self.forget()
            memory.free(self.device)

    def _fitting(self, each: Asked) -> Asked:
        """Leave out the beginning of what is longer than the model reads, as lm-eval does."""
        over = len(each.ids) - 1 - self.longest
        if over <= 0:
            return each
        kept = [place - over for place in each.scored if place - over > 0]
        if not kept:
            raise EngineError(
                f"A question is {len(each.ids):,} tokens long; this model reads {self.longest:,}.",
                "Leave it out, or use a model that reads more.",
                "MODEL-05",
            )
        return Asked(each.ids[over:], kept)

    def _through(
        self, questions: Sequence[Question], head: int, who: str, beat: Beat
    ) -> list[list[Likelihood]]:
        if not self.tree:
            return self._padded(questions, beat)
        with self._attention(NAME):
            kept = self._head(tuple(questions[0][0].ids[:head]), who) if head else Forest(())
            blocks = [block_of(question, head) for question in questions]
            found: list[list[Likelihood]] = []
            for group in _groups(blocks, self.budget):
                beat()
                found += self._pass(group, kept, head)
        return found

    @contextmanager
    def _attention(self, name: str) -> Iterator[None]:
        self.model.set_attn_implementation(name)
        try:
            yield
        finally:
            self.model.set_attn_implementation(self._own)

    def _head(self, ids: tuple[int, ...], who: str) -> Forest:
        key = (who, ids)
        if key not in self._heads:
            block = Block(ids, tuple(range(len(ids))), (len(ids),), ())
            forest = Forest([block], keeps=True)
            with going_through(forest):
                decoder_of(self.model)(**self._inputs([block]))
            self._heads[key] = forest
        return self._heads[key]

    def _inputs(self, blocks: Sequence[Block]) -> dict[str, Any]:
        ids = torch.tensor([[i for block in blocks for i in block.ids]], device=self.device)
        places = torch.tensor([[p for block in blocks for p in block.positions]], device=self.device)
        return {"input_ids": ids, "position_ids": places, "use_cache": False}

    def _pass(self, blocks: Sequence[Block], kept: Forest, head: int) -> list[list[Likelihood]]:
        reads, begin, endings = _Reads([], [], []), 0, 0
        for block in blocks:
            for place, token, ending in block.reads:
                reads.places.append(begin + place)
                reads.tokens.append(token)
                reads.owners.append(endings + ending)
            begin += len(block.ids)
            endings += len(block.branches) - 1
        with going_through(Forest(blocks, kept.head, head)):
            found = self._read(self._inputs(blocks), reads, endings)
        result, at = [], 0
        for block in blocks:
            result.append(found[at : at + len(block.branches) - 1])
            at += len(block.branches) - 1
        return result

    def _read(self, inputs: dict[str, Any], reads: _Reads, endings: int) -> list[Likelihood]:
        """Return the likelihoods of a pass; a place is scored once, however many tokens are asked there."""
        places, which = torch.tensor(reads.places, device=self.device).unique(return_inverse=True)
        head = plain_head(self.model) if self._apart else None  # asked anew: an adapter may have its own
        if head is not None:
            states = decoder_of(self.model)(**inputs).last_hidden_state
            rows = states.reshape(-1, states.shape[-1])[places]
        elif self._keeps and len(inputs["input_ids"]) == 1:
            rows = self.model(**inputs, logits_to_keep=places).logits[0]
        else:
            states = self.model(**inputs).logits
            rows = states.reshape(-1, states.shape[-1])[places]
        tokens = torch.tensor(reads.tokens, device=self.device)
        total = torch.empty(len(tokens), dtype=torch.float64, device=self.device)
        likeliest = torch.empty(len(tokens), dtype=torch.bool, device=self.device)
        vocabulary = int(self.model.config.get_text_config().vocab_size)
        size = rows_at_once(len(rows), vocabulary, kind_of(rows))
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            scores = (chunk if head is None else chunk @ head.T).float()
            here = ((which >= start) & (which < start + len(chunk))).nonzero()[:, 0]
            line, token = which[here] - start, tokens[here]
            picked = scores[line, token].double()
            total[here] = picked - scores.double().logsumexp(-1)[line]
            likeliest[here] = scores.argmax(-1)[line] == token
        return _by_ending(total.tolist(), likeliest.tolist(), reads.owners, endings)

    def _padded(self, questions: Sequence[Question], beat: Beat) -> list[list[Likelihood]]:
        """Return what `of` does, by rows with padding at their ends: each ending with its whole question."""
        flat = [each for question in questions for each in question]
        order = sorted(range(len(flat)), key=lambda i: max(flat[i].scored))
        found: dict[int, Likelihood] = {}
        while order:
            beat()
            width = max(flat[order[0]].scored)
            count = 1
            while count < len(order) and (count + 1) * max(flat[order[count]].scored) <= self.budget:
                count += 1
            rows, order = order[:count], order[count:]
            width = max(max(flat[i].scored) for i in rows)
            found |= dict(zip(rows, self._padded_pass([flat[i] for i in rows], width), strict=True))
        likelihoods = iter(found[i] for i in range(len(flat)))
        return [[next(likelihoods) for _ in question] for question in questions]

    def _padded_pass(self, rows: Sequence[Asked], width: int) -> list[Likelihood]:
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        reads = _Reads([], [], [])
        for number, each in enumerate(rows):
            length = max(each.scored)
            ids[number, :length] = torch.tensor(list(each.ids[:length]))
            mask[number, :length] = 1
            for place in each.scored:
                reads.places.append(number * width + place - 1)
                reads.tokens.append(int(each.ids[place]))
                reads.owners.append(number)
        inputs = {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}
        return self._read({**inputs, "use_cache": False}, reads, len(rows))

    def _tree_is_sound(self) -> bool:
        """Try a head, trunks and branches in one row against padded rows; a model that differs gets those."""
        size = int(self.model.config.get_text_config().vocab_size)
        ids = [i * 7 % size for i in range(3, 40)]
        cases = [
            [Asked(ids[:9], (6, 7, 8)), Asked([*ids[:6], *ids[20:24]], (6, 7, 8, 9))],
            [Asked([*ids[:3], *ids[30:34]], (5, 6)), Asked([*ids[:3], *ids[30:33], ids[1]], (5, 6))],
        ]
        register()
        try:
            with self._attention(NAME):
                head = head_of(cases)
                kept = self._head(tuple(ids[:head]), "")
                found = self._pass([block_of(case, head) for case in cases], kept, head)
            wanted = self._padded(cases, lambda: None)
        except (ValueError, TypeError, ImportError, NotImplementedError, RuntimeError):
            return False
        finally:
            self.forget()
        limit = 1e-3 if self.model.dtype == torch.float32 else 0.5
        pairs = zip(sum(found, []), sum(wanted, []), strict=True)
        return all(abs(a.total - b.total) <= limit for a, b in pairs)


def _by_ending(
    total: Sequence[float], likeliest: Sequence[bool], owners: Sequence[int], endings: int
) -> list[Likelihood]:
    sums, counts, greedy = [0.0] * endings, [0] * endings, [True] * endings
    for value, best, owner in zip(total, likeliest, owners, strict=True):
        sums[owner] += value
        counts[owner] += 1
        greedy[owner] &= best
    return [Likelihood(*each) for each in zip(sums, counts, greedy, strict=True)]


def _groups(blocks: Sequence[Block], budget: int) -> Iterator[list[Block]]:
    """Yield the blocks in their order, as many at a time as fit a budget of tokens."""
    group: list[Block] = []
    used = 0
    for block in blocks:
        if group and used + len(block.ids) > budget:
            yield group
            group, used = [], 0
        group.append(block)
        used += len(block.ids)
    if group:
        yield group


def longest_input(model: Any) -> int:
    """Return how many tokens a model reads at most."""
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return longest if isinstance(longest, int) else 1 << 30
