"""How near the plan's memory comes to what was replayed and published: one line for each known figure.

    python tests/bench/plan_accuracy.py            # the table, and the time of a plan
    python tests/bench/plan_accuracy.py --own 30   # random shapes and recipes against our own dry run

K rows are replays of transformers and peft on tensors without values, F and P rows published peaks of the
article's trainer and of peft (sources: docs, "Where the figures come from"). Gigabytes are 1e9 bytes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.models.facts import ModelFacts, facts_of_config  # noqa: E402
from engine.plan.memory import Setting, memory_terms  # noqa: E402
from engine.plan.planner import DataFacts, plan  # noqa: E402
from engine.recipe.codec import override  # noqa: E402
from engine.recipe.recipe import Recipe  # noqa: E402

GIGA = 1e9
NAMES = "hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim".split()
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
_HEAD = {"adapter.target_modules": HEAD}
_R32 = {"adapter.r": 32}
_SGD = {"training.optim": "sgd", "training.momentum": 0.0}

KNOWN = (
    Row("K1", "bf16 base, q/v r8", "peft", 20.516, setting=_BF16),
    Row("K2", "same, batch 2", "peft", 27.529, batch=2, setting=_BF16),
    Row("K3", "bf16, all-linear r8", "peft", 24.038, changes=_ALL, setting=_BF16),
    Row("K4", "4-bit, q/v r8", "peft", 10.905, changes=_FOUR, setting=_BF16),
    Row("K5", "4-bit, all-linear r8", "peft", 14.427, changes={**_FOUR, **_ALL}, setting=_BF16),
    Row("K6", "4-bit, all-linear r256, AdamW", "peft", 18.290, changes={**_FOUR, **_ALL, "adapter.r": 256}, setting=_BF16),
    Row("K7", "4-bit, all-linear r256, SGD", "peft", 15.731, changes={**_FOUR, **_ALL, **_SGD, "adapter.r": 256}, setting=_BF16),
    Row("K8", "K5 and checkpointing", "peft", 4.850, changes={**_FOUR, **_ALL, **_CKPT}, setting=_BF16),
    Row("K9", "K3 and checkpointing, 2,048 tokens", "peft", 14.955, tokens=2048, changes={**_ALL, **_CKPT}, setting=_BF16),
    Row("K10", "K5, no dropout", "peft", 11.591, changes={**_FOUR, **_ALL, **_DRY}, setting=_BF16),
    Row("K11", "K5, float32 adapter", "peft", 17.521, changes={**_FOUR, **_ALL}, setting=_WIDE),
    Row("K12", "K3, no dropout", "peft", 21.202, changes={**_ALL, **_DRY}, setting=_BF16),
    Row("K13", "q/v r32, 4 x 768 padded", "peft", 21.997, "Llama-3.2-3B", 768, 4, {**_R32, **_DRY}, _PADDED),
    Row("K14", "MLP r10, 4 x 768 padded", "peft", 24.689, "Llama-3.2-3B", 768, 4, {"adapter.r": 10, "adapter.target_modules": MLP, **_DRY}, _PADDED),
    Row("K15", "all-linear r8, 2 x 512", "peft", 2.195, "SmolLM2-135M", 512, 2, _ALL, _WIDE),
    Row("F1", "article: LoRA bf16 q/v r8", "litgpt", 21.33, setting=_FIRST),
    Row("F2", "article: QLoRA nf4, AdamW", "litgpt", 14.18, changes=_PLAIN4, setting=_FIRST),
    Row("F3", "article: QLoRA nf4, SGD", "litgpt", 14.15, changes={**_PLAIN4, **_SGD}, setting=_FIRST),
    Row("F4", "article: QLoRA, 7 linears and head, r8", "litgpt", 16.62, changes={**_PLAIN4, **_HEAD}, setting=_FIRST),
    Row("F5", "article: QLoRA, all and head, r256", "litgpt", 17.86, changes={**_PLAIN4, **_HEAD, "adapter.r": 256}, setting=_FIRST),
    Row("F6", "article: r256 with SGD, read as q/v", "litgpt", 14.46, changes={**_PLAIN4, **_SGD, "adapter.r": 256}, setting=_FIRST),
    Row("F7", "article: r256, 2,048 tokens", "litgpt", 26.96, tokens=2048, changes={**_PLAIN4, **_HEAD, "adapter.r": 256, "training.optim": "paged_adamw"}, setting={"resident": True}, gap="which optimizer ran is not stated"),
    Row("F8", "article: full, each of 2 GPUs, sharded", "litgpt", 36.66, changes={"adapter.method": "full"}, gap="buffers of that trainer's sharding are not known"),
    Row("P1", "bf16, batch 2", "litgpt", 29.07, batch=2, setting=_FIRST),
    Row("P3", "13B bf16", "litgpt", 38.12, "Llama-2-13B", setting=_FIRST),
    Row("P4", "13B nf4", "litgpt", 23.14, "Llama-2-13B", changes=_PLAIN4, setting=_FIRST),
    Row("P6", "LoRA r32, 2 x 512", "litgpt", 19.77, tokens=512, batch=2, changes=_R32, setting={"resident": True}),
    Row("P7", "same, nf4", "litgpt", 13.68, tokens=512, batch=2, changes={**_R32, **_PLAIN4}, setting={"resident": True}, gap="later release: all its quantised rows lie above"),
    Row("P8", "LoRA r32, 512", "litgpt", 19.73, "Llama-3-8B", 512, 1, _R32, {"resident": True}),
    Row("P9", "LoRA r32, 2 x 512", "litgpt", 20.66, "Mistral-7B", 512, 2, _R32, {"resident": True}),
    Row("P10", "LoRA r32, 512", "litgpt", 4.49, "Llama-3.2-1B", 512, 1, _R32, {"resident": True}),
    Row("P12", "peft: q/v r32, 4 x 768, reserved", "peft", 22.29, "Llama-3.2-3B", 768, 4, {**_R32, **_DRY}, _PADDED),
    Row("P13", "peft: MLP r10, 4 x 768, reserved", "peft", 24.70, "Llama-3.2-3B", 768, 4, {"adapter.r": 10, "adapter.target_modules": MLP, **_DRY}, _PADDED),
)  # fmt: skip


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
        return override(Recipe(), {k: v for k, v in options.items() if k not in ("adapter.r", "adapter.target_modules")})
    return override(Recipe(), fixed | row.changes)


_FSDP = {"launcher.processes": 2, "launcher.strategy": "fsdp", "training.on_out_of_memory": "fail"}


def peak_of(row: Row) -> float:
    """Return the allocator's peak that the formula gives, in gigabytes."""
    recipe = recipe_of(row)
    setting = Setting(
        device="cuda",
        number_bytes=2,
        batch_tokens=row.tokens * row.batch,
        checkpointing=recipe.training.gradient_checkpointing == "all",
        longest=row.tokens,
        sequences=row.batch,
        **row.setting,
    )
    terms = memory_terms(recipe, facts_of(row.model), setting, row.profile)
    return (sum(terms.values()) - terms["runtime"]) / GIGA


def table() -> None:
    """Print one line for each known figure."""
    print(f"{'id':4} {'setting':40} {'formula':>8} {'known':>8} {'error':>7}")
    for row in KNOWN:
        found = peak_of(row)
        words = f"{row.words}" if row.model == "Llama-2-7B" else f"{row.model}: {row.words}"
        print(f"{row.id:4} {words[:40]:40} {found:8.2f} {row.peak:8.2f} {found / row.peak - 1:+7.1%}  {row.gap}")


def speed(count: int = 200) -> None:
    """Print how long one plan takes, data known and memory short, so that all changes are tried."""
    data = DataFacts(1000, 100, 1304, 1304, 1_304_000, 400_000)
    taken = []
    for number in range(count):
        recipe = override(Recipe(), {"adapter.r": 8 + number})
        began = time.process_time()
        plan(recipe, facts_of("Llama-3-8B"), data, 8e9)
        taken.append(1000 * (time.process_time() - began))
    print(f"processor time of one plan that does not fit, with its suggestions: median {statistics.median(taken):.1f} ms, longest {max(taken):.1f} ms")


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--own", type=int, default=0, metavar="COUNT")
    arguments = parser.parse_args()
    if arguments.own:
        from tests.bench.plan_own import compare

        compare(arguments.own)
        return
    table()
    speed()


if __name__ == "__main__":
    main()
