"""The known figures that the plan is held against: replays (K) and published peaks (F, P)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from engine.models.facts import ModelFacts, facts_of_config
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe

NAMES = (
    "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim".split()
)
MODELS: dict[str, tuple[int, ...]] = {  # the sizes above, the vocabulary, and whether the head is tied
    "Llama-2-7B": (4096, 11008, 32, 32, 32, 128, 32000, False),
    "Llama-2-13B": (5120, 13824, 40, 40, 40, 128, 32000, False),
    "Llama-3-8B": (4096, 14336, 32, 32, 8, 128, 128256, False),
    "Llama-3.2-1B": (2048, 8192, 16, 32, 8, 64, 128256, True),
    "Llama-3.2-3B": (3072, 8192, 28, 24, 8, 128, 128256, True),
    "Mistral-7B": (4096, 14336, 32, 32, 8, 128, 32000, False),
    "SmolLM2-135M": (576, 1536, 30, 9, 3, 64, 49152, True),
}
QV = ["q_proj", "v_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
HEAD = ["query", "key", "value", "output", "gate", "up", "down", "lm_head"]


@dataclass(frozen=True)
class Row:
    """One known figure: what was run, how, and the peak in gigabytes; `gap` says why it may be missed."""

    id: str
    words: str
    profile: str
    peak: float
    model: str = "Llama-2-7B"
    tokens: int = 1304
    batch: int = 1
    changes: dict[str, Any] = field(default_factory=dict)
    setting: dict[str, Any] = field(default_factory=dict)
    gap: str = ""


_FOUR = {"model.load_in_4bit": True}
_ALL = {"adapter.target_modules": "all-linear"}
_CKPT = {"training.gradient_checkpointing": "all"}
_DRY = {"adapter.lora_dropout": 0.0}
_BF16 = {"adapter_bytes": 2}
_WIDE = {"adapter_bytes": 4}
_PADDED = {"adapter_bytes": 4, "padded": True}
_PLAIN4 = {**_FOUR, "model.bnb_4bit_use_double_quant": False}
_FIRST = {"first_step": True}
_LATER = {"resident": True}
_R256 = {"adapter.r": 256}
_MLP10 = {"adapter.r": 10, "adapter.target_modules": MLP}
_HEAD = {"adapter.target_modules": HEAD}
_R32 = {"adapter.r": 32}
_SGD = {"training.optim": "sgd", "training.momentum": 0.0}

KNOWN = (
    Row("K1", "bf16 base, q/v r8", "peft", 20.516, setting=_BF16),
    Row("K2", "same, batch 2", "peft", 27.529, batch=2, setting=_BF16),
    Row("K3", "bf16, all-linear r8", "peft", 24.038, changes=_ALL, setting=_BF16),
    Row("K4", "4-bit, q/v r8", "peft", 10.905, changes=_FOUR, setting=_BF16),
    Row("K5", "4-bit, all-linear r8", "peft", 14.427, changes={**_FOUR, **_ALL}, setting=_BF16),
    Row(
        "K6",
        "4-bit, all-linear r256, AdamW",
        "peft",
        18.290,
        changes={**_FOUR, **_ALL, **_R256},
        setting=_BF16,
    ),
    Row(
        "K7",
        "4-bit, all-linear r256, SGD",
        "peft",
        15.731,
        changes={**_FOUR, **_ALL, **_SGD, **_R256},
        setting=_BF16,
    ),
    Row("K8", "K5 and checkpointing", "peft", 4.850, changes={**_FOUR, **_ALL, **_CKPT}, setting=_BF16),
    Row(
        "K9",
        "K3 and checkpointing, 2,048 tokens",
        "peft",
        14.955,
        tokens=2048,
        changes={**_ALL, **_CKPT},
        setting=_BF16,
    ),
    Row("K10", "K5, no dropout", "peft", 11.591, changes={**_FOUR, **_ALL, **_DRY}, setting=_BF16),
    Row("K11", "K5, float32 adapter", "peft", 17.521, changes={**_FOUR, **_ALL}, setting=_WIDE),
    Row("K12", "K3, no dropout", "peft", 21.202, changes={**_ALL, **_DRY}, setting=_BF16),
    Row("K13", "q/v r32, 4 x 768 padded", "peft", 21.997, "Llama-3.2-3B", 768, 4, {**_R32, **_DRY}, _PADDED),
    Row(
        "K14", "MLP r10, 4 x 768 padded", "peft", 24.689, "Llama-3.2-3B", 768, 4, {**_MLP10, **_DRY}, _PADDED
    ),
    Row("K15", "all-linear r8, 2 x 512", "peft", 2.195, "SmolLM2-135M", 512, 2, _ALL, _WIDE),
    Row("F1", "article: LoRA bf16 q/v r8", "litgpt", 21.33, setting=_FIRST),
    Row("F2", "article: QLoRA nf4, AdamW", "litgpt", 14.18, changes=_PLAIN4, setting=_FIRST),
    Row("F3", "article: QLoRA nf4, SGD", "litgpt", 14.15, changes={**_PLAIN4, **_SGD}, setting=_FIRST),
    Row(
        "F4",
        "article: QLoRA, 7 linears and head, r8",
        "litgpt",
        16.62,
        changes={**_PLAIN4, **_HEAD},
        setting=_FIRST,
    ),
    Row(
        "F5",
        "article: QLoRA, all and head, r256",
        "litgpt",
        17.86,
        changes={**_PLAIN4, **_HEAD, **_R256},
        setting=_FIRST,
    ),
    Row(
        "F6",
        "article: r256 with SGD, read as q/v",
        "litgpt",
        14.46,
        changes={**_PLAIN4, **_SGD, **_R256},
        setting=_FIRST,
    ),
    Row(
        "F7",
        "article: r256, 2,048 tokens",
        "litgpt",
        26.96,
        tokens=2048,
        changes={**_PLAIN4, **_HEAD, **_R256, "training.optim": "paged_adamw"},
        setting=_LATER,
        gap="which optimizer ran is not stated",
    ),
    Row(
        "F8",
        "article: full, each of 2 GPUs, sharded",
        "litgpt",
        36.66,
        changes={"adapter.method": "full"},
        gap="buffers of that trainer's sharding are not known",
    ),
    Row("P1", "bf16, batch 2", "litgpt", 29.07, batch=2, setting=_FIRST),
    Row("P3", "13B bf16", "litgpt", 38.12, "Llama-2-13B", setting=_FIRST),
    Row("P4", "13B nf4", "litgpt", 23.14, "Llama-2-13B", changes=_PLAIN4, setting=_FIRST),
    Row("P6", "LoRA r32, 2 x 512", "litgpt", 19.77, tokens=512, batch=2, changes=_R32, setting=_LATER),
    Row(
        "P7",
        "same, nf4",
        "litgpt",
        13.68,
        tokens=512,
        batch=2,
        changes={**_R32, **_PLAIN4},
        setting=_LATER,
        gap="later release: all its quantised rows lie above",
    ),
    Row("P8", "LoRA r32, 512", "litgpt", 19.73, "Llama-3-8B", 512, 1, _R32, _LATER),
    Row("P9", "LoRA r32, 2 x 512", "litgpt", 20.66, "Mistral-7B", 512, 2, _R32, _LATER),
    Row("P10", "LoRA r32, 512", "litgpt", 4.49, "Llama-3.2-1B", 512, 1, _R32, _LATER),
    Row(
        "P12",
        "peft: q/v r32, 4 x 768, reserved",
        "peft",
        22.29,
        "Llama-3.2-3B",
        768,
        4,
        {**_R32, **_DRY},
        _PADDED,
    ),
    Row(
        "P13",
        "peft: MLP r10, 4 x 768, reserved",
        "peft",
        24.70,
        "Llama-3.2-3B",
        768,
        4,
        {**_MLP10, **_DRY},
        _PADDED,
    ),
)


@cache
def facts_of(name: str) -> ModelFacts:
    """Return the facts of a well-known shape."""
    *sizes, vocabulary, tied = MODELS[name]
    config = dict(zip(NAMES, sizes, strict=True)) | {"vocab_size": vocabulary, "tie_word_embeddings": tied}
    return facts_of_config({"model_type": "llama", "max_position_embeddings": 8192, **config}, name)


def recipe_of(row: Row) -> Recipe:
    """Return the recipe of a row: the article's settings where it says nothing else."""
    fixed = {
        "adapter.r": 8,
        "adapter.target_modules": QV,
        "training.gradient_checkpointing": "none",
        "training.per_device_train_batch_size": row.batch,
        "data.max_length": row.tokens,
    }
    if row.changes.get("adapter.method") == "full":
        options = {**fixed, **_FSDP, **row.changes}
        return override(
            Recipe(), {k: v for k, v in options.items() if k not in ("adapter.r", "adapter.target_modules")}
        )
    return override(Recipe(), fixed | row.changes)


_FSDP = {"launcher.processes": 2, "launcher.strategy": "fsdp", "training.on_out_of_memory": "fail"}
