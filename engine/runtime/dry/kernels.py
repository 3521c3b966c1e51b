"""What a GPU's kernels keep, where a processor's keep something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

FLASH_WIDEST = 256  # head_dim that a GPU's flash kernel takes
_LOW = (torch.bfloat16, torch.float16)


@contextmanager
def of_a_gpu() -> Iterator[None]:
    """Let dropout and attention of a processor's tensors keep what a GPU keeps.

    Dropout keeps a mask of one byte a value; a processor's is as wide as the values. Attention is one call
    of the flash kernel, of the memory-efficient one in float32 or with a mask: the output and a float32 a
    query, never a weight a pair. The two names are replaced for everyone: a mode of torch's own does not
    reach layers that run again in a backward pass.
    """
    real = F.dropout, F.scaled_dot_product_attention
    F.dropout, F.scaled_dot_product_attention = _dropout, _attention
    try:
        yield
    finally:
        F.dropout, F.scaled_dot_product_attention = real


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    return torch.native_dropout(input, p, True)[0] if training and p else input


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    size = query.shape[-1]
    parts = [F.pad(x, (0, -size % 8)) if size % 8 else x for x in (query, key, value)]
    scale = size**-0.5 if scale is None else scale
    if attn_mask is None and query.dtype in _LOW and size <= FLASH_WIDEST:
        out = torch.ops.aten._scaled_dot_product_flash_attention(*parts, dropout_p, is_causal, scale=scale)[0]
    else:
        if enable_gqa:
            parts[1:] = [x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in parts[1:]]
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            attn_mask = torch.where(attn_mask, 0.0, float("-inf")).to(query.dtype)
        if attn_mask is not None:
            attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
        out = torch.ops.aten._scaled_dot_product_efficient_attention(
            *parts, attn_mask, True, dropout_p, is_causal, scale=scale
        )[0]
    attended: Tensor = out[..., :size]
    return attended
