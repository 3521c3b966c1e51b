"""The training section of a recipe: the optimizer's way through the data."""

from __future__ import annotations

from typing import Literal

from pydantic import StrictBool

from engine.recipe.option import Section, option


class TrainingOptions(Section):
    """The optimizer's way through the data."""

    learning_rate: float = option(
        2.0e-4,
        "Learning rate",
        "The size of a step. LoRA wants about ten times what full finetuning does.",
        level="simple",
        suggestions=(5e-5, 1e-4, 2e-4, 5e-4, 1e-3),
        gt=0.0,
        le=10.0,
    )
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"] = option(
        "cosine", "Schedule", "How the learning rate moves over the run.", level="simple"
    )
    warmup_steps: float = option(
        0.03,
        "Warm-up",
        "Raises the rate from zero at the start. A whole number is steps, below 1 a share of the run.",
        suggestions=(0, 0.03, 0.1),
        ge=0.0,
    )
    num_train_epochs: float = option(
        1.0,
        "Epochs",
        "How often the whole data is gone through.",
        level="simple",
        suggestions=(1, 2, 3),
        time=1,
        gt=0.0,
        le=1000.0,
    )
    max_steps: int | None = option(
        None,
        "At most",
        "Ends after this many optimizer steps, whatever the epochs say.",
        unit="steps",
        time=1,
        ge=1,
    )
    per_device_train_batch_size: int = option(
        8,
        "Batch",
        "Examples that are in memory at once.",
        unit="examples",
        level="simple",
        suggestions=(1, 2, 4, 8, 16),
        memory=1,
        ge=1,
        le=4096,
    )
    gradient_accumulation_steps: int = option(
        1,
        "Accumulation",
        "Batches gathered before each optimizer step: a larger batch without its memory.",
        unit="batches",
        level="simple",
        suggestions=(1, 2, 4, 8),
        ge=1,
        le=4096,
    )
    optim: Literal["adamw", "sgd"] = option(
        "adamw", "Optimizer", "AdamW keeps two averages for each trained value; SGD keeps none.", memory=1
    )
    weight_decay: float = option(
        0.0,
        "Weight decay",
        "Pulls trained values towards zero a little each step.",
        suggestions=(0, 0.01, 0.05),
        ge=0.0,
        le=1.0,
    )
    max_grad_norm: float = option(
        1.0, "Gradient clip", "Gradients longer than this are shortened to it. 0 switches it off.", ge=0.0
    )
    loraplus_lr_ratio: float | None = option(
        None, "LoRA+ ratio", "Another rate for B than for A.", level="expert", gt=0.0
    )
    neftune_noise_alpha: float | None = option(
        None, "NEFTune noise", "Noise on the embeddings.", level="expert", ge=0.0
    )
    gradient_checkpointing: Literal["auto", "none", "all"] = option(
        "auto",
        "Gradient checkpointing",
        "Computes parts of each layer twice instead of keeping them. Auto does so when memory is short.",
        memory=-1,
        time=1,
    )
    seed: int = option(
        42, "Seed", "Draws the split, the order of rows, the adapter's start and dropout.", ge=0, le=2**31 - 1
    )
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto",
        "Precision",
        "The numbers the model computes with. Auto takes bf16 on a GPU that has it.",
        memory=-1,
        time=-1,
    )
    early_stopping_patience: int | None = option(
        None, "Patience", "Stops when validation has not improved this often.", level="expert", ge=1
    )
    load_best_model_at_end: StrictBool = option(
        True, "Keep the best", "The result is the checkpoint with the best validation, not the last one."
    )
    on_out_of_memory: Literal["split", "fail"] = option(
        "split", "When memory runs out", "Split repeats the step in smaller batches, with the same gradient."
    )
