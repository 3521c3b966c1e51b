"""Device memory: how much is used, what to do when it runs out, and how it is given back."""

from __future__ import annotations

from collections.abc import Sequence

import psutil
import torch
from torch import nn

from engine.data.dataset import Example
from engine.errors import EngineError
from engine.recipe.recipe import Recipe

_PROCESS = psutil.Process()


def ran_out(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on a GPU or on the CPU."""
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "can't allocate memory" in str(error)
        or "not enough memory" in str(error)
    )


def split_further(recipe: Recipe, parts: int, rows: int) -> int:
    """Return in how many parts micro-batches are cut next; raises EngineError GPU-01 when they cannot be."""
    if recipe.training.on_out_of_memory == "fail" or parts >= rows:
        raise EngineError(
            "There is too little memory for this run, even for one example at a time."
            if parts >= rows
            else "Memory ran out.",
            "Shorten max_length, set gradient_checkpointing to all, or load the base in 4 bits; then resume.",
            "GPU-01",
        )
    return min(rows, parts * 2)


def cut(examples: Sequence[Example], parts: int) -> list[Sequence[Example]]:
    """Cut a micro-batch into at most `parts` runs of nearly equal size, in order."""
    if parts <= 1:
        return [examples]
    size = -(-len(examples) // parts)
    return [examples[i : i + size] for i in range(0, len(examples), size)]


def within(examples: Sequence[Example], tokens: int) -> list[Sequence[Example]]:
    """Cut a micro-batch so that no piece, padded to its longest, holds more than `tokens` places."""
    ordered = sorted(examples, key=lambda e: len(e.ids))
    pieces: list[list[Example]] = [[]]
    for example in ordered:
        if pieces[-1] and len(example.ids) * (len(pieces[-1]) + 1) > tokens:
            pieces.append([])
        pieces[-1].append(example)
    return list(pieces)


def used_bytes(device: torch.device) -> int:
    """Return a GPU's peak memory since the start, on a CPU the process's resident memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return int(_PROCESS.memory_info().rss)


def peak_bytes(device: torch.device) -> int:
    """Return the largest memory this process held on the device."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    info = _PROCESS.memory_info()
    peak_on_windows = getattr(info, "peak_wset", None)
    if peak_on_windows is not None:
        return int(peak_on_windows)
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def free(device: torch.device) -> None:
    """Give unused memory back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def move(model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Move model and optimizer state to `device`."""
    model.to(device)
    for state in optimizer.state.values():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and key != "step":
                state[key] = value.to(device)
