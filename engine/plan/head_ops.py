"""The last norm, the output head and the loss: what they add to what the layers keep, in bytes."""

from __future__ import annotations

import math
from dataclasses import replace

from engine.models.facts import ModelFacts
from engine.plan.adapter_size import head_of
from engine.plan.chain import Peak
from engine.plan.layer_ops import norm
from engine.plan.layout import Layout
from engine.plan.way import HEAD_INSIDE, Setting, Way
from engine.recipe.recipe import Recipe
from engine.recipe.targets import fits

CHUNK_BYTES = {"cpu": 40_000_000, "cuda": 600_000_000}  # as in engine.runtime.loss
LEAST_ROWS = 64
ROWS_IN_CACHE = 32
FULL_LOGITS = 12  # float32 log-probabilities, and twice as much while their gradient is made: measured slope


def rows_at_once(positions: float, vocabulary: int, device: str) -> float:
    """Return how many positions get their logits at a time, as the engine's loss does."""
    most = max(LEAST_ROWS, CHUNK_BYTES[device] // (4 * vocabulary))
    return positions / max(1, math.ceil(positions / most))


def head_moments(recipe: Recipe, facts: ModelFacts, setting: Setting, way: Way, layout: Layout) -> list[Peak]:
    """Return the fullest moments between the last layer's forward pass and its backward one.

    In `activations` is what the last norm keeps, in `workspace` the scores and what is made of them.
    """
    n, d, tokens, vocabulary = way.number, way.hidden, setting.batch_tokens, facts.vocab_size
    supervised = max(1.0, tokens * setting.supervised)
    last = norm(way)
    kept, hidden = float(tokens * last.kept), float(tokens * d * (4 if way.full else n))
    norm_back = tokens * last.backward
    rank = layout.head_rank
    if way.profile != "own":
        adapted = tokens * (d * (way.adapter + way.mask) + rank * way.adapter) if rank else 0.0
        scores = float(FULL_LOGITS * vocabulary * tokens)
        return [Peak(kept + hidden + adapted, scores, 0.0), Peak(kept, norm_back, 0.0)]
    if head_is_apart(recipe, facts, layout):
        rows = rows_at_once(supervised, vocabulary, setting.device)
        scores = vocabulary * n * rows
        if n == 2:
            scores += vocabulary * 4 * (min(rows, ROWS_IN_CACHE) if setting.device == "cpu" else rows)
        chosen = supervised * d * n
        back = max(2 * chosen + hidden, norm_back + chosen)
        return [Peak(kept + hidden + 2 * chosen, scores, 0.0), Peak(kept, back, 0.0)]
    positions = tokens if setting.padded or not _is_flat(recipe) else supervised
    capped = n if facts.build.logit_softcap else 0
    scores = vocabulary * (max(n + 8, FULL_LOGITS) + capped) * positions
    adapted = positions * (d * (n + way.mask) + rank * n) if rank else 0.0
    moments = [Peak(kept + hidden + adapted, scores, 0.0), Peak(kept, norm_back, 0.0)]
    if head_is_trained(recipe, facts):  # it keeps its input and a copy of itself; then its gradient is made
        copies = positions * d * n + (vocabulary * d * n if n < 4 else 0)
        made = head_gradient(recipe, facts)
        back = vocabulary * n * positions + (vocabulary * d * n if n < 4 else 0)
        more = Peak(kept + hidden + positions * d * n, back, made)
        moments = [replace(moments[0], activations=moments[0].activations + copies), moments[1], more]
    return moments


def head_gradient(recipe: Recipe, facts: ModelFacts) -> float:
    """Return the bytes of the gradient of a head that is trained whole: the first that a step makes."""
    return 4.0 * facts.vocab_size * facts.hidden_size if head_is_trained(recipe, facts) else 0.0


def _is_flat(recipe: Recipe) -> bool:
    return recipe.model.attn_implementation in ("auto", "flash_attention_2")


def head_is_trained(recipe: Recipe, facts: ModelFacts) -> bool:
    """Return whether the output head is trained whole."""
    head = head_of(facts)
    return recipe.adapter.method == "full" or any(fits(head, e) for e in recipe.adapter.modules_to_save)


def head_is_apart(recipe: Recipe, facts: ModelFacts, layout: Layout) -> bool:
    """Return whether the head is a plain, frozen product, so that its loss can be made in chunks."""
    plain = facts.model_type not in HEAD_INSIDE and not facts.build.logit_softcap
    plain = plain and recipe.launcher.strategy != "fsdp"
    return plain and not head_is_trained(recipe, facts) and not layout.head_rank
