"""The adapter section of a recipe: which part of the model is trained, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import StrictBool

from engine.recipe.option import Section, option


class AdapterOptions(Section):
    """The trainable part.

    Where `path` is set, all that says which values there are is the adapter's: see `engine.plan.taken`.
    """

    path: str | None = option(
        None,
        "Begin from this adapter",
        "A run, an adapter folder or a save of a run whose values training goes on from. Method, rank, alpha "
        "and modules are then the adapter's.",
    )
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
    lora_alpha: int | float = option(
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
        "Which layers get an adapter: all-linear (without the output head), names such as q_proj, or the "
        "groups query, key, value, output, gate, up, down, head, attention and mlp.",
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
    alpha_pattern: dict[str, int | float] = option(
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
    target_r: int | None = option(
        None,
        "Mean rank at the end",
        "AdaLoRA starts with half as much again and prunes to this mean rank. Empty takes the rank.",
        level="expert",
        ge=1,
        le=1024,
    )
    oft_block_size: int = option(
        32,
        "Block size",
        "OFT turns blocks of so many inputs; each layer takes the nearest size that divides its width.",
        level="expert",
        memory=1,
        quality=1,
        ge=2,
        le=1024,
    )
