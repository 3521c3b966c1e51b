"""Many questions in one row of tokens, where what their endings share stands once.

A block is one question: its trunk, which all its endings begin with, then each ending's own tokens, its
branches. A token sees the trunk and what stands before it in its own branch. What all questions begin with
(the head, such as worked examples) goes through the model once; its keys and values are kept. Attention is
computed block by block under the block's mask, so there is no padding and nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.runtime.computing import kind_of

NAME = "tunesmith_tree"


@dataclass(frozen=True)
class Asked:
    """One ending after its question: all token ids, and the places of those whose likelihood is asked."""

    ids: Sequence[int]
    scored: Sequence[int]


@dataclass(frozen=True)
class Block:
    """A question as it goes through the model.

    `ids` and `positions` are of its tokens, the head's left out. `branches` are the lengths of trunk and
    branches. `reads` say where a likelihood is read: (place in the block, token, ending).
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    branches: tuple[int, ...]
    reads: tuple[tuple[int, int, int], ...]


def common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all rows begin with."""
    all_rows = [tuple(row) for row in rows]
    first, last = min(all_rows), max(all_rows)  # of all the outermost differ first
    count = 0
    for a, b in zip(first, last, strict=False):
        if a != b:
            break
        count += 1
    return count


def head_of(questions: Sequence[Sequence[Asked]]) -> int:
    """Return how many tokens all questions begin with, none of which is read for a likelihood."""
    rows = [each.ids for question in questions for each in question]
    if len(questions) < 2 or not rows:
        return 0
    unread = min(place - 1 for question in questions for each in question for place in each.scored)
    return min(common_prefix(rows), unread)


def block_of(question: Sequence[Asked], head: int) -> Block:
    """Lay out one question behind a head of so many tokens. The last token of an ending is never an input."""
    inputs = [tuple(each.ids[: max(each.scored)]) for each in question]
    shared = max(head, common_prefix(inputs))
    ids, positions = list(inputs[0][head:shared]), list(range(head, shared))
    lengths, reads = [len(ids)], []
    for ending, (each, row) in enumerate(zip(question, inputs, strict=True)):
        begin, own = len(ids), row[shared:]
        for place in each.scored:
            before = place - 1
            at = before - head if before < shared else begin + before - shared
            reads.append((at, int(each.ids[place]), ending))
        ids += own
        positions += range(shared, shared + len(own))
        lengths.append(len(own))
    return Block(tuple(ids), tuple(positions), tuple(lengths), tuple(reads))


@dataclass
class Forest:
    """The blocks of one pass through the model, and the head's keys and values by layer."""

    blocks: Sequence[Block]
    head: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    head_length: int = 0
    keeps: bool = False  # this pass is the head itself
    masks: dict[tuple[int, int | None], Tensor | None] = field(default_factory=dict, repr=False)

    def mask(self, number: int, window: int | None, device: torch.device) -> Tensor | None:
        """Return which keys (the head's, then the block's) each token of a block sees; None: plain causal."""
        key = (number, window)
        if key not in self.masks:
            self.masks[key] = _mask(self.blocks[number], self.head_length, window, device)
        return self.masks[key]


def _mask(block: Block, head: int, window: int | None, device: torch.device) -> Tensor | None:
    total = len(block.ids)
    banded = window is not None and max(block.positions) >= window
    if not any(block.branches[1:]) and not head and not banded:
        return None
    owner = torch.repeat_interleave(torch.arange(len(block.branches)), torch.tensor(block.branches))
    order = torch.arange(total)
    seen = (owner[None] == 0) | (owner[None] == owner[:, None])
    seen &= order[None] <= order[:, None]
    seen = torch.cat([torch.ones(total, head, dtype=torch.bool), seen], 1)
    if banded:
        own = torch.tensor(block.positions)
        seen &= own[:, None] - torch.cat([torch.arange(head), own])[None] < window
    return seen.to(device)


_forest: Forest | None = None  # a plain global: transformers hands attention no other way to it


@contextmanager
def going_through(forest: Forest) -> Iterator[None]:
    """Say which blocks the row is made of that goes through the model now."""
    global _forest
    previous, _forest = _forest, forest
    try:
        yield
    finally:
        _forest = previous


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention: [1, heads, tokens, head_dim] in, [1, tokens, heads, head_dim] out."""
    forest = _forest
    if forest is None:
        raise RuntimeError("no blocks were named")
    if forest.keeps:
        forest.head[id(module)] = key, value
    before = None if forest.keeps else forest.head.get(id(module))
    parts = [len(block.ids) for block in forest.blocks]
    found = []
    rows = zip(*(x.split(parts, 2) for x in (query, key, value)), strict=True)
    for number, (q, k, v) in enumerate(rows):
        if before is not None:
            k, v = torch.cat([before[0], k], 2), torch.cat([before[1], v], 2)
        mask = forest.mask(number, sliding_window, q.device)
        found.append(_attend(q, k, v, mask, scaling, softcap).transpose(1, 2))
    return torch.cat(found, 1), None


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None, softcap: float | None
) -> Tensor:
    """Attention of one block; k and v may have fewer heads than q."""
    grouped = q.shape[1] != k.shape[1]
    if grouped and (softcap is not None or (mask is not None and kind_of(q) != "cpu")):
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        grouped = False
    if softcap is None:
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=grouped
        )
    scores = (q @ k.transpose(2, 3)) * (scale or q.shape[-1] ** -0.5)
    scores = torch.tanh(scores / softcap) * softcap
    if mask is None:
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
    return scores.masked_fill(~mask, float("-inf")).float().softmax(-1).to(q.dtype) @ v


def register() -> None:
    """Make the attention known to transformers; calling it twice is harmless."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, tree_attention)
