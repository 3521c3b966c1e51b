"""How much memory a base needs while it is loaded, and the words where that is not there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from engine.errors import EngineError
from engine.models.facts import ModelFacts, read_facts
from engine.plan.weights import INT8_BYTES, NF4_BYTES, NF4_PLAIN_BYTES
from engine.recipe.recipe import ModelOptions

if TYPE_CHECKING:
    from engine.runtime.load import Compute


def base_bytes(options: ModelOptions, facts: ModelFacts, dtype: torch.dtype) -> float:
    """Return the bytes of a base's values; quantised are its linear layers alone."""
    whole = facts.parameters * dtype.itemsize
    if not (options.load_in_4bit or options.load_in_8bit):
        return float(whole)
    four = NF4_BYTES if options.bnb_4bit_use_double_quant else NF4_PLAIN_BYTES
    packed = INT8_BYTES if options.load_in_8bit else four
    plain = facts.parameters - facts.linear_parameters
    return float(facts.linear_parameters * packed + plain * dtype.itemsize)


def too_large(folder: Path, options: ModelOptions, compute: Compute, dtype: torch.dtype) -> EngineError:
    """Return GPU-01 for a base that did not fit, with what it needs, what is free, and what needs less."""
    need = base_bytes(options, read_facts(folder), dtype)
    on_gpu = compute.device.type == "cuda"
    free = torch.cuda.mem_get_info(compute.device)[0] if on_gpu else psutil.virtual_memory().available
    place = "The GPU" if on_gpu else "This computer"
    ways = [] if options.load_in_4bit else ["load the base in 4 bits"]
    ways += ["close other programs that use this memory", "choose a smaller model"]
    return EngineError(
        f"{place} has too little memory to load this model: about {_size(need)} needed, {_size(free)} free.",
        f"{', '.join(ways[:-1])} or {ways[-1]}.".capitalize(),
        "GPU-01",
        field="model.load_in_4bit",
    )


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
