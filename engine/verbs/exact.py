"""`plan --exact`: what a dry run counts, beside what the formula says."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.plan.data_facts import DataFacts
from engine.plan.planner import Plan
from engine.recipe.recipe import Recipe
from engine.runs import exact
from engine.verbs.spoken import note


def exactly(
    recipe: Recipe, folder: Path, data: DataFacts | None, plan: Plan, device: str, *, quiet: bool
) -> dict[str, Any]:
    """Return {"exact": ...} of a recipe on the device that it was planned for; Ctrl-C ends the child too."""
    check = exact.start(
        recipe,
        folder,
        data,
        device=device,
        precision=plan.precision,
        checkpointing=plan.gradient_checkpointing,
    )
    said = ""

    def say(now: exact.Check) -> None:
        nonlocal said
        if now.stage != said and not quiet:
            said = now.stage
            note(f"exact: {said}")

    try:
        found = exact.ask(check, say)
    except KeyboardInterrupt:
        check.cancel()
        check.wait()
        raise
    if not quiet:
        return {"exact": told(found, plan)}
    counted = {
        k: v for k, v in asdict(found).items() if k not in ("problem", "hint", "code", "field", "cancelled")
    }
    fits = None if plan.device_memory_bytes is None else found.memory_bytes <= plan.device_memory_bytes
    counted |= {"fits": fits, "difference": plan.memory_bytes / found.memory_bytes - 1}
    return {"exact": counted}


def told(found: exact.Exact, plan: Plan) -> str:
    """Return the two figures side by side, term by term, in GB."""
    names = [*plan.terms, *(n for n in found.terms if n not in plan.terms)]
    counted: dict[str, float] = {**found.terms, "runtime": found.runtime_bytes}
    spare = plan.memory_bytes - sum(plan.terms.values())
    rows = [
        ("", "counted", "formula"),
        *((name, _gb(counted.get(name, 0.0)), _gb(plan.terms.get(name, 0.0))) for name in names),
        ("reserve", _gb(found.reserve_bytes), _gb(spare)),
        ("together", _gb(found.memory_bytes), _gb(plan.memory_bytes)),
    ]
    lines = [f"{a:12}{b:>10}{c:>10}" for a, b, c in rows]
    where = {"cuda": "a GPU", "cpu": "the processor"}[found.device]
    lines.append(f"GB, on {where} in {found.precision}, {found.layout}; counted in {found.seconds:.0f} s.")
    return "\n".join(["", *lines, *found.remarks])


def _gb(size: float) -> str:
    return f"{size / 1e9:.3f}"
