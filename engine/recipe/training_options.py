"""The training section of a recipe: the optimizer's way through the data."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, StrictBool

from engine.recipe.option import Auto, Section, StepCount, option

# Names that other trainers write for the same optimizers and schedules.
ALIASES = {
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "adamw_hf": "adamw",
    "adamw_bnb_8bit": "adamw_8bit",
    "paged_adamw_32bit": "paged_adamw",
    "lion_32bit": "lion",
    "wsd": "warmup_stable_decay",
    "onecycle": "one_cycle",
}


def _own_name(value: Any) -> Any:
    return ALIASES.get(value, value) if isinstance(value, str) else value


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
    lr_scheduler_type: Annotated[
        Literal[
            "cosine",
            "linear",
            "constant",
            "constant_with_warmup",
            "warmup_stable_decay",
            "cosine_with_min_lr",
            "cosine_with_restarts",
            "one_cycle",
            "polynomial",
            "inverse_sqrt",
        ],
        BeforeValidator(_own_name),
    ] = option("cosine", "Schedule", "How the learning rate moves over the run.", level="simple")
    warmup_steps: float = option(
        0.03,
        "Warm-up",
        "Raises the rate step by step at the start. A whole number is steps, below 1 a share of the run.",
        suggestions=(0, 0.03, 0.1),
        ge=0.0,
    )
    min_lr_ratio: float = option(
        0.1,
        "Lowest rate",
        "Where the fall ends, as a share of the learning rate. Not for schedules with an end of their own.",
        suggestions=(0, 0.01, 0.1),
        ge=0.0,
        lt=1.0,
    )
    num_decay_steps: float = option(
        0.2,
        "Fall at the end",
        "How long warm-up, stable, decay falls. A whole number is steps, below 1 a share of the run.",
        suggestions=(0.1, 0.2, 0.5),
        gt=0.0,
    )
    decay_type: Literal["linear", "cosine", "1-sqrt"] = option(
        "linear", "Way of the fall", "The line on which warm-up, stable, decay falls."
    )
    num_cycles: int = option(
        2,
        "Cycles",
        "How often cosine with restarts falls to zero; after each fall but the last it starts again.",
        suggestions=(2, 3, 4),
        ge=1,
        le=1000,
    )
    power: float = option(
        2.0,
        "Power",
        "Bends the polynomial: 1 is a straight line, more falls early, less falls late.",
        suggestions=(0.5, 1, 2, 3),
        gt=0.0,
        le=100.0,
    )
    timescale: int | None = option(
        None,
        "Time scale",
        "The inverse square root is at 71 % of the learning rate one time scale after the warm-up."
        " Empty takes the warm-up's length, or 10,000 where there is none.",
        unit="steps",
        level="expert",
        ge=1,
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
    max_batch_tokens: StepCount | Auto | None = option(
        "auto",
        "Tokens at once",
        "A batch with more tokens than this is computed in pieces, with the same gradient. Auto takes 1,024"
        " on a CPU, where more is not faster, and sets no limit on a GPU.",
        unit="tokens",
        level="expert",
        memory=1,
    )
    optim: Annotated[
        Literal[
            "adamw",
            "adamw_8bit",
            "paged_adamw",
            "paged_adamw_8bit",
            "adafactor",
            "lion",
            "lion_8bit",
            "muon",
            "sgd",
        ],
        BeforeValidator(_own_name),
    ] = option(
        "adamw",
        "Optimizer",
        "What turns gradients into steps. AdamW is the usual one; the others keep less for each trained"
        " value, or step by another rule.",
    )
    adam_beta1: float = option(
        0.9,
        "Beta 1",
        "How much of the former average of gradients AdamW and Lion keep each step.",
        level="expert",
        ge=0.0,
        lt=1.0,
    )
    adam_beta2: float | None = option(
        None,
        "Beta 2",
        "How much of its longer average AdamW (0.999 when empty) and Lion (0.99) keep each step.",
        level="expert",
        ge=0.0,
        lt=1.0,
    )
    adam_epsilon: float = option(
        1e-8,
        "Epsilon",
        "Keeps AdamW from dividing by zero; larger values calm steps of values with small gradients.",
        level="expert",
        gt=0.0,
        le=1.0,
    )
    momentum: float | None = option(
        None,
        "Momentum",
        "How much of the former step SGD (0.9 when empty) and Muon (0.95) keep.",
        level="expert",
        ge=0.0,
        lt=1.0,
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
        None,
        "LoRA+ ratio",
        "How many times the learning rate B gets; A keeps it. LoRA+ advises 16 and a somewhat lower rate."
        " Empty gives both the same.",
        suggestions=(4, 8, 16),
        level="expert",
        gt=0.0,
        le=1000.0,
    )
    neftune_noise_alpha: float | None = option(
        None,
        "NEFTune noise",
        "Alpha of the noise on the embeddings while training: up to alpha / sqrt(tokens x width) on each"
        " value. 5 is usual, empty is none.",
        suggestions=(5, 10, 15),
        level="expert",
        ge=0.0,
        le=1000.0,
    )
    gradient_checkpointing: Literal["auto", "none", "all"] = option(
        "auto",
        "Gradient checkpointing",
        "Computes parts of each layer twice instead of keeping them. Auto does so when memory is short.",
        memory=-1,
        time=1,
    )
    use_liger_kernel: StrictBool = option(
        False,
        "Liger kernels",
        "Norms, rotary positions and gated layers by liger-kernel. Needs an NVIDIA GPU and that package.",
        level="expert",
        memory=-1,
        time=-1,
    )
    seed: int = option(
        42, "Seed", "Draws the order of rows, the split, the adapter's start and dropout.", ge=0, le=2**31 - 1
    )
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto",
        "Precision",
        "The numbers the model computes with. Auto takes bf16 on a GPU that has it.",
        memory=-1,
        time=-1,
    )
    early_stopping_patience: int | None = option(
        None,
        "Stop early after",
        "Ends the run when validation has not improved at this many evaluations in a row. Empty never does.",
        unit="evaluations",
        suggestions=(2, 3, 5),
        time=1,
        ge=1,
    )
    early_stopping_threshold: float = option(
        0.0,
        "Least improvement",
        "Validation loss counts as improved when it falls by more than this below the best before.",
        suggestions=(0, 0.001, 0.01),
        level="expert",
        ge=0.0,
        le=100.0,
    )
    load_best_model_at_end: StrictBool = option(
        True, "Keep the best", "The result is the checkpoint with the best validation, not the last one."
    )
    on_out_of_memory: Literal["split", "fail"] = option(
        "split", "When memory runs out", "Split repeats the step in smaller batches, with the same gradient."
    )
