"""How long a quantised base takes to become numbers again: once a pass of each micro-batch, of any length.

bitsandbytes makes every packed matrix anew for the product of the forward pass, for the gradient to its input
in the backward pass, and once more where a layer is computed twice. Each time it reads what is packed and
writes numbers, so its time is bytes over the memory's speed; that of one token is shared by all that are
computed at once.
"""

from __future__ import annotations

from engine.hardware.devices import Gpu, Machine
from engine.models.facts import ModelFacts
from engine.plan.data_facts import DataFacts
from engine.plan.setting import tokens_at_once
from engine.plan.weights import INT8_BYTES, NF4_BYTES, NF4_PLAIN_BYTES
from engine.recipe.recipe import Recipe

# Bytes a second of each GPU's memory, as its maker states them.
GPU_MEMORY = {
    "H200": 4.8e12, "H100": 3.35e12, "A100": 1.56e12, "L40": 8.6e11, "A40": 7.0e11, "A10": 6.0e11,
    "L4": 3.0e11, "T4": 3.2e11, "5090": 1.79e12, "4090": 1.01e12, "4080": 7.2e11, "4070": 5.0e11,
    "4060": 2.7e11, "3090": 9.4e11, "3080": 7.6e11, "3070": 4.5e11, "3060": 3.6e11,
}  # fmt: skip
GPU_MEMORY_UNKNOWN = 4e11
# Of it that unpacking reaches. LitGPT's tables: a 7B model on an A100, 1,000 iterations of one example, 2.36
# minutes in bf16 and 3.68 in nf4: 79 ms more for 13.2e9 values in two passes of 2.56 bytes each, 0.43e12 a
# second. The article's 1.85 and 2.79 hours for 50,000 give 68 ms, 0.50e12.
GPU_REACHED = 0.3
CPU_CORE_MEMORY = 2.2e10  # measured: nf4 to float32 at 4.5e10 to 5.5e10 bytes a second on two cores
CPU_MEMORY = 1e11


def unpacking_seconds(
    recipe: Recipe, facts: ModelFacts, gpu: Gpu | None, machine: Machine, number_bytes: int
) -> float:
    """Return the seconds of one pass over all quantised matrices, 0 for a base as it is."""
    options = recipe.model
    if not (options.load_in_4bit or options.load_in_8bit):
        return 0.0
    four = NF4_BYTES if options.bnb_4bit_use_double_quant else NF4_PLAIN_BYTES
    packed = INT8_BYTES if options.load_in_8bit else four
    return facts.linear_parameters * (packed + number_bytes) / _memory_speed(gpu, machine)


def _memory_speed(gpu: Gpu | None, machine: Machine) -> float:
    if gpu is None:
        return min(CPU_CORE_MEMORY * machine.cores, CPU_MEMORY)
    stated = next((speed for name, speed in GPU_MEMORY.items() if name in gpu.name), GPU_MEMORY_UNKNOWN)
    return GPU_REACHED * stated


def tokens_together(recipe: Recipe, data: DataFacts, device: str) -> float:
    """Return how many tokens a usual micro-batch computes at once; `device` is cuda or cpu."""
    row = data.total_tokens / max(1, data.rows)
    batch = recipe.training.per_device_train_batch_size * row
    limit = tokens_at_once(recipe.training.max_batch_tokens, device)
    return max(1.0, batch if limit is None else min(batch, max(limit, row)))
