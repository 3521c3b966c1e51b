"""Kernels of other packages where a recipe asks for them and the machine has them: flash-attn, liger-kernel.

Nothing here is needed: attention without padding and fused layers are our own, and a GPU's flash kernel comes
with torch. What is asked for and cannot be had is refused by name before the model is loaded.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from engine.errors import EngineError
from engine.recipe.recipe import Recipe
from engine.runtime.load import Compute

FLASH = "flash_attention_2"


def refuse(recipe: Recipe, compute: Compute) -> None:
    """Raise EngineError REC-01 for a kernel that is asked for and that this machine does not have."""
    if recipe.model.attn_implementation == FLASH:
        _need_gpu(compute, "model.attn_implementation", FLASH, "Use auto: it keeps examples apart by itself.")
        _need_package("flash_attn", "flash-attn", "model.attn_implementation", FLASH, "or use auto.")
        if compute.dtype == torch.float32:
            raise EngineError(
                f"model.attn_implementation: {FLASH} computes in bf16 only.",
                "Set precision to bf16, or attention to auto.",
                "REC-01",
                field="model.attn_implementation",
            )
    if recipe.training.use_liger_kernel:
        _need_gpu(compute, "training.use_liger_kernel", "true", "Leave it off.")
        _need_package("liger_kernel", "liger-kernel", "training.use_liger_kernel", "true", "or leave it off.")


def _need_gpu(compute: Compute, field: str, value: str, hint: str) -> None:
    if compute.device.type != "cuda":
        raise EngineError(f"{field}: {value} needs an NVIDIA GPU.", hint, "REC-01", field=field)


def _need_package(module: str, package: str, field: str, value: str, else_do: str) -> None:
    if find_spec(module) is None:
        raise EngineError(
            f"{field}: {value} needs {package}, which is not installed.",
            f"Install it beside Tunesmith (pip install {package}), {else_do}",
            "REC-01",
            field=field,
        )


def apply_liger(base: Any) -> str:
    """Put liger-kernel's norms, rotary positions and gated layers into a base; return what a log says of it.

    Called once the adapter is there: a gated layer that was joined with its adapter stays ours, for liger's
    would add the adapter after rounding. Raises EngineError REC-01 for a family that liger does not know.
    """
    from liger_kernel.transformers.monkey_patch import (
        MODEL_TYPE_TO_APPLY_LIGER_FN,
        _apply_liger_kernel_to_instance,
    )

    family = base.config.model_type
    if family not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise EngineError(
            f"training.use_liger_kernel: liger-kernel does not know models of the kind {family}.",
            "Leave it off.",
            "REC-01",
            field="training.use_liger_kernel",
        )
    joined = any(type(m).__name__.endswith("MLP") and "forward" in vars(m) for m in base.modules())
    _apply_liger_kernel_to_instance(
        base,
        rope=True,
        rms_norm=True,
        swiglu=not joined,
        geglu=not joined,
        cross_entropy=False,  # the head is applied where a token is supervised, in chunks, by ourselves
        fused_linear_cross_entropy=False,
    )
    return "Liger kernels: norms and rotary positions" + ("." if joined else ", gated layers.")
