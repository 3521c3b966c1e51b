"""Random shapes and recipes of our own engine: the plan's memory against a dry run of the engine itself."""

from __future__ import annotations

import gc
import json
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.hardware.devices import Gpu
from engine.models.facts import facts_of_config
from engine.plan.memory import memory_terms
from engine.plan.setting import setting_of
from engine.recipe.codec import override
from engine.recipe.combinations import clashes
from engine.recipe.recipe import Recipe

GPU = Gpu("a GPU", "", 80 * 10**9, 80 * 10**9, "", (9, 0))
FAMILIES = ("llama", "llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gpt2", "gpt_neox", "opt")


def draw_config(chance: random.Random, family: str) -> dict[str, Any]:
    """Return a config.json of this family with random sizes."""
    head = chance.choice([64, 128])
    heads = chance.choice([4, 8, 12, 16, 24, 32])
    hidden, layers = head * heads, chance.randint(4, 12)
    vocabulary = chance.choice([32000, 50304, 128256])
    if family == "gpt2":
        sizes = {"n_embd": hidden, "n_head": heads, "n_layer": layers, "n_positions": 4096}
        return {"model_type": family, "architectures": ["GPT2LMHeadModel"], "vocab_size": vocabulary, **sizes}
    config = {
        "model_type": family,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": chance.random() < 0.5,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    wide = 64 * round(hidden * chance.uniform(2.5, 4) / 64)
    if family == "opt":
        return config | {"ffn_dim": wide, "word_embed_proj_dim": hidden}
    config["intermediate_size"] = wide
    if family == "gpt_neox":
        return config | {"tie_word_embeddings": False}
    config["num_key_value_heads"] = chance.choice([n for n in (2, 4, 8, heads) if heads % n == 0])
    if family in ("qwen3", "gemma2"):
        config["head_dim"] = head
    return config


def draw_recipe(chance: random.Random) -> Recipe:
    """Return a recipe with random values of what changes memory."""
    targets = chance.choice(
        ["all-linear", "all-linear", ["query", "value"], ["mlp"], ["attention"], ["output"]]
    )
    values = {
        "adapter.method": "lora",
        "adapter.r": chance.choice([4, 8, 16, 64, 256]),
        "adapter.target_modules": targets,
        "adapter.lora_dropout": chance.choice([0.0, 0.05]),
        "model.load_in_4bit": chance.random() < 0.3,
        "model.bnb_4bit_use_double_quant": chance.random() < 0.5,
        "training.gradient_checkpointing": chance.choice(["none", "none", "all"]),
        "training.per_device_train_batch_size": chance.choice([1, 1, 2, 4]),
        "training.gradient_accumulation_steps": chance.choice([1, 1, 4]),
        "training.max_batch_tokens": chance.choice(["auto", "auto", 2048]),
        "training.optim": chance.choice(["adamw", "adamw", "sgd", "paged_adamw_8bit", "adamw_8bit", "lion"]),
        "training.precision": chance.choice(["bf16", "bf16", "bf16", "fp32"]),
        "data.max_length": chance.choice([256, 512, 1024, 2048]),
    }
    return override(Recipe(), values)


def one(
    seed: int, family: str | None = None, device: str = "cuda", **more: Any
) -> tuple[str, float, Any, dict[str, float]]:
    """Return what was drawn, the formula's peak, the dry run's answer and the formula's terms."""
    from engine.runtime.dry_run import dry_run

    chance = random.Random(seed)
    family = family or chance.choice(FAMILIES)
    config, recipe = draw_config(chance, family), draw_recipe(chance)
    recipe = override(recipe, more) if more else recipe
    if clashes(recipe):
        raise EngineError("clash", str(clashes(recipe)), "REC-01")
    gpu = GPU if device == "cuda" else None
    checkpointing = recipe.training.gradient_checkpointing == "all"
    setting = setting_of(recipe, None, gpu, checkpointing=checkpointing)
    terms = memory_terms(recipe, facts_of_config(config), setting)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config))
        measured = dry_run(recipe, Path(folder), None, device=device)
    gc.collect()
    t, m = recipe.training, recipe.model
    words = (
        f"{family} d{config.get('hidden_size', config.get('n_embd'))} "
        f"{'4bit ' if m.load_in_4bit else ''}{t.precision} r{recipe.adapter.r} "
        f"{recipe.adapter.target_modules} "
        f"drop{recipe.adapter.lora_dropout} {'ckpt ' if checkpointing else ''}"
        f"b{t.per_device_train_batch_size}x{recipe.data.max_length} ga{t.gradient_accumulation_steps} "
        f"{t.max_batch_tokens} {t.optim}"
    )
    return words, sum(terms.values()) - terms["runtime"], measured, terms


def compare(count: int, family: str | None = None, first: int = 0) -> None:
    """Print one line for each random case, then the median and the worst error."""
    errors = []
    for seed in range(first, first + count):
        words, found, measured, _ = one(seed, family)
        errors.append(found / measured.peak_bytes - 1)
        print(
            f"{seed:3} {errors[-1]:+6.1%} {found / 1e9:7.2f} {measured.peak_bytes / 1e9:7.2f}  {words}",
            flush=True,
        )
    sizes = [abs(error) for error in errors]
    print(f"median {statistics.median(sizes):.1%}, worst {max(sizes):.1%}")
