"""The certificate: a merged model is loaded again and compared with base + adapter on prompts.

Both compute in float32 where memory allows, so that what differs is what the merge rounded.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.events import SampleGenerated
from engine.models.facts import read_facts
from engine.runs.event_log import EventReader
from engine.runtime.adapted import load_adapted
from engine.runtime.device import cpu_dtype, quieten
from engine.runtime.generate import Sampling, generate, stops_of
from engine.runtime.load import Compute
from engine.runtime.target import Target

PROMPTS = 6
ANSWER_TOKENS = 16
COMPARED_TOKENS = 48
BUILT_IN = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Explain in simple words why the sky is blue.",
    "Translate into German: Good morning, how are you?",
    "List three fruits.",
    "What is 17 plus 25?",
)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Limit:
    """What a merge into this type must reach; rounding to 8 bits turns words that were nearly even."""

    max_logit_difference: float | None
    top1_agreement: float
    mean_kl: float


LIMITS = {
    "float32": Limit(1e-3, 0.999, 1e-6),
    "float16": Limit(None, 0.99, 1e-3),
    "bfloat16": Limit(None, 0.97, 1e-2),
}


@dataclass
class _Spoken:
    """What one model said: its scores at the compared positions of each prompt, on the same answers."""

    scores: list[Tensor]
    answers: list[tuple[int, ...]]


def compare(target: Target, merged: Path, tell: Progress) -> dict[str, Any]:
    """Compare base + adapter with the merged folder and return the certificate.

    {"max_logit_difference", "mean_logit_difference", "mean_kl", "top1_agreement", "same_answers", "prompts",
    "tokens", "dtype", "limits", "passed"}
    """
    quieten()
    facts = read_facts(merged)
    prompts = [_prompt_ids(target, text) for text in _prompts(target)]
    compute = Compute(torch.device("cpu"), cpu_dtype(facts))
    total = 2 * len(prompts)
    first = _speak(target, prompts, None, compute, lambda done: tell("check", done, total))
    again = Target(facts.name, facts, chat_template=target.chat_template)
    second = _speak(
        again, prompts, first.answers, compute, lambda done: tell("check", len(prompts) + done, total)
    )
    return _certificate(first, second, facts.dtype)


def _prompts(target: Target) -> list[str]:
    """Take the questions that the run itself answered at its evaluations, else built-in ones."""
    found: list[str] = []
    if target.run is not None:
        for event in EventReader(target.run).read_new():
            if isinstance(event, SampleGenerated) and event.prompt not in found:
                found.append(event.prompt)
    return [*found, *BUILT_IN][:PROMPTS]


def _prompt_ids(target: Target, text: str) -> list[int]:
    messages = [{"role": "system", "content": target.system_prompt}] if target.system_prompt else []
    messages.append({"role": "user", "content": text})
    template = load_template(target.base.path, target.chat_template)
    ids = ModelTokenizer(target.base.path).encode(template.render(messages, add_generation_prompt=True))
    return ids[-(target.base.max_positions - ANSWER_TOKENS - 1) :]


@torch.inference_mode()
def _speak(
    target: Target,
    prompts: list[list[int]],
    given: list[tuple[int, ...]] | None,
    compute: Compute,
    tell: Callable[[int], None],
) -> _Spoken:
    """Answer each prompt greedily, then take the scores over the prompt's end and the answer.

    The second model is given the first one's answers: where its likeliest words along them are the same,
    it would have answered the same.
    """
    adapted = load_adapted(target.base, target.adapter, compute)
    tokenizer = ModelTokenizer(target.base.path)
    stops = stops_of(target.base.path, load_template(target.base.path, target.chat_template), tokenizer)
    scores: list[Tensor] = []
    answers: list[tuple[int, ...]] = []
    greedy = Sampling(max_new_tokens=ANSWER_TOKENS)
    for number, prompt in enumerate(prompts):
        if given is None:
            answers.append(generate(adapted.model, prompt, greedy, stops=stops, decode=lambda ids: "").ids)
        else:
            answers.append(given[number])
        ids = torch.tensor([list(prompt) + list(answers[-1])])
        scores.append(
            adapted.model(input_ids=ids, use_cache=False).logits[0, -COMPARED_TOKENS:].float().clone()
        )
        tell(number + 1)
    del adapted
    gc.collect()
    return _Spoken(scores, answers)


def _same_answers(first: _Spoken, second: _Spoken) -> int:
    """Count the prompts whose answer the second model would have given word for word, its end included."""
    count = 0
    for a, b, answer in zip(first.scores, second.scores, first.answers, strict=True):
        span = len(answer) + 1
        count += bool((a[-span:].argmax(-1) == b[-span:].argmax(-1)).all())
    return count


def _certificate(first: _Spoken, second: _Spoken, dtype: str) -> dict[str, Any]:
    largest, total, divergence, agreed, positions = 0.0, 0.0, 0.0, 0, 0
    for a, b in zip(first.scores, second.scores, strict=True):
        difference = (a - b).abs()
        largest = max(largest, float(difference.max()))
        total += float(difference.mean(-1).sum())
        p, q = a.log_softmax(-1), b.log_softmax(-1)
        divergence += float((p.exp() * (p - q)).sum(-1).clamp_min(0).sum())
        agreed += int((a.argmax(-1) == b.argmax(-1)).sum())
        positions += len(a)
    limit = LIMITS.get(dtype, LIMITS["bfloat16"])
    top1 = agreed / positions
    finite = all(bool(torch.isfinite(scores).all()) for scores in second.scores)
    within = limit.max_logit_difference is None or largest < limit.max_logit_difference
    return {
        "max_logit_difference": largest if finite else None,
        "mean_logit_difference": total / positions if finite else None,
        "mean_kl": divergence / positions if finite else None,
        "top1_agreement": top1,
        "same_answers": _same_answers(first, second),
        "prompts": len(first.answers),
        "tokens": positions,
        "dtype": dtype,
        "limits": {
            "max_logit_difference": limit.max_logit_difference,
            "top1_agreement": limit.top1_agreement,
            "mean_kl": limit.mean_kl,
        },
        "passed": finite
        and within
        and top1 >= limit.top1_agreement
        and divergence / positions <= limit.mean_kl,
    }
