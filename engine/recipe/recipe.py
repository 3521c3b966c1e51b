"""The only list of training options: every field with its label, help, unit, bounds and level.

Forms, `--set`, messages, the model card and the docs are made from it. Names are those of peft,
transformers and trl. To add an option: the field here, the line that obeys it, a test of its effect.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, StrictBool

from engine.recipe.data_options import DataOptions
from engine.recipe.option import Auto, Section, StepCount, option


class ModelOptions(Section):
    """Which base model, and how it is held in memory."""

    path: str = option(
        "starter",
        "Model",
        "The model to start from: a folder, a .gguf file, a hub id, or the bundled starter.",
        level="simple",
    )
    revision: str | None = option(
        None,
        "Revision",
        "A branch, tag or commit of a hub model. Empty takes the newest on disk.",
        level="expert",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "auto",
        "Weights held as",
        "How the frozen base is held. Auto follows the precision of training.",
        level="expert",
    )
    load_in_4bit: StrictBool = option(
        False,
        "4-bit base (QLoRA)",
        "Quantises the frozen base to 4 bits. Saves about two thirds of its memory and costs time.",
        level="simple",
        memory=-1,
        time=1,
        quality=-1,
    )
    load_in_8bit: StrictBool = option(
        False, "8-bit base", "Holds the frozen base in 8 bits.", level="expert", memory=-1, time=1
    )
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = option(
        "nf4", "4-bit format", "NF4 follows the distribution of weights; FP4 is plain.", level="expert"
    )
    bnb_4bit_use_double_quant: StrictBool = option(
        True,
        "Double quantisation",
        "Quantises the scales of the 4-bit blocks too: about 0.37 bit a weight less.",
        memory=-1,
    )


class AdapterOptions(Section):
    """The trainable part."""

    method: Literal["lora", "adalora", "vera", "ia3", "oft", "full"] = option(
        "lora", "Method", "How the model is adapted. LoRA trains a small low-rank update.", level="expert"
    )
    r: int = option(
        16,
        "Rank (r)",
        "The width of the low-rank update. More rank can store more, and costs memory.",
        level="simple",
        suggestions=(8, 16, 32, 64),
        memory=1,
        time=1,
        quality=1,
        ge=1,
        le=1024,
    )
    lora_alpha: int = option(
        32,
        "Alpha",
        "Scales the update by alpha / r. Twice the rank is a common choice.",
        level="simple",
        suggestions=(16, 32, 64),
        ge=1,
        le=4096,
    )
    lora_dropout: float = option(
        0.05,
        "Dropout",
        "Drops some inputs of the adapter while training, against memorising.",
        level="simple",
        suggestions=(0, 0.05, 0.1),
        memory=1,
        ge=0.0,
        lt=1.0,
    )
    target_modules: str | list[str] = option(
        "all-linear",
        "Apply to",
        "Which layers get an adapter: all-linear (without the output head), or a list of names.",
        level="simple",
        memory=1,
        quality=1,
    )
    layers_to_transform: list[int] | None = option(
        None, "Layers", "Only these layers get an adapter, counted from 0. Empty means all.", level="expert"
    )
    rank_pattern: dict[str, int] = option(
        dict, "Rank by module", "Another rank for modules whose name ends so.", level="expert"
    )
    alpha_pattern: dict[str, int] = option(
        dict, "Alpha by module", "Another alpha for modules whose name ends so.", level="expert"
    )
    use_rslora: StrictBool = option(
        False, "Rank-stabilised scaling", "Scales by alpha / sqrt(r), which suits large ranks.", level="all"
    )
    use_dora: StrictBool = option(
        False, "DoRA", "Trains direction and size of the weights apart.", level="expert"
    )
    init_lora_weights: Literal[True, "gaussian", "pissa", "olora", "eva"] = option(
        True,
        "Start of the adapter",
        "How A and B begin. The default leaves the model unchanged.",
        level="expert",
    )
    modules_to_save: list[str] = option(
        list, "Modules trained whole", "Trained and saved beside the adapter.", level="expert"
    )
    bias: Literal["none", "all", "lora_only"] = option(
        "none", "Biases", "Which biases are trained.", level="expert"
    )


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


class EvaluationOptions(Section):
    """What is measured while training."""

    eval_steps: StepCount | Auto | None = option(
        "auto",
        "Evaluate every",
        "Steps between two evaluations. Auto makes about five in a run.",
        unit="steps",
        time=-1,
    )
    sample_prompts: list[str] = option(
        list,
        "Sample prompts",
        "Answered at each evaluation, so that one sees what is learned. Empty takes three from validation.",
    )
    benchmarks: list[str] = option(list, "Benchmarks", "Tasks measured after training.", level="expert")


class CheckpointOptions(Section):
    """How often the run is saved."""

    save_steps: StepCount | Auto = option(
        "auto",
        "Save every",
        "Steps between two checkpoints. Auto makes ten in a run, and one at least every five minutes.",
        unit="steps",
    )
    save_total_limit: int = option(
        3, "Checkpoints kept", "Older ones are removed; the best and the last always stay.", ge=2, le=1000
    )


class LauncherOptions(Section):
    """Where the child runs."""

    kind: Literal["local", "torchrun", "ray"] = option(
        "local", "Start with", "How the processes are started.", level="expert"
    )
    processes: int = option(1, "Processes", "One for each GPU.", level="expert", ge=1, le=64)
    strategy: Literal["ddp", "fsdp"] = option(
        "ddp", "Strategy", "How processes share the work.", level="expert"
    )
    nodes: int = option(1, "Machines", "How many machines take part.", level="expert", ge=1, le=64)
    address: str | None = option(None, "Address", "Where the first machine is reached.", level="expert")


class Recipe(Section):
    """One training run, as asked: frozen, complete, and written to recipe.yaml."""

    version: Literal[1] = 1
    name: str = option(
        "", "Name", "What the run is called. Empty makes a readable one.", level="simple", max_length=100
    )
    model: ModelOptions = Field(default_factory=ModelOptions)
    data: DataOptions = Field(default_factory=DataOptions)
    adapter: AdapterOptions = Field(default_factory=AdapterOptions)
    training: TrainingOptions = Field(default_factory=TrainingOptions)
    evaluation: EvaluationOptions = Field(default_factory=EvaluationOptions)
    checkpoint: CheckpointOptions = Field(default_factory=CheckpointOptions)
    launcher: LauncherOptions = Field(default_factory=LauncherOptions)


SECTIONS: dict[str, type[BaseModel]] = {
    "model": ModelOptions,
    "data": DataOptions,
    "adapter": AdapterOptions,
    "training": TrainingOptions,
    "evaluation": EvaluationOptions,
    "checkpoint": CheckpointOptions,
    "launcher": LauncherOptions,
}
