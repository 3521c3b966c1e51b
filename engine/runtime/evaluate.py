"""Loss over a split, and answers to the sample prompts, without touching the training's own randomness."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from engine.data.dataset import Example, Prepared
from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer
from engine.runtime import attention, faulty, memory
from engine.runtime.batches import collate
from engine.runtime.loss import loss_sum
from engine.runtime.methods import portable

if TYPE_CHECKING:
    from engine.runtime.training import Training

SAMPLE_TOKENS = 96
SAMPLE_PROMPTS = 3


@dataclass(frozen=True)
class Prompt:
    """A prompt as a person reads it, and as the model gets it; and how long the data's own answer is."""

    text: str
    ids: tuple[int, ...]
    answer_tokens: int | None = None


@dataclass(frozen=True)
class Said:
    """An answer, the tokens it took, and whether it came to its end by itself."""

    text: str
    tokens: int
    ended: bool


def choose_prompts(
    data: Prepared, texts: list[str], template: ChatTemplate, tokenizer: ModelTokenizer, system: str | None
) -> list[Prompt]:
    """Return the recipe's own prompts, or the questions of the first validation rows."""
    if texts:
        return [prompt_from_text(text, template, tokenizer, system) for text in texts]
    found = []
    for example in data.validation:
        trained = np.flatnonzero(np.asarray(example.trained))
        start = int(trained[0]) if len(trained) else 0
        if start > 1:
            ids = tuple(int(i) for i in example.ids[:start])
            # The first answer alone: in a longer conversation others follow.
            run = int(np.argmin(np.append(np.asarray(example.trained)[start:], False)))
            found.append(Prompt(example.prompt or tokenizer.decode(list(ids)), ids, run))
        if len(found) == SAMPLE_PROMPTS:
            break
    return found


def prompt_from_text(
    text: str, template: ChatTemplate, tokenizer: ModelTokenizer, system: str | None
) -> Prompt:
    """Return what a person typed, as a first message under the recipe's system prompt."""
    messages = ([{"role": "system", "content": system}] if system else []) + [
        {"role": "user", "content": text}
    ]
    return Prompt(text, tuple(tokenizer.encode(template.render(messages, add_generation_prompt=True))))


@torch.no_grad()
def validation_loss(run: Training) -> float | None:
    """Return the mean loss per supervised token over validation; None when a stop was asked meanwhile."""
    total, count = torch.zeros((), dtype=torch.float64, device=run.compute.device), 0
    batches = _by_length(run.data.validation, run.recipe.training.per_device_train_batch_size)
    for rows in run.ranks.turns(batches):
        run.job.requests.poll()
        if run.job.requests.stop:
            return None
        run.job.vitals.alive()
        if rows:
            work = partial(_loss_in_parts, run, rows)
            # Parts of its own: that memory ran out here must not change how training computes.
            (loss, supervised), run.evaluation_parts = memory.until_it_fits(
                run, work, run.evaluation_parts, len(rows), "measuring on validation"
            )
            total, count = total + loss, count + supervised
    whole, tokens = map(sum, zip(*run.ranks.gather([float(total), count]), strict=True))
    return whole / tokens if tokens else None


def _loss_in_parts(run: Training, rows: list[Example], parts: int) -> tuple[torch.Tensor, int]:
    """Return the summed loss of some rows and their supervised tokens, computed in so many parts."""
    faulty.device("evaluate")
    total, count = torch.zeros((), dtype=torch.float64, device=run.compute.device), 0
    pad = run.base.config.get_text_config().pad_token_id or 0
    for piece in run.ranks.even(memory.pieces_of(run, rows, parts)):
        batch = collate(
            piece,
            run.compute.device,
            flat=run.layout.flat,
            pad_id=pad,
            lean=True,
            share=run.layout.shares,
        )
        with attention.flat_row(batch.rows):
            total += loss_sum(run.base, batch, run.head)
        count += batch.supervised
    return total, count


def _by_length(examples: list[Example], size: int) -> list[list[Example]]:
    ordered = sorted(examples, key=lambda e: len(e.ids))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


@torch.no_grad()
def answer(run: Training, prompt: Prompt, *, base: bool = False) -> Said:
    """Return the greedy answer, at most `SAMPLE_TOKENS` long; with `base`, without the adapter."""
    if not (run.ranks.first or run.ranks.sharded):
        return Said("", 0, False)  # rank 0 has the whole model and says it alone
    ids = torch.tensor([prompt.ids], device=run.compute.device)
    with portable.untouched(run.model) if base else nullcontext():
        out = run.base.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=SAMPLE_TOKENS,
            do_sample=False,
            eos_token_id=sorted(run.stops) or None,
            pad_token_id=run.base.config.get_text_config().pad_token_id or 0,
        )
    new = out[0, ids.shape[1] :].tolist()
    text = run.tokenizer.decode(new, skip_special_tokens=True).strip()
    return Said(text, len(new), bool(new) and new[-1] in run.stops)
