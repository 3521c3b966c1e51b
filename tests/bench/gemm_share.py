"""How near a step of our loop comes to the speed of its own matrix products alone, at this machine's rates.

    python -m tests.bench.gemm_share [--steps 6] [--precision fp32|bf16] [--targets qv|all]

The products of a step (forward, to the inputs, to A and B, and the head at supervised positions) are timed
bare, on fresh operands of the same shapes, in turn with the steps.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from tests.bench.train_programs import load_own, options


def products_of_step(run: Any, tokens: int, supervised: int) -> list[tuple[int, int, int]]:
    """Return (m, n, k) of every product of one step over `tokens` computed and `supervised` trained ones."""
    from engine.runtime.fused import blocks

    found = []
    products = blocks.products_of(run.model)
    for number, product in enumerate(products):
        out, wide = product.wide.shape
        rank, width = product.cut.rank, product.cut.width
        found.append((tokens, out, wide))
        reaches_input = number > 0  # nothing below the first projections is trained
        if rank:
            found += [(tokens, rank, width), (rank, out, tokens), (rank, width, tokens)]
            found.append((tokens, wide if reaches_input else rank, out))
            found += [(tokens, width, rank)] if reaches_input else []
        elif reaches_input:
            found.append((tokens, width, out))
    vocabulary, hidden = run.head.shape
    return [*found, (supervised, vocabulary, hidden), (supervised, hidden, vocabulary)]


def bare_seconds(shapes: list[tuple[int, int, int]], dtype: Any) -> float:
    """Return how long these products take by themselves."""
    import torch

    total = 0.0
    operands: dict[tuple[int, int, int], Any] = {}
    for m, n, k in shapes:
        if (m, n, k) not in operands:
            operands[m, n, k] = (
                torch.randn(m, k, dtype=dtype),
                [torch.randn(n, k, dtype=dtype) for _ in range(4)],
            )
    for number, (m, n, k) in enumerate(shapes):
        x, weights = operands[m, n, k]
        began = time.perf_counter()
        x @ weights[number % len(weights)].T
        total += time.perf_counter() - began
    return total


def main() -> int:
    args = options().parse_args()
    from engine.runtime import train
    from engine.runtime.batches import collate
    from tests.bench.machine import describe

    run = load_own(args)
    shares, rates = [], []
    for number in range(args.steps):
        rows = [[run.data.train[i] for i in b] for b in run.table.micro_batches(run.step + 1)]
        flat = [collate(r, run.compute.device, flat=True, lean=True, share=run.layout.shares) for r in rows]
        tokens = sum(b.input_ids.numel() for b in flat)
        supervised = sum(b.supervised for b in flat)
        began = time.perf_counter()
        train.take_step(run)
        step = time.perf_counter() - began
        shapes = products_of_step(run, tokens, supervised)
        bare = bare_seconds(shapes, run.compute.dtype)
        if number:
            shares.append(bare / step)
            rates.append(sum(2 * m * n * k for m, n, k in shapes) / bare / 1e9)
    print(describe())
    print(
        f"{args.targets}, {args.precision}: bare products {statistics.median(rates):.0f} GFLOP/s; "
        f"a step reaches {statistics.median(shares):.2f} of that ({min(shares):.2f} to {max(shares):.2f})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
