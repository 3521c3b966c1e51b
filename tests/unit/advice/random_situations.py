"""Situations drawn from a number: any recipe that the rules look at, any model, any data, any machine."""

from __future__ import annotations

import random
from typing import Any

from engine.advice.situation import Situation
from engine.models.facts import ModelFacts, facts_of_config
from tests.unit.advice.situations import (
    LLAMA_7B,
    facts_7b,
    facts_of_experts,
    facts_small,
    situation,
    statistics,
)

VALUES: dict[str, tuple[Any, ...]] = {
    "adapter.method": ("lora", "lora", "lora", "lora", "adalora", "vera", "ia3", "oft", "full"),
    "model.load_in_4bit": (False, False, True),
    "model.bnb_4bit_use_double_quant": (False, True),
    "model.bnb_4bit_quant_type": ("nf4", "fp4"),
    "model.dtype": ("auto", "auto", "float16", "bfloat16"),
    "model.attn_implementation": ("auto", "auto", "sdpa", "eager"),
    "adapter.r": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    "adapter.lora_alpha": (1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096),
    "adapter.lora_dropout": (0.0, 0.05, 0.1),
    "adapter.use_rslora": (False, False, True),
    "adapter.target_modules": (
        "all-linear",
        ["q_proj", "v_proj"],
        ["attention"],
        ["mlp"],
        ["lm_head"],
        ["q_proj", "lm_head"],
        ["nothing"],
        ["q_proj", "w_x"],
        ["all-linear", "lm_head"],
    ),
    "adapter.rank_pattern": ({}, {}, {"q_proj": 64}, {"k_proj": 1024}),
    "data.validation_split": (0.0, 0.1),
    "data.max_length": (64, 256, 512, 1024, 2048, 8192),
    "data.packing": (False, False, True),
    "data.dedupe": (False, False, True),
    "data.overlap": ("keep", "drop"),
    "data.train_on": ("assistant", "all", "last"),
    "data.too_long": ("truncate", "drop", "split"),
    "training.learning_rate": (1e-6, 1e-5, 6e-5, 1e-4, 2e-4, 1e-3, 5e-3, 1e-2, 0.1, 1.0),
    "training.lr_scheduler_type": ("constant", "cosine", "linear", "constant_with_warmup"),
    "training.warmup_steps": (0.0, 0.03, 10.0),
    "training.num_train_epochs": (0.1, 1.0, 2.0, 3.0, 4.0, 10.0, 50.0),
    "training.max_steps": (None, None, None, 10, 60, 1000),
    "training.per_device_train_batch_size": (1, 2, 3, 5, 8, 16, 33, 64),
    "training.gradient_accumulation_steps": (1, 2, 4, 7, 16, 64),
    "training.optim": (
        "adamw",
        "adamw",
        "adamw_8bit",
        "paged_adamw",
        "adafactor",
        "lion",
        "sgd",
        "sgd",
        "muon",
    ),
    "training.gradient_checkpointing": ("auto", "none", "all"),
    "evaluation.eval_steps": ("auto", "epoch", None),
    "training.load_best_model_at_end": (False, True),
    "launcher.processes": (1, 1, 1, 2, 8),
}


def _facts(draw: random.Random) -> ModelFacts:
    if draw.random() < 0.15:
        return draw.choice([facts_7b(), facts_small()])
    heads, head_dim = draw.choice([4, 8, 16, 32]), draw.choice([16, 64, 128])
    width = heads * head_dim
    sizes = {
        "hidden_size": width,
        "intermediate_size": width * draw.choice([2, 3, 4]),
        "num_hidden_layers": draw.choice([2, 12, 24, 32]),
        "num_attention_heads": heads,
        "num_key_value_heads": draw.choice([n for n in (1, 2, 4, 8, heads) if heads % n == 0]),
        "head_dim": head_dim,
        "vocab_size": draw.choice([1000, 32000, 128256]),
        "max_position_embeddings": draw.choice([512, 2048, 4096, 131072]),
        "tie_word_embeddings": draw.random() < 0.5,
    }
    return facts_of_config({**LLAMA_7B, **sizes}, "drawn")


def random_situation(number: int) -> Situation:
    """Return the situation that a number stands for."""
    draw = random.Random(number)
    changes = {path: draw.choice(values) for path, values in VALUES.items()}
    facts = _facts(draw)
    if number % 12 == 5:  # a mixture of experts, every other one with MLPs beside them
        facts = facts_of_experts(*([0, 1] if number % 24 == 5 else []))
    examples, mean = int(10 ** draw.uniform(1.3, 6)), int(10 ** draw.uniform(1, 3.3))
    data = statistics(
        examples,
        mean,
        int(mean * draw.uniform(1.3, 8)),
        answers=mean * draw.uniform(0.1, 0.9),
        max_length=changes["data.max_length"],
        chat=draw.random() < 0.8,
        duplicates=int(examples * draw.choice([0, 0, 0.1])),
        overlap=int(examples * draw.choice([0, 0, 0.01])),
    )
    gigabytes = draw.choice([None, 4, 8, 16, 24, 80])
    gigabytes = None if gigabytes is None else gigabytes * draw.uniform(0.2, 1.2)
    return situation(changes, facts=facts, data=data, gigabytes=gigabytes)
