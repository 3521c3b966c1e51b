"""Situations for the rules of advice: a 7B model, a small one, data of any lengths, a GPU of any size."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from engine.advice.situation import Situation, Statistics, situation_of
from engine.data.report import Lengths
from engine.hardware.devices import Gpu, Machine
from engine.models.facts import Linear, ModelFacts, facts_of_config
from engine.plan.planner import DataFacts
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe

CPU_ONLY = Machine("cpu", 8, 16, 64 * 10**9, 60 * 10**9, ())
LLAMA_7B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
SMOLLM = {
    **LLAMA_7B,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
QWEN_EXPERTS = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
    "tie_word_embeddings": False,
}


def with_gpu(gigabytes: float) -> Machine:
    """Return a machine with one GPU of a size."""
    size = int(gigabytes * 1e9)
    return replace(CPU_ONLY, devices=(Gpu("RTX 4090", "GPU-1", size, size, "560", (8, 9)),))


@cache
def facts_7b() -> ModelFacts:
    """Return the facts of Llama-2-7B."""
    return facts_of_config(LLAMA_7B, "7b")


@cache
def facts_small() -> ModelFacts:
    """Return the facts of SmolLM2-135M."""
    return facts_of_config(SMOLLM, "smol")


@cache
def facts_of_experts(*dense: int) -> ModelFacts:
    """Return the facts of Qwen3-30B-A3B; the layers `dense` have an MLP instead of experts."""
    return facts_of_config({**QWEN_EXPERTS, "mlp_only_layers": list(dense)}, "experts")


def recipe(**changes: Any) -> Recipe:
    """Return a recipe with some fields changed: `adapter__r=8`."""
    return override(Recipe(), {name.replace("__", "."): value for name, value in changes.items()})


def statistics(
    examples: int = 20_000,
    mean: int = 400,
    longest: int = 1000,
    answers: float = 120.0,
    max_length: int = 1024,
    **others: Any,
) -> Statistics:
    """Return figures of data whose lengths rise evenly from short to long."""
    lengths = Lengths(mean, int(longest * 0.9), int(longest * 0.97), longest, examples * mean)
    shown = min(longest, max_length)
    total = examples * min(mean, max_length)
    counts = DataFacts(examples, examples // 10, min(mean, max_length), shown, total, int(examples * answers))
    made = Statistics(counts, lengths, max_length, examples + examples // 10, answer_tokens=answers)
    if "truncated" not in others:
        others["truncated"] = replace(made, max_length=-1).longer_than(max_length)
    return replace(made, **others)


def situation(
    changes: dict[str, Any] | None = None,
    *,
    facts: ModelFacts | None = None,
    data: Statistics | None = None,
    gigabytes: float | None = 80.0,
    **others: Any,
) -> Situation:
    """Return the situation of a recipe with changes on a GPU (GB), or on a processor where it is None."""
    machine = CPU_ONLY if gigabytes is None else with_gpu(gigabytes)
    asked = override(Recipe(), changes or {})
    data = data or statistics(max_length=asked.data.max_length)
    made = situation_of(asked, facts or facts_7b(), data, machine)
    return replace(made, **others)


__all__ = [
    "Linear",
    "facts_7b",
    "facts_of_experts",
    "facts_small",
    "recipe",
    "situation",
    "statistics",
    "with_gpu",
]
