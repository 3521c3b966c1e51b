"""The trainable part: peft's adapter on the loaded base, or all weights of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.data.dataset import Example
from engine.errors import EngineError
from engine.models.adapter_facts import AdapterFacts
from engine.plan.adapter_size import pattern_value
from engine.recipe.recipe import Recipe
from engine.runtime import begun
from engine.runtime.fused import blocks, gathered
from engine.runtime.methods import adalora, eva, numbers, portable, residual, whole
from engine.runtime.methods.configs import make_config
from engine.runtime.methods.targets import Targets, find_targets


@dataclass(frozen=True)
class Beginning:
    """What some methods have to know before the first step: the run's length, its data, where it goes on."""

    total_steps: int = 1000
    examples: Sequence[Example] = ()  # training rows: EVA looks at them
    folder: Path = Path()  # the base's
    resumed: bool = False
    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32
    adapter: AdapterFacts | None = None  # whose values the first step finds; None where they are drawn


def add_adapter(model: Any, recipe: Recipe, beginning: Beginning | None = None) -> Any:
    """Wrap the base with its adapter, drawn from the seed.

    Raises EngineError REC-01 for names that mean nothing in this model and for what its layers cannot do.
    A resumed run gets its layers only: `portable.restore` fills them. `beginning.adapter` fills them at once.
    """
    beginning = beginning or Beginning()
    torch.manual_seed(recipe.training.seed)
    options = recipe.adapter
    if options.method == "full":
        numbers.autocast(model, beginning.device, beginning.dtype)
        return whole.wrap(model, beginning.folder)
    targets = find_targets(model, options)
    _check(model, recipe, targets, beginning)
    config = make_config(recipe, model, targets, beginning.total_steps)
    if beginning.adapter is not None and options.method == "vera":
        config.projection_prng_key = beginning.adapter.numbers.prng_key
    wrapped = _wrap(model, recipe, config)
    adalora.keep_scaling(wrapped)
    numbers.hold_in_float32(wrapped)
    if beginning.adapter is not None:
        begun.fill(wrapped, beginning.adapter)
    if options.method == "lora":
        _begin(wrapped, recipe, beginning)
        if options.bias == "none":  # the fused product has no gradient for a bias
            (gathered if recipe.launcher.strategy == "fsdp" else blocks).fuse(wrapped)
    return wrapped


def _check(model: Any, recipe: Recipe, targets: Targets, beginning: Beginning) -> None:
    options = recipe.adapter
    if options.init_lora_weights in ("pissa", "olora"):
        residual.check(model, targets, options)
    if options.init_lora_weights == "eva" and not beginning.resumed:
        ranks = {n: pattern_value(options.rank_pattern, n, options.r) for n in targets.names}
        eva.check(model, targets, ranks, beginning.examples)


def _wrap(model: Any, recipe: Recipe, config: Any) -> Any:
    from peft import get_peft_model

    try:
        wrapped = get_peft_model(model, config)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise EngineError(
            f"This model cannot be adapted with {recipe.adapter.method}.",
            "Use lora, or other target_modules.",
            "REC-01",
            field="adapter.method",
        ) from error
    biases = [n for n, p in wrapped.named_parameters() if p.requires_grad and n.endswith(".bias")]
    if recipe.adapter.bias != "none" and not biases:
        raise EngineError(
            f"adapter.bias: {recipe.adapter.bias} trains nothing, these layers have no biases.",
            "Use none.",
            "REC-01",
            field="adapter.bias",
        )
    return wrapped


def _begin(wrapped: Any, recipe: Recipe, beginning: Beginning) -> None:
    """Draw A and B from the weights or from the data where the recipe asks for it."""
    init = recipe.adapter.init_lora_weights
    if init in ("pissa", "olora"):
        wrapped.tunesmith_start = {}
        if not beginning.resumed:
            residual.draw(wrapped, str(init))
            wrapped.tunesmith_start = residual.starts(portable.adapter_tensors(wrapped))
    elif init == "eva":
        if beginning.resumed:
            wrapped.peft_config["default"].init_lora_weights = True
        else:
            eva.draw(wrapped, beginning.examples, beginning.device)


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """Return the parameters that are trained, by name, in the model's order."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
