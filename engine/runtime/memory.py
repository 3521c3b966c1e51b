"""Device memory: how much is used, what to do when it runs out, and how it is given back.

When it runs out, the same work is done again in smaller pieces: the loss is a sum over supervised tokens
divided by the count of the whole step, so that the gradient does not depend on how its rows are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from engine.data.dataset import Example
from engine.errors import EngineError
from engine.events import Warned
from engine.plan.memory import tokens_at_once
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs.store import load_recipe
from engine.runtime.computing import kind_of
from engine.runtime.no_memory import is_lack
from engine.runtime.resident import peak_of_process, resident_bytes

if TYPE_CHECKING:
    from engine.runtime.training import Training

T = TypeVar("T")
# As what torch and Python raise a lack of memory.
ERRORS = (torch.OutOfMemoryError, RuntimeError, MemoryError)


def ran_out(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on a GPU or on the CPU."""
    return is_lack(error)


def make_do(run: Training, rows: int) -> str:
    """Change how steps are computed so that they need less memory, and say it; `rows` are in a micro-batch.

    Rows are cut in more parts; where they are single already and the recipe leaves it to us, layers are
    computed twice instead of kept. Raises EngineError GPU-01 where nothing is left to do.
    """
    _refuse_sharded(run)
    if run.parts >= rows and _may_compute_twice(run):
        compute_twice(run)
        return (
            "Layers are now computed twice instead of kept (gradient checkpointing); the result is the same."
        )
    run.parts = split_further(run.recipe, run.parts, rows)
    return f"Batches are now cut in {run.parts} parts; the result is the same."


def _refuse_sharded(run: Training) -> None:
    """Where ranks share each layer's weights, one cannot do a step again while the others wait in it."""
    if run.ranks.sharded:
        raise EngineError(
            "Memory ran out on one of the GPUs that share this model's weights.",
            f"What was saved is sound. In a new run, {_ways_out(run.recipe)}, or use a smaller batch.",
            "GPU-01",
        )


def _may_compute_twice(run: Training) -> bool:
    training = run.recipe.training
    if training.gradient_checkpointing == "all" or training.on_out_of_memory == "fail":
        return False
    return load_recipe(run.job.folder).training.gradient_checkpointing == "auto"


def compute_twice(run: Training) -> None:
    """Switch on gradient checkpointing for the rest of the run."""
    checkpoint_layers(run.base)
    run.recipe = codec.override(run.recipe, {"training.gradient_checkpointing": "all"})


def checkpoint_layers(base: Any) -> None:
    """Let each layer keep its input only; what is inside is computed again in the backward pass."""
    base.gradient_checkpointing_enable({"use_reentrant": False})
    base.enable_input_require_grads()


def until_it_fits(
    run: Training, work: Callable[[int], T], parts: int, rows: int, doing: str
) -> tuple[T, int]:
    """Do `work(parts)`, again in more parts as long as memory runs out; return its result and the parts.

    Raises EngineError GPU-01 when it does not fit with `rows` parts either.
    """
    while True:
        try:
            return work(parts), parts
        except ERRORS as error:
            if not ran_out(error):
                raise
            _refuse_sharded(run)
            parts = split_further(run.recipe, parts, rows)
        free(run.compute.device)  # outside the handler: the error's frames hold what was computed
        run.job.write(
            Warned(
                code="GPU-01",
                message=f"Memory ran out at step {run.step}, while {doing}.",
                hint=f"That is now done in {parts} parts; the result is the same.",
            )
        )


def split_further(recipe: Recipe, parts: int, rows: int) -> int:
    """Return in how many parts micro-batches are cut next; raises EngineError GPU-01 when they cannot be."""
    if recipe.training.on_out_of_memory == "fail" or parts >= rows:
        raise EngineError(
            "There is too little memory for this run, even for one example at a time."
            if parts >= rows
            else "Memory ran out.",
            f"What was saved is sound. In a new run, {_ways_out(recipe)}.",
            "GPU-01",
        )
    return min(rows, parts * 2)


def _ways_out(recipe: Recipe) -> str:
    """Return the settings that save most memory and are not yet made."""
    ways = [f"set max_length below {recipe.data.max_length}"]
    if recipe.training.gradient_checkpointing != "all":
        ways.append("set gradient_checkpointing to all")
    if not recipe.model.load_in_4bit and recipe.adapter.method != "full":
        ways.append("load the base in 4 bits")
    if recipe.training.on_out_of_memory == "fail" and recipe.training.per_device_train_batch_size > 1:
        ways.append("let batches be split when memory runs out")
    return f"{', '.join(ways[:-1])} or {ways[-1]}" if len(ways) > 1 else ways[0]


def cut(examples: Sequence[Example], parts: int) -> list[Sequence[Example]]:
    """Cut a micro-batch into at most `parts` runs of nearly equal size, in order."""
    if parts <= 1:
        return [examples]
    size = -(-len(examples) // parts)
    return [examples[i : i + size] for i in range(0, len(examples), size)]


def within(examples: Sequence[Example], tokens: int, *, padded: bool) -> list[Sequence[Example]]:
    """Cut a micro-batch so that no piece holds more than `tokens`, counting places where rows are padded.

    A longer example is a piece of its own.
    """
    if sum(len(e.ids) for e in examples) <= tokens and not padded:
        return [examples]
    pieces: list[list[Example]] = [[]]
    held = longest = 0
    for example in sorted(examples, key=lambda e: len(e.ids)):
        held, longest = held + len(example.ids), max(longest, len(example.ids))
        if pieces[-1] and (longest * (len(pieces[-1]) + 1) if padded else held) > tokens:
            pieces.append([])
            held = longest = len(example.ids)
        pieces[-1].append(example)
    return list(pieces)


def room_of(run: Training) -> int | None:
    """Return how many tokens are computed in one piece at most, None without a limit."""
    limit = tokens_at_once(run.recipe.training.max_batch_tokens, kind_of(run.compute.device))
    if run.table.pack_tokens is None or run.layout.flat:
        return limit
    pack = run.table.pack_tokens * run.recipe.training.per_device_train_batch_size
    return pack if limit is None else min(limit, pack)  # a padded pack would be mostly padding


def pieces_of(run: Training, examples: Sequence[Example], parts: int) -> list[Sequence[Example]]:
    """Return a micro-batch as the pieces that are computed one after another."""
    room, pieces = room_of(run), cut(examples, parts)
    if room is None:
        return pieces
    return [part for piece in pieces for part in within(piece, room, padded=not run.layout.flat)]


def used_bytes(device: torch.device) -> int:
    """Return a GPU's peak memory since the start, on a CPU the process's resident memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resident_bytes()


def peak_bytes(device: torch.device) -> int:
    """Return the largest memory this process held on the device."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return peak_of_process()


def free(device: torch.device) -> None:
    """Give unused memory back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
