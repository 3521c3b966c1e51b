"""Advice on the adapter: which layers it sits on, how wide it is, how its update is scaled."""

from __future__ import annotations

import math
from typing import Any

from engine.advice.finding import Finding, in_words
from engine.advice.memory_rules import ROOMY
from engine.advice.situation import Situation
from engine.models.experts import reached, values_in_experts
from engine.models.facts import Linear, ModelFacts
from engine.plan.adapter_size import head_of, shapes_in
from engine.recipe.targets import ALL_LINEAR, fits, in_group, named

HIGH_SCALE, LOW_SCALE = 4.0, 0.25
WIDE_RANK, LEAST_RANK, MORE_RANK = 64, 8, 32
HIGHEST_ALPHA = 4096
TOKENS_A_PARAMETER = 5  # fewer: the adapter can hold the data by heart (a threshold of ours)
TOKENS_FOR_MORE = 2000  # more: it may be too small (a threshold of ours)
LISTED = 7
TARGETS = "adapter.target_modules"
OF_MLP = frozenset("mlp gate up down gate_proj up_proj down_proj w1 w2 w3".split())


def attention_alone(s: Situation) -> Finding | None:
    """R07: only attention is adapted, and there is room for all layers."""
    if not _is_attention_only(s):
        return None
    fix = {TARGETS: ALL_LINEAR}
    if s.fits_with(fix) is False:
        return None
    message = "Attention-only adapters learn less than all layers at equal size. Adapt all linear layers."
    return Finding("R07", "warn", message, fix, ("A10", "S3", "S9"), TARGETS)


def mlp_rather_than_attention(s: Situation) -> Finding | None:
    """R08: all layers do not fit, and the MLP alone does."""
    if not _is_attention_only(s) or s.fits_with({TARGETS: ALL_LINEAR}) is not False:
        return None
    fix = {TARGETS: ["mlp"]}
    if not any(in_group(linear.name, "mlp") for linear in _reached(s)):
        return None
    if not s.fits_with(fix):
        return None
    message = "All layers will not fit; adapt the MLP rather than attention."
    return Finding("R08", "hint", message, fix, ("S9",), TARGETS)


def _is_attention_only(s: Situation) -> bool:
    """Return whether only attention is adapted in a model that has more to adapt."""
    names = [linear.name for linear, _ in s.modules]
    more = any(not in_group(linear.name, "attention") for linear in _reached(s))
    return s.lora and more and bool(names) and all(in_group(name, "attention") for name in names)


def _reached(s: Situation) -> list[Linear]:
    facts = s.facts
    return [] if facts is None else reached(facts.linears, facts.model_type, s.recipe.adapter.method)


def shared_head(s: Situation) -> Finding | None:
    """R09: the output head is adapted and shares its weight with the embedding."""
    if s.facts is None or not s.facts.tied or s.recipe.adapter.method == "full":
        return None
    head, wanted = head_of(s.facts), named(s.recipe.adapter.target_modules)
    if not any(fits(head, entry) for entry in wanted):
        return None
    rest = [entry for entry in wanted if not fits(head, entry)]
    message = (
        "The output head shares weights with the embedding; adapting it complicates merging. Leave it out."
    )
    return Finding("R09", "warn", message, {TARGETS: _targets(rest)}, (), TARGETS)


def unknown_module(s: Situation) -> Finding | None:
    """R10: an entry of the list means no layer of this model."""
    if s.facts is None or s.recipe.adapter.method == "full":
        return None
    known = _reached(s)
    names = [linear.name for linear in known] + [head_of(s.facts)]
    wanted = named(s.recipe.adapter.target_modules)
    # Embeddings are no linear layers, and are found by their tensors when the model is loaded.
    missing = [
        entry
        for entry in wanted
        if entry != ALL_LINEAR and "emb" not in entry and not any(fits(name, entry) for name in names)
    ]
    if not missing:
        return None
    rest = [entry for entry in wanted if entry not in missing]
    leaves = list(dict.fromkeys(linear.leaf for linear in known))
    more = " ..." if len(leaves) > LISTED else ""
    of_experts = missing[0] in OF_MLP and _in_experts(s.facts)
    what = f"No adapter reaches {missing[0]} in a model of experts." if of_experts else ""
    what = what or f"No layer is called {missing[0]}."
    message = f"{what} This model has: {', '.join(leaves[:LISTED])}{more}."
    return Finding("R10", "error", message, {TARGETS: _targets(rest)}, (), TARGETS)


def _targets(entries: list[str]) -> str | list[str]:
    return ALL_LINEAR if not entries or ALL_LINEAR in entries and len(entries) == 1 else entries


def experts_left_out(s: Situation) -> Finding | None:
    """R46: layers are wanted that a mixture of experts keeps where no adapter reaches (a rule of ours)."""
    facts, adapter = s.facts, s.recipe.adapter
    if facts is None or adapter.method == "full" or not s.modules:
        return None
    wanted = [each for each in named(adapter.target_modules) if each == ALL_LINEAR or each in OF_MLP]
    if not wanted or not (inside := _in_experts(facts)):
        return None
    known = {linear.name for linear in _reached(s)}
    beyond = [linear for linear in facts.linears if linear.name not in known]
    inside += sum(linear.in_features * linear.out_features for linear in beyond)
    left = "experts and the other MLPs" if beyond else "the experts"
    share = f"{100 * inside / facts.parameters:.0f} % of the weights"
    message = f"Adapters go to {_places(s)} only; {left} ({share}) stay as they are: no adapter reaches them."
    return Finding("R46", "hint", message, {}, ("L2",), TARGETS)


def _in_experts(facts: ModelFacts) -> int:
    """Return the values in experts; 0 where a family without a table is known by its configuration alone."""
    return 0 if facts.from_config and not facts.tensors else values_in_experts(shapes_in(facts))


def _places(s: Situation) -> str:
    """Return where the adapters sit, in words."""
    names = [linear.name for linear, _ in s.modules]
    shared = [name for name in names if "shared_expert" in name]
    rest = [name for name in names if name not in shared]
    found = []
    if any(in_group(name, "attention") for name in rest):
        found.append("attention")
    if any(in_group(name, "mlp") for name in rest):
        found.append("MLPs without experts")
    if shared:
        found.append("shared experts")
    return " and ".join(filter(None, (", ".join(found[:-1]), found[-1]))) if found else "few layers"


def large_scale(s: Situation) -> Finding | None:
    """R11: the update is multiplied with more than 4."""
    if not s.lora or s.recipe.adapter.use_rslora or s.scale <= HIGH_SCALE:
        return None
    fix = {"adapter.lora_alpha": 2 * s.recipe.adapter.r}
    message = f"Scale {s.scale:.3g} is large; updates may become unstable. Twice the rank is a usual alpha."
    return Finding("R11", "warn", message, fix, ("A11",), "adapter.lora_alpha")


def small_scale(s: Situation) -> Finding | None:
    """R12: the update is multiplied with less than a quarter; a smaller rank, where advised, mends it too."""
    if not s.lora or s.recipe.adapter.use_rslora or s.scale >= LOW_SCALE:
        return None
    if right_rank(s) < s.recipe.adapter.r:
        return None
    fix = {"adapter.lora_alpha": s.recipe.adapter.r}
    message = f"Scale {s.scale:.2g} is small; adapters may barely act. Use alpha {s.recipe.adapter.r}."
    return Finding("R12", "hint", message, fix, ("A12",), "adapter.lora_alpha")


def wide_without_rslora(s: Situation) -> Finding | None:
    """R13: a large rank with plain scaling; silent where a smaller rank is advised anyway."""
    adapter = s.recipe.adapter
    if adapter.method != "lora" or adapter.r < WIDE_RANK or adapter.use_rslora or right_rank(s) < adapter.r:
        return None
    fix = {"adapter.use_rslora": True, "adapter.lora_alpha": adapter.r}
    message = "Large ranks train better with rank-stabilised scaling; compare both."
    return Finding("R13", "hint", message, fix, ("S6", "S9"), "adapter.use_rslora")


def rslora_with_large_alpha(s: Situation) -> Finding | None:
    """R14: alpha above the rank and the root together."""
    adapter = s.recipe.adapter
    if not s.lora or not adapter.use_rslora or adapter.lora_alpha <= adapter.r:
        return None
    message = f"Alpha above the rank plus root scaling gives scale {s.scale:.3g}. Use alpha {adapter.r}."
    fix = {"adapter.lora_alpha": adapter.r}
    return Finding("R14", "warn", message, fix, ("S6", "S9"), "adapter.lora_alpha")


def rank_not_low(s: Situation) -> Finding | None:
    """R15: the rank is above half the narrower side of a module."""
    if not s.lora:
        return None
    narrow = [(linear, rank) for linear, rank in s.modules if rank > _narrow_side(linear) / 2]
    if not narrow:
        return None
    linear, rank = max(narrow, key=lambda each: each[1] / _narrow_side(each[0]))
    most = _low_rank(s)
    adapter = s.recipe.adapter
    fix: dict[str, Any] = rank_fix(s, right_rank(s)) if adapter.r > most else {}
    if any(value > most for value in adapter.rank_pattern.values()):
        fix["adapter.rank_pattern"] = {key: min(value, most) for key, value in adapter.rank_pattern.items()}
    if adapter.target_r is not None and adapter.target_r > most:
        fix["adapter.target_r"] = most
    width = _narrow_side(linear)
    message = f"Rank {rank} is no longer low-rank for {linear.leaf}, {width} values wide. Lower the rank."
    return Finding("R15", "error", message, fix, ("A1",), "adapter.r")


def more_than_data(s: Situation) -> Finding | None:
    """R16: fewer than five tokens are seen for each trained value."""
    if not s.lora or s.recipe.adapter.r <= LEAST_RANK or not _holds_by_heart(s):
        return None
    counts = f"{in_words(s.trained or 0)} trained values for {in_words(_tokens_seen(s) or 0)} tokens"
    message = f"{counts} suggest memorising. Lower the rank."
    return Finding("R16", "hint", message, rank_fix(s, right_rank(s)), ("A17",), "adapter.r")


def _holds_by_heart(s: Situation) -> bool:
    seen = _tokens_seen(s)
    return bool(seen and s.trained and seen < TOKENS_A_PARAMETER * s.trained)


def right_rank(s: Situation) -> int:
    """Return the rank that R15 and R16 together leave: the present one where neither speaks."""
    adapter, seen = s.recipe.adapter, _tokens_seen(s)
    rank = adapter.r
    if not s.lora:
        return rank
    if any(each > _narrow_side(linear) / 2 for linear, each in s.modules):
        rank = min(rank, _low_rank(s))
    if adapter.r > LEAST_RANK and seen and s.trained and _holds_by_heart(s):
        fitting = power_below(adapter.r * seen / (TOKENS_A_PARAMETER * s.trained))
        rank = min(rank, max(LEAST_RANK, fitting))
    return rank


def _low_rank(s: Situation) -> int:
    """Return the largest power of two up to a quarter of the narrowest of the modules that R15 names."""
    sides = [_narrow_side(linear) for linear, rank in s.modules if rank > _narrow_side(linear) / 2]
    return power_below(min(sides) / 4)


def _narrow_side(linear: Linear) -> int:
    return min(linear.in_features, linear.out_features)


def less_than_data(s: Situation) -> Finding | None:
    """R17: much data for a narrow adapter."""
    adapter = s.recipe.adapter
    seen = _tokens_once(s)
    if not s.lora or not seen or not s.trained or adapter.r > LEAST_RANK:
        return None
    if s.trained >= seen / TOKENS_FOR_MORE:
        return None
    narrowest = min((_narrow_side(each) for each, _ in s.modules), default=0)
    rank = min(MORE_RANK, power_below(narrowest / 4))
    fix = rank_fix(s, rank) if rank > adapter.r else {}
    if not fix or s.fits_with(fix, ROOMY) is False:
        return None
    counts = f"{in_words(seen)} tokens for {in_words(s.trained)} trained values"
    message = f"{counts}: try a larger rank, such as {rank}."
    return Finding("R17", "hint", message, fix, ("S3",), "adapter.r")


def rank_fix(s: Situation, rank: int) -> dict[str, Any]:
    """Return the overrides for another rank: alpha in proportion, as far as R11, R12 and R14 let it."""
    adapter = s.recipe.adapter
    alpha = round(adapter.lora_alpha * rank / adapter.r)
    low, high = (1, rank) if adapter.use_rslora else (math.ceil(LOW_SCALE * rank), int(HIGH_SCALE * rank))
    return {"adapter.r": rank, "adapter.lora_alpha": min(HIGHEST_ALPHA, high, max(1, low, alpha))}


def power_below(value: float) -> int:
    """Return the largest power of two that is not above a value, 1 at least."""
    power = 1
    while 2 * power <= value:
        power *= 2
    return power


def _tokens_seen(s: Situation) -> float | None:
    """Return the tokens of all passes."""
    if s.data is None or s.passes is None:
        return None
    return s.data.counts.total_tokens * s.passes


def _tokens_once(s: Situation) -> float | None:
    """Return the different tokens that are seen, with a batch of the size that R31 leaves."""
    if s.data is None or s.passes is None:
        return None
    smaller = 1.0 if s.recipe.training.max_steps is None else min(1.0, 32 / s.batch)
    return s.data.counts.total_tokens * min(1.0, s.passes * smaller)
