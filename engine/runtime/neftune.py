"""NEFTune: noise on the embeddings while training, so that a model learns an answer and not its wording."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from engine.runtime.batches import Batch
from engine.runtime.computing import is_imagined
from engine.runtime.training import Training

_ODD = 0x7FFFFFFFFFFFFFFF


@contextmanager
def noise(run: Training, batch: Batch, step: int) -> Iterator[None]:
    """Add noise to the embeddings of this batch; without `neftune_noise_alpha` nothing changes.

    Each value gets u * alpha / sqrt(L * d) with u uniform in [-1, 1), L the tokens of its own sequence and d
    the width of an embedding. u follows from (seed, step, the sequence's tokens): a resume repeats it, and it
    does not depend on how a step is cut into micro-batches. The generator of dropout is not touched.
    """
    alpha, seed = run.recipe.training.neftune_noise_alpha, run.recipe.training.seed
    if not alpha:
        yield
        return

    def disturb(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return output + _drawn(output, batch, alpha, (seed, step))

    handle = run.base.get_input_embeddings().register_forward_hook(disturb)
    try:
        yield
    finally:
        handle.remove()


def _drawn(output: Tensor, batch: Batch, alpha: float, seeds: tuple[int, int]) -> Tensor:
    """Return the noise of a batch in the shape of its embeddings; nothing is added where rows are padded."""
    drawn = torch.zeros_like(output, requires_grad=False)
    if is_imagined():
        return drawn
    places = drawn[0].split(batch.lengths) if batch.attention_mask is None else list(drawn)
    ids = batch.input_ids.cpu()
    rows = ids[0].split(batch.lengths) if batch.attention_mask is None else list(ids)
    generator = torch.Generator(output.device)
    for place, row, length in zip(places, rows, batch.lengths, strict=True):
        text = f"{seeds[0]} {seeds[1]} ".encode() + row[:length].numpy().tobytes()
        generator.manual_seed(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) & _ODD)
        reach = alpha / (length * output.shape[-1]) ** 0.5
        place[:length].uniform_(-reach, reach, generator=generator)
    return drawn
