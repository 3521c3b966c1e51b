"""Greedy answers to many prompts at once; each ends at an end token, at a stop text, or at its limit.

prompts, padded at their left -> through the model (behind a head they share, which goes through it once)
until all have ended: the likeliest token of each -> those that ended leave the batch -> one more step
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from engine.data.tokenizer import ModelTokenizer
from engine.runtime import memory
from engine.runtime.benchmark_likelihoods import longest_input
from engine.runtime.benchmark_tree import common_prefix

BUDGET_TOKENS = {"cpu": 8192, "cuda": 32768}  # of keys and values held at a time
MOST_ROWS = 32
LEAST_HEAD = 16  # a shorter one is not worth a pass of its own
Beat = Callable[[], None]


@dataclass(frozen=True)
class Written:
    """An answer: its text before any stop, its tokens, and whether it came to its end by itself."""

    text: str
    tokens: int
    ended: bool


@dataclass
class _Row:
    """One answer in the making."""

    place: int
    ids: list[int] = field(default_factory=list)
    text: str | None = None  # set once it has ended


class Writer:
    """Answers prompts with a loaded model; what they begin with alike is computed once a batch."""

    def __init__(self, model: Any, tokenizer: ModelTokenizer, ends: frozenset[int]) -> None:
        self.model = model
        self.device = model.device
        self.budget = BUDGET_TOKENS.get(self.device.type, BUDGET_TOKENS["cuda"])
        self._tokenizer = tokenizer
        self._ends = ends
        self._longest = longest_input(model)
        takes = inspect.signature(model.forward).parameters
        self._memory = "cache" if "cache" in takes else "past_key_values"
        self._last: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    @torch.inference_mode()
    def answers(
        self,
        prompts: Sequence[Sequence[int]],
        limit: int,
        stops: Sequence[str] = (),
        beat: Beat = lambda: None,
    ) -> list[Written]:
        """Return an answer of at most `limit` tokens to each prompt; `beat` may raise to end the work."""
        kept = [self._fitting(prompt, limit) for prompt in prompts]
        found: dict[int, Written] = {}
        waiting = self._batches(kept, limit)
        while waiting:
            batch = waiting.pop(0)
            try:
                found |= self._batch(kept, batch, limit, stops, beat)
                continue
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not memory.ran_out(error) or len(batch) == 1:
                    raise
            memory.free(self.device)
            waiting[:0] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
        return [found[i] for i in range(len(prompts))]

    def _fitting(self, prompt: Sequence[int], limit: int) -> list[int]:
        """Leave out the beginning of a prompt that leaves no room for an answer."""
        room = max(1, self._longest - limit)
        return list(prompt[-room:])

    def _batches(self, prompts: Sequence[Sequence[int]], limit: int) -> list[list[int]]:
        """Return which prompts go together: of like length; of equal length where attention has a window.

        A window is counted in places of the cache, padding included.
        """
        window = getattr(self.model.config.get_text_config(), "sliding_window", None)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        found: list[list[int]] = []
        for i in order:
            length = len(prompts[i]) + limit
            joins = (
                bool(found) and (len(found[-1]) + 1) * length <= self.budget and len(found[-1]) < MOST_ROWS
            )
            if joins and isinstance(window, int) and length > window:
                joins = len(prompts[found[-1][0]]) == len(prompts[i])
            if joins:
                found[-1].append(i)
            else:
                found.append([i])
        return found

    def _batch(
        self,
        prompts: Sequence[Sequence[int]],
        batch: Sequence[int],
        limit: int,
        stops: Sequence[str],
        beat: Beat,
    ) -> dict[int, Written]:
        from transformers import DynamicCache

        beat()
        rows = [_Row(i) for i in batch]
        cache = DynamicCache(config=self.model.config.get_text_config())
        scores, mask, positions = self._begin([list(prompts[i]) for i in batch], cache)
        done: dict[int, Written] = {}
        while True:
            chosen = scores.argmax(-1).tolist()
            for row, token in zip(rows, chosen, strict=True):
                self._take(row, token, limit, stops)
            going = [n for n, row in enumerate(rows) if row.text is None]
            done |= {row.place: self._written(row, limit) for row in rows if row.text is not None}
            if not going:
                return done
            beat()
            if len(going) < len(rows):
                where = torch.tensor(going, device=self.device)
                cache.batch_select_indices(where)
                mask, positions = mask[where], positions[where]
                rows = [rows[n] for n in going]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
            positions = positions + 1
            ids = torch.tensor([[row.ids[-1]] for row in rows], device=self.device)
            scores = self._step(ids, mask, positions, cache)

    def _begin(self, prompts: list[list[int]], cache: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scores behind each prompt, the mask [rows, places], and the last positions [rows, 1]."""
        head = min(common_prefix(prompts), min(len(p) for p in prompts) - 1) if len(prompts) > 1 else 0
        if head < LEAST_HEAD:
            head = 0
        if head:
            first = torch.tensor([prompts[0][:head]], device=self.device)
            self._step(first, torch.ones_like(first), torch.arange(head, device=self.device)[None], cache)
            cache.batch_repeat_interleave(len(prompts))
        width = max(len(p) for p in prompts) - head
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        mask = torch.ones(len(prompts), head + width, dtype=torch.long)
        positions = torch.zeros(len(prompts), width, dtype=torch.long)
        for n, prompt in enumerate(prompts):
            own = len(prompt) - head
            ids[n, width - own :] = torch.tensor(prompt[head:])
            mask[n, head : head + width - own] = 0
            positions[n, width - own :] = torch.arange(head, len(prompt))
        ids, mask, positions = (x.to(self.device) for x in (ids, mask, positions))
        return self._step(ids, mask, positions, cache), mask, positions[:, -1:]

    def _step(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        """Return float32 scores of the next token, [rows, vocabulary]."""
        more = {self._memory: cache, **self._last}
        out = self.model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, **more)
        scores: Tensor = out.logits[:, -1].float()
        return scores

    def _take(self, row: _Row, token: int, limit: int, stops: Sequence[str]) -> None:
        """Give a row its next token, and set its text where that ends it."""
        if token in self._ends:
            row.text = self._text(row.ids)
            return
        row.ids.append(token)
        cut = self._at_stop(row.ids, stops) if stops else None
        if cut is not None:
            row.text = cut
        elif len(row.ids) >= limit:
            row.text = self._text(row.ids)

    def _at_stop(self, ids: list[int], stops: Sequence[str]) -> str | None:
        """Return the text before the first stop, None where there is none; its end is looked at first."""
        longest = max(len(stop) for stop in stops)
        if not any(stop in self._text(ids[-longest - 4 :]) for stop in stops):
            return None
        text = self._text(ids)
        found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
        return text[: min(found)] if found else None

    def _text(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)

    def _written(self, row: _Row, limit: int) -> Written:
        return Written(row.text or "", len(row.ids), len(row.ids) < limit)
