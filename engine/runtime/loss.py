"""The sum of cross entropies over supervised tokens, with the output head applied only there."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.runtime.batches import Batch
from engine.runtime.computing import kind_of

CHUNK_BYTES = {"cpu": 40_000_000, "cuda": 600_000_000}  # of float32 logits at a time
LEAST_ROWS = 64
ROWS_IN_CACHE = 32  # of a processor's chunk, so that the passes over them do not go to memory


def rows_at_once(positions: int, vocabulary: int, device: str) -> int:
    """Return how many positions get their logits at a time: chunks of one size, as large as they may be."""
    most = max(LEAST_ROWS, CHUNK_BYTES.get(device, CHUNK_BYTES["cpu"]) // (4 * vocabulary))
    return math.ceil(positions / math.ceil(positions / most))


def _to_gradient(scores: Tensor, target: Tensor, needed: bool) -> Tensor:
    """Return the sum of cross entropies, in float64, and turn the scores into its gradient where `needed`."""
    wide = scores.float()  # the scores themselves where they are float32
    wide -= wide.amax(-1, keepdim=True)
    picked = wide.gather(1, target)
    mass = wide.exp_().sum(-1, keepdim=True)
    if needed:
        wide /= mass
        wide.scatter_add_(1, target, torch.full_like(picked, -1.0))
        if wide is not scores:
            scores.copy_(wide)
    return (mass.log() - picked).sum(dtype=torch.float64)


class _HeadLoss(torch.autograd.Function):  # type: ignore[misc]
    """Cross entropy over a frozen head, a chunk of positions at a time.

    The gradient to the hidden states is made while a chunk's logits are at hand, so none outlive it.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, chunk: int) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)  # the same, however rows are cut
        needed = ctx.needs_input_grad[0]
        grad = torch.empty_like(hidden) if needed else None
        for start in range(0, len(hidden), chunk):
            rows = hidden[start : start + chunk]
            scores = rows @ weight.T
            few = len(rows) if kind_of(scores) != "cpu" else ROWS_IN_CACHE
            for part, target in zip(scores.split(few), labels[start : start + chunk].split(few), strict=True):
                total += _to_gradient(part, target[:, None], needed)
            if grad is not None:
                torch.mm(scores, weight, out=grad[start : start + chunk])
            del scores, part  # else they live until the next chunk's are made
        ctx.save_for_backward(grad)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * grads[0].to(grad.dtype), None, None, None


def decoder_of(base: nn.Module) -> nn.Module:
    """Return the part of a causal model below its output head."""
    decoder: nn.Module = getattr(base, base.base_model_prefix)
    return decoder


def plain_head(base: nn.Module) -> Tensor | None:
    """Return the weight of a frozen head without bias, None when the head is anything else."""
    head = base.get_output_embeddings()
    simple = type(head) is nn.Linear and head.bias is None and not head.weight.requires_grad
    weight: Tensor | None = head.weight if simple else None
    return weight


def loss_sum(base: nn.Module, batch: Batch, head: Tensor | None) -> Tensor:
    """Return the sum of cross entropies; divide by the supervised tokens of the whole optimizer step.

    `head` is the weight of a plain head (see `plain_head`); without it the model makes its own logits.
    """
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "use_cache": False}
    if batch.position_ids is not None:
        inputs["position_ids"] = batch.position_ids
    if batch.attention_mask is not None:
        inputs["attention_mask"] = batch.attention_mask
    if head is not None:
        hidden = decoder_of(base)(**inputs).last_hidden_state
        chosen = hidden.reshape(-1, hidden.shape[-1])[batch.where]
        chunk = rows_at_once(len(chosen), len(head), kind_of(chosen))
        result: Tensor = _HeadLoss.apply(chosen, head, batch.labels, chunk)
        return result
    if batch.position_ids is not None:
        logits = base(**inputs, logits_to_keep=batch.where).logits[0]
    else:
        full = base(**inputs).logits
        logits = full.reshape(-1, full.shape[-1])[batch.where]
    return F.cross_entropy(logits.float(), batch.labels, reduction="none").sum(dtype=torch.float64)
