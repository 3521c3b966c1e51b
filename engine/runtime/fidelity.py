"""The certificate: what was made is asked what base + adapters were asked, and its answers are compared.

    reference = listen(base + adapters, prompts)           once: greedy answers, and the scores along them
    certify(reference, subject, kind=..., dtype=...)       any number of times: merged, adapter, exports

Both compute in float32 where memory allows, so that what differs is what was rounded as it was written.
`top1_agreement` looks at the positions where the reference is sure: its first and second word are further
apart than one step of the type that was written. Nearer ones are the same number in that type, and which of
them comes first says nothing; `top1_agreement_all` counts them too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.runtime.check_prompts import Asked
from engine.runtime.generate import Sampling, generate

ANSWER_TOKENS = 16
COMPARED_TOKENS = 48
Progress = Callable[[str, int, int], None]
Subject = Callable[[list[int]], Tensor]


@dataclass(frozen=True)
class Limit:
    """What must be reached. `step`: one step of the written type, as a share of the number it is taken at."""

    max_logit_difference: float | None
    top1_agreement: float
    mean_kl: float
    step: float


LIMITS = {
    "float32": Limit(1e-3, 0.999, 1e-6, torch.finfo(torch.float32).eps),
    "float16": Limit(None, 0.99, 1e-3, torch.finfo(torch.float16).eps),
    "bfloat16": Limit(None, 0.99, 1e-2, torch.finfo(torch.bfloat16).eps),
}


@dataclass(frozen=True)
class Reference:
    """What base + adapters said: their greedy answers, and their scores at the compared positions."""

    prompts: tuple[Asked, ...]
    answers: tuple[tuple[int, ...], ...]
    scores: tuple[Tensor, ...]

    def texts(self) -> list[list[int]]:
        """Return each prompt with its answer as one row of tokens."""
        return [[*asked.ids, *answer] for asked, answer in zip(self.prompts, self.answers, strict=True)]


@torch.inference_mode()
def listen(
    model: Any, prompts: Sequence[Asked], stops: frozenset[int], tell: Callable[[int], None]
) -> Reference:
    """Let a loaded model answer each prompt greedily; keep its scores over prompt's end and answer."""
    greedy = Sampling(max_new_tokens=ANSWER_TOKENS)
    answers, scores = [], []
    subject = subject_of(model)
    for number, asked in enumerate(prompts):
        answers.append(generate(model, asked.ids, greedy, stops=stops, decode=lambda ids: "").ids)
        scores.append(_compared(subject([*asked.ids, *answers[-1]])))
        tell(number + 1)
    return Reference(tuple(prompts), tuple(answers), tuple(scores))


def subject_of(model: Any) -> Subject:
    """Return what a loaded model of transformers says: tokens -> scores (tokens, words)."""

    def scores(ids: list[int]) -> Tensor:
        with torch.inference_mode():
            found: Tensor = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[
                0
            ]
        return found

    return scores


def _compared(scores: Tensor) -> Tensor:
    return scores[-COMPARED_TOKENS:].float().cpu().clone()


def certify(
    reference: Reference,
    subject: Subject,
    *,
    kind: str,
    dtype: str,
    limit: Limit | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Compare what was made with the reference, along the reference's own answers.

    `subject` gives scores (tokens, words) for tokens; `dtype` is what was written. Where the likeliest words
    along an answer are the same, the subject would have given that answer itself.
    {"kind", "passed", "reason" when it failed, "max_logit_difference", "mean_logit_difference", "mean_kl",
    "top1_agreement", "top1_agreement_all", "near_ties", "same_answers", "prompts", "prompt_texts",
    "prompt_sources", "each", "tokens", "dtype", "limits"}; "each" has for each prompt
    {"max_logit_difference", "mean_kl", "same_words", "words", "same_answer"}
    """
    limit = limit or LIMITS.get(dtype, LIMITS["bfloat16"])
    tally = _Tally(limit.step)
    for number, ids in enumerate(reference.texts()):
        tally.add(reference.scores[number], _compared(subject(ids)), len(reference.answers[number]))
        tell(number + 1)
    told = tally.figures()
    reason = _reason(told, limit, tally.finite)
    return {
        "kind": kind,
        "passed": not reason,
        **({"reason": reason} if reason else {}),
        **told,
        "prompts": len(reference.prompts),
        "prompt_texts": [asked.text for asked in reference.prompts],
        "prompt_sources": [asked.source for asked in reference.prompts],
        "each": tally.each,
        "dtype": dtype,
        "limits": {
            "max_logit_difference": limit.max_logit_difference,
            "top1_agreement": limit.top1_agreement,
            "mean_kl": limit.mean_kl,
        },
    }


class _Tally:
    """The differences, gathered position by position."""

    def __init__(self, step: float) -> None:
        self._step = step
        self.finite = True
        self.each: list[dict[str, Any]] = []
        self._largest = self._total = self._divergence = 0.0
        self._positions = self._agreed = self._sure = self._agreed_sure = self._answers = 0

    def add(self, a: Tensor, b: Tensor, answer: int) -> None:
        """Take the scores of the reference `a` and of the subject `b`, (positions, words) both."""
        finite = bool(torch.isfinite(b).all())
        self.finite = self.finite and finite
        difference = (a - b).abs()
        largest = float(difference.max())
        self._largest = max(self._largest, largest)
        self._total += float(difference.mean(-1).sum())
        p, q = a.log_softmax(-1), b.log_softmax(-1)
        divergence = float((p.exp() * (p - q)).sum(-1).clamp_min(0).sum())
        self._divergence += divergence
        best = a.topk(2, -1).values
        sure = best[:, 0] - best[:, 1] > self._step * best.abs().amax(-1)
        same = a.argmax(-1) == b.argmax(-1)
        self._positions += len(a)
        self._agreed += int(same.sum())
        self._sure += int(sure.sum())
        self._agreed_sure += int((same & sure).sum())
        answered = bool(same[-(answer + 1) :].all())
        self._answers += answered
        self.each.append(
            {
                "max_logit_difference": largest if finite else None,
                "mean_kl": divergence / len(a) if finite else None,
                "same_words": int(same.sum()),
                "words": len(a),
                "same_answer": answered,
            }
        )

    def figures(self) -> dict[str, Any]:
        """Return what is told of it; differences are None where the subject gave no numbers."""
        return {
            "max_logit_difference": self._largest if self.finite else None,
            "mean_logit_difference": self._total / self._positions if self.finite else None,
            "mean_kl": self._divergence / self._positions if self.finite else None,
            "top1_agreement": self._agreed_sure / self._sure if self._sure else 0.0,
            "top1_agreement_all": self._agreed / self._positions,
            "near_ties": self._positions - self._sure,
            "same_answers": self._answers,
            "tokens": self._positions,
        }


def _reason(told: dict[str, Any], limit: Limit, finite: bool) -> str:
    """Say what keeps a certificate from passing; empty where it passes."""
    if not finite:
        return "it answers with values that are no numbers"
    largest, allowed = told["max_logit_difference"], limit.max_logit_difference
    if allowed is not None and not largest < allowed:
        return f"the largest logit difference is {largest:.2g}; below {allowed:g} is allowed"
    if told["top1_agreement"] < limit.top1_agreement:
        share, least = told["top1_agreement"] * 100, limit.top1_agreement * 100
        return f"the next word is the same at {share:.1f} % of the positions; {least:g} % are needed"
    if told["mean_kl"] > limit.mean_kl:
        return f"the mean divergence is {told['mean_kl']:.2g}; {limit.mean_kl:g} is allowed"
    return ""
