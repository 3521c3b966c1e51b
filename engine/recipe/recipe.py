"""The only list of training options: every field with its label, help, unit, bounds and level.

Forms, `--set`, messages, the model card and the docs are made from it. Names are those of peft,
transformers and trl. To add an option: the field here, the line that obeys it, a test of its effect.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, StrictBool, field_validator

from engine.paths import mark_name
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.data_options import DataOptions
from engine.recipe.option import Auto, Pace, Section, StepCount, option
from engine.recipe.training_options import TrainingOptions


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
    attn_implementation: Literal["auto", "sdpa", "eager", "flash_attention_2"] = option(
        "auto",
        "Attention",
        "Auto needs no padding and takes a GPU's flash kernel. The others are transformers' own; "
        "flash_attention_2 needs the package flash-attn.",
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


class EvaluationOptions(Section):
    """What is measured while training."""

    eval_steps: StepCount | Pace | None = option(
        "auto",
        "Evaluate every",
        "Steps between two evaluations, or once an epoch. Auto makes about five in a run.",
        unit="steps",
        time=-1,
    )
    sample_prompts: list[str] = option(
        list,
        "Sample prompts",
        "Answered at each evaluation, so that one sees what is learned. Empty takes three from validation.",
    )
    benchmarks: list[str] = option(
        list,
        "Benchmarks",
        "Measured with base and adapter once training is finished, such as held-out, general, arc-easy.",
        level="expert",
        time=1,
    )


class CheckpointOptions(Section):
    """How often the run is saved."""

    save_steps: StepCount | Pace = option(
        "auto",
        "Save every",
        "Steps between two checkpoints, or once an epoch. Auto makes ten in a run, and one at least every "
        "five minutes.",
        unit="steps",
    )
    save_total_limit: int = option(
        3, "Checkpoints kept", "Older ones are removed; the best and the last always stay.", ge=2, le=1000
    )


class LauncherOptions(Section):
    """Where the child runs."""

    kind: Literal["local", "torchrun", "ray"] = option(
        "local",
        "Start with",
        "How the processes are started. Torchrun gives even a single one its place among ranks.",
        level="expert",
    )
    processes: int = option(
        1,
        "Processes",
        "One for each GPU. Each has its own batch in a step, and the step is that of all of them together.",
        level="expert",
        time=-1,
        ge=1,
        le=64,
    )
    strategy: Literal["ddp", "fsdp"] = option(
        "ddp",
        "Strategy",
        "DDP gives each process the whole model. FSDP shares the weights out too: for models that one GPU "
        "cannot hold, at the cost of time.",
        level="expert",
    )
    nodes: int = option(1, "Machines", "How many machines take part.", level="expert", ge=1, le=64)
    threads: StepCount | Auto = option(
        "auto",
        "Threads",
        "Processor threads of a child. Auto takes all cores; fewer leave the computer free for other work.",
        level="expert",
        time=-1,
    )
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

    @field_validator("name")
    @classmethod
    def _seen(cls, name: str) -> str:
        return mark_name(name, 100)


SECTIONS: dict[str, type[BaseModel]] = {
    "model": ModelOptions,
    "data": DataOptions,
    "adapter": AdapterOptions,
    "training": TrainingOptions,
    "evaluation": EvaluationOptions,
    "checkpoint": CheckpointOptions,
    "launcher": LauncherOptions,
}
