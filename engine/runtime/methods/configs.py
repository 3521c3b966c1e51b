"""peft's configuration for each method of the recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.errors import EngineError
from engine.plan.adapter_size import block_size, start_rank
from engine.recipe.recipe import Recipe
from engine.recipe.targets import in_group
from engine.runtime.methods.targets import Targets, exact_pattern, short

# AdaLoRA learns with all ranks for a tenth of the run, prunes, and keeps the last three tenths to settle.
PRUNE_AFTER, SETTLE = 0.1, 0.3


def make_config(recipe: Recipe, model: Any, targets: Targets, total_steps: int) -> Any:
    """Return the configuration peft builds the adapter from; raises EngineError REC-01 for what it cannot."""
    common: dict[str, Any] = {
        "target_modules": short(targets.names, model),
        "modules_to_save": list(targets.whole) or None,
        "task_type": "CAUSAL_LM",
    }
    if _shares_whole(model, targets) and recipe.adapter.method not in ("lora", "adalora"):
        raise EngineError(
            f"adapter.modules_to_save: head and embedding of this model share their weight, which "
            f"{recipe.adapter.method} cannot train whole.",
            "Use lora, or leave them out.",
            "REC-01",
            field="adapter.modules_to_save",
        )
    return _MAKERS[recipe.adapter.method](recipe, model, targets, total_steps, common)


def _shares_whole(model: Any, targets: Targets) -> bool:
    """Return whether a weight that head and embedding share is among the modules trained whole."""
    embedding = next((n for n, m in model.named_modules() if m is model.get_input_embeddings()), None)
    return targets.tied and bool({targets.head, embedding} & set(targets.whole))


def _lora(recipe: Recipe, model: Any, targets: Targets, total_steps: int, common: dict[str, Any]) -> Any:
    from peft import EvaConfig, LoraConfig

    options = recipe.adapter
    return LoraConfig(
        **common,
        r=options.r,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        rank_pattern=exact_pattern(options.rank_pattern, targets.names),
        alpha_pattern=exact_pattern(options.alpha_pattern, targets.names),
        use_rslora=options.use_rslora,
        use_dora=options.use_dora,
        # PiSSA and OLoRA are drawn once the layers are there, see residual.py
        init_lora_weights=True
        if options.init_lora_weights in ("pissa", "olora")
        else options.init_lora_weights,
        # rho 1: each module keeps the rank the recipe gives it
        eva_config=EvaConfig(rho=1.0) if options.init_lora_weights == "eva" else None,
        ensure_weight_tying=_shares_whole(model, targets),
        bias=options.bias,
    )


def _adalora(recipe: Recipe, model: Any, targets: Targets, total_steps: int, common: dict[str, Any]) -> Any:
    from peft import AdaLoraConfig

    options = recipe.adapter
    if total_steps < 3:
        raise EngineError(
            f"AdaLoRA prunes over many steps; this run has {total_steps}.",
            "Train longer, or use lora.",
            "REC-01",
            field="adapter.method",
        )
    return AdaLoraConfig(
        **common,
        init_r=start_rank(options),
        target_r=options.r if options.target_r is None else options.target_r,
        tinit=int(PRUNE_AFTER * total_steps),
        tfinal=int(SETTLE * total_steps),
        deltaT=1,
        total_step=total_steps,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        ensure_weight_tying=_shares_whole(model, targets),
        bias=options.bias,
    )


def _vera(recipe: Recipe, model: Any, targets: Targets, total_steps: int, common: dict[str, Any]) -> Any:
    from peft import VeraConfig

    options = recipe.adapter
    return VeraConfig(
        **common,
        r=options.r,
        vera_dropout=options.lora_dropout,
        projection_prng_key=recipe.training.seed,
        save_projection=True,
        bias=_only("vera", options.bias),
    )


def _ia3(recipe: Recipe, model: Any, targets: Targets, total_steps: int, common: dict[str, Any]) -> Any:
    from peft import IA3Config

    down = [name for name in targets.names if in_group(name, "down")]
    inner = short(down, model)  # peft wants these among the targets, word for word
    outer = short([name for name in targets.names if name not in down], model)
    return IA3Config(**{**common, "target_modules": inner + outer}, feedforward_modules=inner)


def _oft(recipe: Recipe, model: Any, targets: Targets, total_steps: int, common: dict[str, Any]) -> Any:
    from peft import OFTConfig
    from transformers.pytorch_utils import Conv1D

    options = recipe.adapter
    for linear in targets.modules:
        if isinstance(model.get_submodule(linear.name), Conv1D):
            raise EngineError(
                f"OFT cannot adapt {linear.name}: this family stores its layers the other way round.",
                "Use lora.",
                "REC-01",
                field="adapter.method",
            )
        if block_size(linear.in_features, options.oft_block_size) < 2:
            raise EngineError(
                f"OFT: no block size near {options.oft_block_size} divides the {linear.in_features} inputs "
                f"of {linear.name}.",
                "Choose another block size.",
                "REC-01",
                field="adapter.oft_block_size",
            )
    return OFTConfig(
        **common,
        r=0,
        oft_block_size=options.oft_block_size,
        bias=_only("oft", options.bias),
    )


def _only(method: str, bias: str) -> str:
    """Return peft's word for the biases of adapted layers alone, which bears the method's name."""
    return f"{method}_only" if bias == "lora_only" else bias


_MAKERS: dict[str, Callable[..., Any]] = {
    "lora": _lora,
    "adalora": _adalora,
    "vera": _vera,
    "ia3": _ia3,
    "oft": _oft,
}
