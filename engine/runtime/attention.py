"""Causal attention inside each sequence of one concatenated row: no padding and no mask.

Sequences may begin with the same tokens, such as a system prompt: those stand once, at the front, and
every sequence sees them. Registered with transformers under `NAME`. Outside of `flat_row` it is plain
causal attention, so the same model also generates text with a cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.runtime.computing import is_imagined, kind_of
from engine.runtime.fused import attended
from engine.runtime.fused.attended import Attended, Places

NAME = "tunesmith_flat"


@dataclass
class Rows:
    """What stands in a flat row: `shared` tokens that all begin with, then each sequence's own."""

    lengths: Sequence[int]
    shared: int = 0
    masks: dict[tuple[int, int, int | None], Tensor] = field(default_factory=dict, repr=False)
    layouts: dict[tuple[int, int, int | None], Places] = field(default_factory=dict, repr=False)

    @property
    def parts(self) -> list[int]:
        """Return the lengths of the pieces that the row is cut in."""
        return [self.shared, *self.lengths] if self.shared else list(self.lengths)

    def side_by_side(
        self, heads: int, kv_heads: int, head_dim: int, window: int | None, like: Tensor
    ) -> Places | None:
        """Return how a processor lays these sequences beside one another, None where it should not."""
        if kind_of(like) != "cpu" or not attended.pay(self.lengths, self.shared, head_dim):
            return None
        key = (heads, kv_heads, window)
        if key not in self.layouts:
            self.layouts[key] = attended.places(
                self.lengths, self.shared, heads, kv_heads, window, like.device
            )
        return self.layouts[key]

    def band(self, rows: int, columns: int, window: int | None, like: Tensor) -> Tensor:
        """Return a boolean [rows, columns] mask: causal, aligned at the end, at most `window` back."""
        key = (rows, columns, window)
        found = self.masks.get(key)
        if found is None or found.device != like.device:
            found = self.masks[key] = _band(rows, columns, window, like.device)
        return found


# A plain global: with gradient checkpointing the layers run again in autograd's own thread.
_rows: Rows | None = None


@contextmanager
def flat_row(rows: Rows | Sequence[int] | None) -> Iterator[None]:
    """Say that rows passed to the model are sequences of these lengths, one behind the other.

    Must stay open until the backward pass is through.
    """
    global _rows
    previous, _rows = _rows, rows if rows is None or isinstance(rows, Rows) else Rows(rows)
    try:
        yield
    finally:
        _rows = previous


def _band(rows: int, columns: int, window: int | None, device: torch.device) -> Tensor:
    ahead = (
        torch.arange(columns, device=device)[None]
        - torch.arange(rows, device=device)[:, None]
        - (columns - rows)
    )
    allowed = ahead <= 0
    return allowed if window is None else allowed & (ahead > -window)


@dataclass(frozen=True)
class _Way:
    """How one sequence attends: what transformers passes beside query, key and value."""

    scale: float | None
    dropout: float
    window: int | None
    softcap: float | None


def _attend(q: Tensor, k: Tensor, v: Tensor, way: _Way, rows: Rows) -> Tensor:
    """Attention of one sequence; q is [batch, heads, tokens, head_dim], k and v may have fewer heads."""
    count, columns = q.shape[2], k.shape[2]
    banded = way.window is not None and columns > way.window
    grouped = q.shape[1] != k.shape[1]
    if way.softcap is not None:
        if grouped:
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        scores = (q @ k.transpose(2, 3)) * (way.scale or q.shape[-1] ** -0.5)
        scores = torch.tanh(scores / way.softcap) * way.softcap
        scores = scores.masked_fill(~rows.band(count, columns, way.window, q), float("-inf"))
        weights = F.dropout(scores.float().softmax(-1).to(q.dtype), way.dropout, way.dropout > 0)
        return weights @ v
    plain_causal = count == columns and not banded
    mask = (
        None
        if plain_causal or (count == 1 and not banded)
        else rows.band(count, columns, way.window if banded else None, q)
    )
    if grouped and kind_of(q) != "cpu":  # with grouped heads and a mask a GPU would leave its fast kernels
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
        grouped = False
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask,
        is_causal=plain_causal and count > 1,
        scale=way.scale,
        dropout_p=way.dropout,
        enable_gqa=grouped,
    )


def _has_kernel(q: Tensor) -> bool:
    """Return whether torch has a kernel here that takes many sequences in one call."""
    if kind_of(q) != "cuda" or q.dtype not in (torch.bfloat16, torch.float16) or q.shape[-1] > 256:
        return False
    return is_imagined() or bool(torch.cuda.get_device_capability(q.device) >= (8, 0))


@cache
def _kernel_is_sound(device: torch.device, dtype: torch.dtype, head_dim: int, grouped: bool) -> bool:
    """Try the kernel on two short sequences, output and gradients, against one sequence at a time."""
    rows, way = Rows([6, 9], 4), _Way(head_dim**-0.5, 0.0, None, None)
    generator = torch.Generator().manual_seed(0)
    heads = (4, 2 if grouped else 4, 2 if grouped else 4)
    drawn = [torch.randn(1, h, 19, head_dim, generator=generator).to(device, dtype) for h in heads]
    found = []
    for attend in (_one_call, _one_by_one):
        q, k, v = parts = [x.clone().requires_grad_() for x in drawn]
        try:
            with torch.enable_grad():
                out = attend(q, k, v, way, rows)
                out.float().square().sum().backward()
        except (RuntimeError, ImportError, TypeError, ValueError, NotImplementedError):
            return False
        found.append([out, *(x.grad for x in parts if x.grad is not None)])
    return all(
        float((a.float() - b.float()).abs().max()) <= 5e-2 * float(b.float().abs().max())
        for a, b in zip(*found, strict=True)
    )


def _one_call(q: Tensor, k: Tensor, v: Tensor, way: _Way, rows: Rows) -> Tensor:
    """All sequences in one call of a GPU's flash kernel, [1, tokens, heads, head_dim]."""
    from torch.nn.attention.varlen import varlen_attn

    queries = torch.tensor([0, *rows.parts], device=q.device).cumsum(0).to(torch.int32)
    keys, longest = queries, max(rows.parts)
    if rows.shared:  # each sequence's keys: the shared ones, then its own
        places = torch.arange(k.shape[2], device=q.device)
        own = places[rows.shared :].split(list(rows.lengths))
        order = torch.cat([places[: rows.shared], *(x for o in own for x in (places[: rows.shared], o))])
        k, v = k[:, :, order], v[:, :, order]
        lengths = [rows.shared, *(rows.shared + n for n in rows.lengths)]
        keys = torch.tensor([0, *lengths], device=q.device).cumsum(0).to(torch.int32)
        longest = max(lengths)
    window = (-1, 0) if way.window is None else (way.window - 1, 0)
    out = varlen_attn(
        q[0].transpose(0, 1),
        k[0].transpose(0, 1),
        v[0].transpose(0, 1),
        queries,
        keys,
        max(rows.parts),
        longest,
        scale=way.scale,
        window_size=window,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    assert isinstance(out, Tensor)
    return out[None]


def _one_by_one(query: Tensor, key: Tensor, value: Tensor, way: _Way, rows: Rows) -> Tensor:
    """Each sequence by itself, after the shared tokens where there are some."""
    found = []
    ahead: tuple[Tensor, Tensor] | None = None
    for q, k, v in zip(*(x.split(rows.parts, 2) for x in (query, key, value)), strict=True):
        if ahead is not None:
            k, v = torch.cat([ahead[0], k], 2), torch.cat([ahead[1], v], 2)
        elif rows.shared:
            ahead = k, v
        found.append(_attend(q, k, v, way, rows).transpose(1, 2))
    return torch.cat(found, 1)


def layout_here(heads: int, kv_heads: int, head_dim: int, window: int | None, like: Tensor) -> Places | None:
    """Return the layout side by side of the flat row that is going through the model, None without one."""
    if _rows is None or like.shape[0] != 1:
        return None
    return _rows.side_by_side(heads, kv_heads, head_dim, window, like)


def flat_attention(
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
    way, dtype = _Way(scaling, dropout, sliding_window, softcap), query.dtype
    heads, size = query.shape[1], query.shape[3]
    at = (
        layout_here(heads, key.shape[1], size, sliding_window, query)
        if softcap is None and not dropout
        else None
    )
    if at is not None:
        together = torch.cat([x[0].transpose(0, 1) for x in (query, key, value)], 1)
        return Attended.apply(together, None, None, at, scaling or size**-0.5)[None], None
    if dtype == torch.bfloat16 and kind_of(query) == "cpu":  # the backward pass in bf16 is slow there
        query, key, value = query.float(), key.float(), value.float()
    rows = _rows or Rows([query.shape[2]])
    if len(rows.parts) == 1:
        out = _attend(query, key, value, way, rows)
        return out.transpose(1, 2).to(dtype), None
    grouped = query.shape[1] != key.shape[1]
    plain = softcap is None and not dropout and _has_kernel(query)
    if plain and (is_imagined() or _kernel_is_sound(query.device, dtype, query.shape[-1], grouped)):
        return _one_call(query, key, value, way, rows), None
    return _one_by_one(query, key, value, way, rows).to(dtype), None


def register() -> None:
    """Make the attention known to transformers; calling it twice is harmless."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, flat_attention)
