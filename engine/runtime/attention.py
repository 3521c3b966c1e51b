"""Causal attention inside each sequence of one concatenated row: no padding and no mask.

Registered with transformers under `NAME`. Outside of `flat_row` it is plain causal attention, so the
same model also generates text with a cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NAME = "tunesmith_flat"

# A plain global: with gradient checkpointing the layers run again in autograd's own thread.
_lengths: list[int] | None = None


@contextmanager
def flat_row(lengths: list[int] | None) -> Iterator[None]:
    """Say that rows passed to the model are sequences of these lengths, one behind the other.

    Must stay open until the backward pass is through.
    """
    global _lengths
    previous, _lengths = _lengths, lengths
    try:
        yield
    finally:
        _lengths = previous


def _band(rows: int, columns: int, window: int | None, like: Tensor) -> Tensor:
    """Return a boolean [rows, columns] mask: causal, aligned at the end, at most `window` back."""
    ahead = (
        torch.arange(columns, device=like.device)[None]
        - torch.arange(rows, device=like.device)[:, None]
        - (columns - rows)
    )
    allowed = ahead <= 0
    return allowed if window is None else allowed & (ahead > -window)


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None,
    dropout: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """Attention of one sequence; q, k, v are [batch, heads, tokens, head_dim]."""
    rows, columns = q.shape[2], k.shape[2]
    banded = window is not None and columns > window
    if softcap is not None:
        scores = (q @ k.transpose(2, 3)) * (scale or q.shape[-1] ** -0.5)
        scores = torch.tanh(scores / softcap) * softcap
        scores = scores.masked_fill(~_band(rows, columns, window, q), float("-inf"))
        weights = F.dropout(scores.float().softmax(-1).to(q.dtype), dropout, dropout > 0)
        return weights @ v
    plain_causal = rows == columns and not banded
    mask = (
        None
        if plain_causal or (rows == 1 and not banded)
        else _band(rows, columns, window if banded else None, q)
    )
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=plain_causal and rows > 1, scale=scale, dropout_p=dropout
    )


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
    groups, dtype = query.shape[1] // key.shape[1], query.dtype
    if dtype == torch.bfloat16 and query.device.type == "cpu":  # the backward pass in bf16 is slow there
        query, key, value = query.float(), key.float(), value.float()
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    lengths = _lengths if _lengths is not None and len(_lengths) > 1 else [query.shape[2]]
    if lengths == [query.shape[2]]:
        out = _attend(query, key, value, scaling, dropout, sliding_window, softcap)
        return out.transpose(1, 2).to(dtype), None
    parts = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    rows = [_attend(q, k, v, scaling, dropout, sliding_window, softcap).transpose(1, 2) for q, k, v in parts]
    return torch.cat(rows, 1).to(dtype), None


def register() -> None:
    """Make the attention known to transformers; calling it twice is harmless."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, flat_attention)
