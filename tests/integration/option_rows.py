"""The table of the walk over all options: two values for each, and what of a run must differ between them.

To add an option: a row here. `test_every_option.py` says what the names in `must` hold. A field that cannot
be had here (no GPU, not in this version) has the row `refused`: its value must be refused by its name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

REFUSED = "refused"  # the second value is refused, the error names the field
STOPS = "stops"  # one of the two values ends the start with an error in words
SETS = "{files}"  # stands for the folder of the test's data files


@dataclass(frozen=True)
class Row:
    """Values `a` and `b` of a field, what `must` differ, given which other options, what stays the `same`."""

    a: Any
    b: Any
    must: str
    given: dict[str, Any] = field(default_factory=dict)
    same: tuple[str, ...] = ()
    low_memory: bool = False  # the device holds two rows at once


def refused(value: Any, usual: Any = None, **given: Any) -> Row:
    """Return the row of a value that is refused by the field's name."""
    return Row(usual, value, REFUSED, _dotted(given))


def train(file: str) -> dict[str, Any]:
    """Return the option that trains on one of the test's files, all of it."""
    return {"data.train": [f"{SETS}/{file}"], "data.validation_split": 0.0}


def _dotted(given: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in given.items()}


QUANTISED = {"model.load_in_4bit": True}

MODEL = {
    "name": Row("one", "two", "name"),
    "model.path": Row(f"{SETS}/tiny", f"{SETS}/other", "losses", same=("parameters",)),
    "model.revision": Row("first", "second", "losses", {"model.path": "some/tiny"}),
    "model.dtype": Row("float32", "bfloat16", "dtypes"),
    "model.attn_implementation": Row("auto", "eager", "attention"),
    "model.load_in_4bit": Row(False, True, "dtypes"),
    "model.load_in_8bit": Row(False, True, "dtypes"),
    "model.bnb_4bit_quant_type": Row("nf4", "fp4", "losses", QUANTISED),
    "model.bnb_4bit_use_double_quant": Row(True, False, "losses", QUANTISED),
}

DATA = {
    "data.train": Row([f"{SETS}/chats.jsonl"], [f"{SETS}/other.jsonl"], "train"),
    "data.validation": Row(None, f"{SETS}/other.jsonl", "validation"),
    "data.validation_split": Row(0.1, 0.4, "validation"),
    "data.split_seed": Row(None, 7, "validation"),
    "data.format": Row("prompt_completion", "text", "train", train("both.jsonl")),
    "data.columns": Row(
        {"prompt": "question", "completion": "answer"},
        {"prompt": "answer", "completion": "question"},
        "train",
        {**train("pairs.csv"), "data.format": "prompt_completion"},
    ),
    "data.encoding": Row("cp1252", "cp437", "train", train("accents.csv")),
    "data.part": Row("one", "two", "train", train("parts.json")),
    "data.delimiter": Row(";", ",", "train", train("semicolons.csv")),
    "data.header": Row(
        True,
        False,
        "rows",
        {**train("bare.csv"), "data.format": "auto"},
    ),
    "data.bad_rows": Row("refuse", "leave_out", STOPS, train("one_bad.jsonl")),
    "data.label_names": Row({}, {"0": "negative", "1": "positive"}, STOPS, train("labels.jsonl")),
    "data.role_names": Row({}, {"asker": "user", "answerer": "assistant"}, STOPS, train("roles.jsonl")),
    "data.sources": Row(
        {},
        {f"{SETS}/chats.jsonl": {"share": 0.2}},
        "train",
        {"data.train": [f"{SETS}/chats.jsonl", f"{SETS}/other.jsonl"], "data.validation_split": 0.0},
    ),
    "data.chat_template": Row("auto", "vicuna", "train"),
    "data.system_prompt": Row(None, "Answer like a farmer.", "train"),
    "data.system_message": Row(
        "keep", "first_question", "train", {**train("chats.jsonl"), "data.system_prompt": "Be short."}
    ),
    "data.special_tokens": Row("tokenizer", "text", "train", train("marks.jsonl")),
    "data.train_on": Row("assistant", "all", "train", train("turns.jsonl")),
    "data.max_length": Row(1024, 40, "train"),
    "data.too_long": Row("truncate", "drop", "train", {**train("texts.jsonl"), "data.max_length": 24}),
    "data.packing": Row(False, True, "batches"),
    "data.shuffle": Row(True, False, "batches"),
    "data.dedupe": Row(False, True, "train", train("doubles.jsonl")),
    "data.near_duplicates": Row("keep", "drop", "train", train("near.jsonl")),
    "data.overlap": Row("keep", "drop", "validation", {"data.validation": f"{SETS}/overlap.jsonl"}),
}

# What may differ for one file, inside of `data.sources`; other.jsonl is trained beside it.
SOURCES = {
    "share": ("chats.jsonl", None, 0.2, "train"),
    "format": ("both.jsonl", "prompt_completion", "text", "train"),
    "columns": (
        "pairs.csv",
        {"prompt": "question", "completion": "answer"},
        {"prompt": "answer", "completion": "question"},
        "train",
    ),
    "encoding": ("accents.csv", "cp1252", "cp437", "train"),
    "part": ("parts.json", "one", "two", "train"),
    "delimiter": ("semicolons.csv", ";", ",", "train"),
    "header": ("bare.csv", True, False, "rows"),
    "label_names": ("labels.jsonl", {}, {"0": "negative", "1": "positive"}, STOPS),
    "role_names": ("roles.jsonl", {}, {"asker": "user", "answerer": "assistant"}, STOPS),
}

ADAPTER = {
    "adapter.method": Row("lora", "ia3", "parameters", {"adapter.lora_dropout": 0.05}),
    "adapter.path": Row(None, f"{SETS}/adapter", "losses", same=("parameters",)),
    "adapter.r": Row(16, 4, "parameters"),
    "adapter.lora_alpha": Row(32, 64, "weights", same=("parameters",)),
    "adapter.lora_dropout": Row(0.0, 0.5, "weights", same=("parameters",)),
    "adapter.target_modules": Row("all-linear", ["query", "value"], "parameters"),
    "adapter.layers_to_transform": Row(None, [0], "parameters"),
    "adapter.rank_pattern": Row({}, {"q_proj": 2}, "parameters"),
    "adapter.alpha_pattern": Row({}, {"q_proj": 99}, "weights", same=("parameters",)),
    "adapter.use_rslora": Row(False, True, "weights", same=("parameters",)),
    "adapter.use_dora": Row(False, True, "parameters"),
    "adapter.init_lora_weights": Row(True, "gaussian", "weights", same=("parameters",)),
    "adapter.modules_to_save": Row([], ["norm"], "parameters"),
    "adapter.bias": Row(
        "none", "all", "parameters", {"model.path": f"{SETS}/biased", "adapter.target_modules": ["q_proj"]}
    ),
    "adapter.target_r": Row(None, 4, "ranks", {"adapter.method": "adalora"}),
    "adapter.oft_block_size": Row(
        32, 16, "parameters", {"adapter.method": "oft", "adapter.lora_dropout": 0.0}
    ),
}


def schedule(name: str) -> dict[str, Any]:
    """Return the option that takes one schedule."""
    return {"training.lr_scheduler_type": name}


TRAINING = {
    "training.learning_rate": Row(5e-3, 1e-4, "weights"),
    "training.lr_scheduler_type": Row("cosine", "linear", "rates", {"training.warmup_steps": 2.0}),
    "training.warmup_steps": Row(0.0, 3.0, "rates"),
    "training.min_lr_ratio": Row(0.1, 0.3, "rates", schedule("cosine_with_min_lr")),
    "training.num_decay_steps": Row(0.2, 0.5, "rates", schedule("warmup_stable_decay")),
    "training.decay_type": Row(
        "linear", "cosine", "rates", {**schedule("warmup_stable_decay"), "training.num_decay_steps": 0.8}
    ),
    "training.num_cycles": Row(2, 3, "rates", schedule("cosine_with_restarts")),
    "training.power": Row(2.0, 1.0, "rates", schedule("polynomial")),
    "training.timescale": Row(None, 5, "rates", schedule("inverse_sqrt")),
    "training.num_train_epochs": Row(1.0, 2.0, "total_steps"),
    "training.max_steps": Row(None, 7, "total_steps"),
    "training.per_device_train_batch_size": Row(4, 2, "batches"),
    "training.gradient_accumulation_steps": Row(1, 2, "batches"),
    "training.max_batch_tokens": Row(None, 64, "pieces"),
    # Below 4,096 values bitsandbytes keeps an average in 32 bits.
    "training.optim": Row("adamw", "adafactor", "weights", {"adapter.r": 128}),
    "training.adam_beta1": Row(0.9, 0.5, "weights"),
    "training.adam_beta2": Row(0.999, 0.5, "weights"),
    "training.adam_epsilon": Row(1e-8, 1e-1, "weights"),
    "training.momentum": Row(0.0, 0.9, "weights", {"training.optim": "sgd"}),
    "training.weight_decay": Row(0.0, 0.5, "weights"),
    "training.max_grad_norm": Row(1.0, 1e-6, "weights"),
    "training.loraplus_lr_ratio": Row(None, 8.0, "weights"),
    "training.neftune_noise_alpha": Row(None, 5.0, "losses"),
    "training.gradient_checkpointing": Row("none", "all", "checkpointing"),
    "training.use_liger_kernel": refused(True, False),
    "training.seed": Row(42, 7, "weights"),
    "training.precision": Row("fp32", "bf16", "losses"),
    "training.early_stopping_patience": Row(
        None, 1, "steps_taken", {"training.early_stopping_threshold": 100.0}
    ),
    "training.early_stopping_threshold": Row(
        0.0, 100.0, "steps_taken", {"training.early_stopping_patience": 1}
    ),
    "training.load_best_model_at_end": Row(
        True,
        False,
        "result_step",
        {"training.learning_rate": 0.05, "data.validation": f"{SETS}/other.jsonl"},  # it rises at the end
    ),
    "training.on_out_of_memory": Row("split", "fail", STOPS, low_memory=True),
}

REST = {
    "evaluation.eval_steps": Row(2, 3, "evaluated"),
    "evaluation.sample_prompts": Row([], ["What does the cat say?"], "asked"),
    "evaluation.benchmarks": refused(["no-such"], []),  # what known ones do: test_evaluate.py
    "checkpoint.save_steps": Row(2, 3, "saved"),
    "checkpoint.save_total_limit": Row(2, 3, "kept", {"checkpoint.save_steps": 1}),
    "launcher.kind": Row("local", "torchrun", "processes"),
    "launcher.processes": Row(1, 2, "processes"),
    "launcher.strategy": refused("fsdp", "ddp"),  # in one process; what it does in two: test_ranks.py
    "launcher.nodes": refused(2, 1),
    "launcher.threads": Row("auto", 1, "threads"),
    "launcher.address": refused("127.0.0.1:1"),
}

ROWS: dict[str, Row] = {**MODEL, **DATA, **ADAPTER, **TRAINING, **REST}
