"""Causal attention of many short sequences at once on a processor, rotation included.

A kernel called once a sequence spends most of its time on being called. Here the sequences of a flat row
are laid side by side, as long as the longest; what stands behind a shorter one's end is never looked at
and gets no gradient. Weights are computed in float32 and kept for the backward pass, so this is for
sequences that are short beside the width of a head; see `Places.pay`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.runtime.fused.pieces import rotate
from engine.runtime.fused.threads import InOneThread

MOST_KEPT = 2.0  # weights kept, in values a query of each head for each of its head_dim
MOST_IDLE = 3.0  # weights computed for each one that counts


@dataclass(frozen=True)
class Places:
    """Where the rows of a flat row, one a token and head, stand in the layout side by side.

    Rows are numbered token by token, [query heads | key heads | value heads]. With `shared` tokens at the
    front these are a sequence of their own, and the first keys of every other one.
    """

    sequences: int
    keys: int  # of each sequence, the longest one's
    heads: int
    kv_heads: int
    shared: int
    into: Tensor  # rows that make up queries, keys and values
    back: Tensor  # for each row, where its gradient stands among those of `into` and the shared sums behind
    answers: Tensor  # for each query row, where its output stands
    asked: Tensor  # for each output, its query row; one behind the last where it is idle
    bias: Tensor  # [sequences * kv_heads, grouped queries, keys]: 0, or -inf where a query does not look


def pay(lengths: Sequence[int], shared: int, head_dim: int) -> bool:
    """Return whether sequences are short and even enough for this layout."""
    queries, keys, count = max(*lengths, shared), max(lengths) + shared, len(lengths) + bool(shared)
    computed = queries * keys * count
    useful = sum(n * (shared + n) for n in lengths) + shared * shared
    tokens = sum(lengths) + shared
    return len(lengths) > 1 and computed <= min(MOST_KEPT * tokens * head_dim, MOST_IDLE * useful)


def places(
    lengths: Sequence[int], shared: int, heads: int, kv_heads: int, window: int | None, device: torch.device
) -> Places:
    """Lay out sequences of these lengths, behind `shared` tokens that all of them begin with."""
    parts = [shared, *lengths] if shared else list(lengths)
    rows, total = heads + 2 * kv_heads, sum(parts)
    asked = _queries(parts, max(*lengths, shared), heads, kv_heads, rows)
    kept, real = _keys(parts, shared, shared + max(lengths), heads, kv_heads, rows)
    into = np.concatenate([np.maximum(asked, 0), kept.ravel(), (kept + kv_heads).ravel()])
    back = np.zeros(total * rows, dtype=np.int64)
    back[asked[asked >= 0]] = np.flatnonzero(asked >= 0)
    for number in range(2):  # keys, values
        back[(kept + number * kv_heads)[real]] = len(asked) + number * kept.size + np.flatnonzero(real)
    for number in range(2 if shared else 0):
        front = np.arange(shared)[None] * rows + heads + (number * kv_heads + np.arange(kv_heads))[:, None]
        back[front.ravel()] = len(into) + number * front.size + np.arange(front.size)
    query_rows = (np.arange(total)[:, None] * rows + np.arange(heads)[None]).ravel()
    outputs = np.full(total * rows + 1, len(query_rows), dtype=np.int64)  # the last is that of an idle query
    outputs[query_rows] = np.arange(len(query_rows))
    bias = _bias(parts, shared, shared + max(lengths), max(*lengths, shared), window)
    full = bias[:, None, None].expand(-1, kv_heads, heads // kv_heads, -1, -1)
    return Places(
        len(parts),
        shared + max(lengths),
        heads,
        kv_heads,
        shared,
        torch.from_numpy(into).to(device),
        torch.from_numpy(back).to(device),
        torch.from_numpy(back[query_rows]).to(device),
        torch.from_numpy(outputs[asked]).to(device),
        full.reshape(len(parts) * kv_heads, -1, bias.shape[-1]).to(device),
    )


def _queries(parts: Sequence[int], longest: int, heads: int, kv_heads: int, rows: int) -> np.ndarray:
    """Return the row of each query laid out, [sequence, key head, head of its group, query]; idle ones -1."""
    start, length = (np.cumsum(parts) - parts)[:, None], np.asarray(parts)[:, None]
    at = np.arange(longest)[None]
    token = np.where(at < length, start + at, -1)[:, None, None]
    head = np.arange(heads).reshape(1, kv_heads, -1, 1)
    return np.where(token >= 0, token * rows + head, -1).ravel()


def _keys(
    parts: Sequence[int], shared: int, longest: int, heads: int, kv_heads: int, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the row of each key laid out, [sequence, key head, key], and which are a sequence's own.

    A place that is neither shared nor a sequence's own holds the first token: it is never looked at.
    """
    start, length = (np.cumsum(parts) - parts)[:, None], np.asarray(parts)[:, None]
    place = np.arange(longest)[None]
    own = (place >= shared) & (place - shared < length)
    if shared:
        own[0] = False
    token = np.where(own, start + place - shared, np.where(place < shared, place, 0))
    kept = token[:, None] * rows + heads + np.arange(kv_heads)[None, :, None]
    return kept, np.broadcast_to(own[:, None], kept.shape)


def _bias(parts: Sequence[int], shared: int, keys: int, queries: int, window: int | None) -> Tensor:
    """Return what is added to scores, [sequence, query, key]: 0, or -inf where a query does not look."""
    at, place = torch.arange(queries)[None, :, None], torch.arange(keys)[None, None]
    first = torch.tensor([0] + [shared] * (len(parts) - 1) if shared else [0] * len(parts))[:, None, None]
    ahead = place - (first + at)
    looks = (ahead <= 0) if window is None else (ahead <= 0) & (ahead > -window)
    looks |= at >= torch.tensor(parts)[:, None, None]  # an idle query looks anywhere, so that it has a weight
    return torch.zeros(looks.shape).masked_fill_(~looks, float("-inf"))


class Attended(torch.autograd.Function):  # type: ignore[misc]
    """softmax(scale q k' + bias) v of [tokens, query | key | value heads, head_dim].

    Returns [tokens, heads, head_dim]. With cos and sin, [tokens, head_dim / 2], queries and keys are rotated
    first, see `pieces.Rotated`.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, cos: Tensor | None, sin: Tensor | None, at: Places, scale: float
    ) -> Tensor:
        tokens, _, size = x.shape
        turned = at.heads + at.kv_heads
        with InOneThread(x):
            if cos is not None and sin is not None:
                cos, sin = cos.float(), sin.float()
                x = _turned(x.float(), turned, cos, sin, 1.0).to(x.dtype)
            q, k, v = _laid_out(x, at)
        weights = torch.baddbmm(at.bias, q, k.transpose(1, 2), alpha=scale).softmax(-1)
        answers = torch.bmm(weights, v).view(-1, size)
        ctx.save_for_backward(x, weights, cos, sin)
        ctx.at, ctx.scale = at, scale
        with InOneThread(x):
            return answers.index_select(0, at.answers).view(tokens, at.heads, size).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, weights, cos, sin = ctx.saved_tensors
        at: Places = ctx.at
        size = x.shape[-1]
        with InOneThread(grads[0]):
            given = torch.cat([grads[0].reshape(-1, size).float(), weights.new_zeros(1, size)])
            grad = given.index_select(0, at.asked).view(len(weights), -1, size)
            q, k, v = _laid_out(x, at)
        shared, laid = at.kv_heads * at.shared, len(at.into)
        found = weights.new_empty(laid + 2 * shared, size)
        to_q, to_k, to_v = _cut(found[:laid], at, size)
        torch.bmm(weights.transpose(1, 2), grad, out=to_v)
        inner = torch._softmax_backward_data(
            torch.bmm(grad, v.transpose(1, 2)), weights, -1, weights.dtype
        ).mul_(ctx.scale)
        torch.bmm(inner, k, out=to_q)
        torch.bmm(inner.transpose(1, 2), q, out=to_k)
        with InOneThread(grads[0]):
            for part, into in ((to_k, found[laid:-shared]), (to_v, found[-shared:])) if shared else ():
                fronts = part.view(at.sequences, at.kv_heads, at.keys, size)[:, :, : at.shared]
                torch.sum(fronts, 0, out=into.view(at.kv_heads, at.shared, size))
            back = found.index_select(0, at.back).view(x.shape)
            if cos is not None:
                back = _turned(back, at.heads + at.kv_heads, cos, sin, -1.0)
            return back.to(x.dtype), None, None, None, None


def _turned(x: Tensor, heads: int, cos: Tensor, sin: Tensor, direction: float) -> Tensor:
    """Return [tokens, heads, head_dim] with its first heads rotated."""
    out = torch.empty_like(x)
    rotate(x[:, :heads], cos[:, None], sin[:, None], direction, out[:, :heads])
    out[:, heads:] = x[:, heads:]
    return out


def _laid_out(x: Tensor, at: Places) -> tuple[Tensor, Tensor, Tensor]:
    """Return float32 queries, keys and values of [tokens, heads, head_dim] side by side."""
    size = x.shape[-1]
    return _cut(x.view(-1, size).index_select(0, at.into).float(), at, size)


def _cut(rows: Tensor, at: Places, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values among rows laid side by side, [sequences * kv_heads, ..., head_dim]."""
    many = at.sequences * at.kv_heads
    q, k, v = rows.split([len(rows) - 2 * many * at.keys, many * at.keys, many * at.keys])
    return q.view(many, -1, size), k.view(many, -1, size), v.view(many, -1, size)
