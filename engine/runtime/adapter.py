"""The trainable part: peft's LoRA on the loaded base."""

from __future__ import annotations

import re
from typing import Any

import torch

from engine.errors import EngineError
from engine.recipe.recipe import Recipe
from engine.runtime import fused_lora

_NAME = re.compile(r"[A-Za-z0-9_.]{1,128}")


def linear_names(model: Any) -> list[str]:
    """Return the last names of all linear layers below the output head, as `all-linear` means them."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    kinds = (torch.nn.Linear, Conv1D)
    return sorted(
        {n.rsplit(".", 1)[-1] for n, m in model.named_modules() if isinstance(m, kinds) and m is not head}
    )


def lora_config(recipe: Recipe, model: Any) -> Any:
    """Return peft's configuration for a recipe; names are plain names, never patterns."""
    from peft import LoraConfig

    options = recipe.adapter
    targets = options.target_modules
    named = [] if isinstance(targets, str) else list(targets)
    if isinstance(targets, str) and targets != "all-linear":
        named = [targets]
    for name in [*named, *options.rank_pattern, *options.alpha_pattern]:
        if not _NAME.fullmatch(name):
            raise EngineError(
                f"adapter: {name!r} is not the name of a module.",
                "Use plain names such as q_proj.",
                "REC-01",
                field="adapter.target_modules",
            )
    everywhere: str | list[str] = "all-linear"
    if options.layers_to_transform is not None:
        everywhere = linear_names(model)  # peft takes layer numbers only beside a list of names
    return LoraConfig(
        r=options.r,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules=everywhere if targets == "all-linear" else named,
        layers_to_transform=options.layers_to_transform,
        rank_pattern={k.replace(".", r"\."): v for k, v in options.rank_pattern.items()},
        alpha_pattern={k.replace(".", r"\."): v for k, v in options.alpha_pattern.items()},
        use_rslora=options.use_rslora,
        init_lora_weights=options.init_lora_weights,
        bias="none",
        task_type="CAUSAL_LM",
    )


def add_adapter(model: Any, recipe: Recipe) -> Any:
    """Wrap the base with its adapter, drawn from the seed; raises EngineError REC-01 for unknown targets."""
    from peft import get_peft_model

    torch.manual_seed(recipe.training.seed)
    try:
        wrapped = get_peft_model(model, lora_config(recipe, model))
    except ValueError as error:
        raise EngineError(
            f"adapter.target_modules: {recipe.adapter.target_modules} matches no layer of this model.",
            f"This model has: {', '.join(linear_names(model))}.",
            "REC-01",
            field="adapter.target_modules",
        ) from error
    fused_lora.fuse(wrapped)
    return wrapped


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """Return the parameters that are trained, by name, in the model's order."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
