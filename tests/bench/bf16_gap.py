"""Does an adapter learn in bf16 what it learns in fp32? Validation losses of three runs of the same recipe.

    python -m tests.bench.bf16_gap [--steps 40]

fp32, bf16 as our loop computes it, and bf16 through peft's own layers, which add the adapter's term after
rounding. The gap is measured against what fp32 gained over the untouched base.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from tests.bench.train_programs import load_own, options

HELD_OUT = 60


def course(args: Namespace, precision: str, *, joined: bool = True) -> tuple[float, float, list[float]]:
    """Return the validation loss before and after the steps, and the loss of each step."""
    from engine.runs.event_log import EventReader
    from engine.runtime import adapter, evaluate, train
    from engine.runtime.fused import blocks

    own = blocks.fuse
    adapter.blocks.fuse = own if joined else (lambda _model: 0)  # type: ignore[attr-defined]
    try:
        run: Any = load_own(Namespace(**{**vars(args), "precision": precision, "rows": 600}))
    finally:
        adapter.blocks.fuse = own  # type: ignore[attr-defined]
    run.data.validation.extend(run.data.train[-HELD_OUT:])

    def held_out() -> float:
        run.model.eval()
        loss = evaluate.validation_loss(run)
        run.model.train()
        assert loss is not None
        return loss

    before = held_out()
    for _ in range(args.steps):
        train.take_step(run)
    steps = [e.loss for e in EventReader(run.job.folder).read_new() if e.type == "step"]
    return before, held_out(), steps


def main() -> int:
    args = options().parse_args()
    from tests.bench.machine import describe

    tempfile.tempdir = str(Path(tempfile.mkdtemp()))
    base, exact, exact_steps = course(args, "fp32")
    print(describe())
    print(f"validation loss of the base {base:.4f}; after {args.steps} steps in fp32 {exact:.4f}")
    for name, joined in (("bf16, joined product", True), ("bf16, peft's own layers", False)):
        _, found, steps = course(args, "bf16", joined=joined)
        apart = [abs(a - b) for a, b in zip(steps, exact_steps, strict=True)]
        print(
            f"{name}: {found:.4f}, gap {abs(found - exact) / (base - exact):.1%} of what fp32 gained; "
            f"losses of steps within {max(apart):.1e} (median {statistics.median(apart):.1e}), "
            f"first 14 within {max(apart[:14]):.1e}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
