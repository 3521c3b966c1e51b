"""The gate before a run goes on: what is not as it was, in the same words on a command line and in a window.

Versions, base model, data, recipe, saves and the format of the folder are compared with what the run was
begun with. Nothing is changed; large files are read, so that a window asks from its thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.jobs import lock
from engine.jobs.process import exit_of
from engine.jobs.spec import read_job
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import beginnings, changes, gate_checks, result, store
from engine.runs.fsck_papers import has_its_result
from engine.runs.gate_checks import Finding as Finding


@dataclass(frozen=True)
class Verdict:
    """What speaks against going on, the gravest first; `step` is where it would, 0 is the beginning."""

    folder: Path
    findings: tuple[Finding, ...] = ()
    step: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)  # what of the recipe will be in force otherwise

    def stop(self, *, anyway: bool = False) -> Finding | None:
        """Return what forbids it; with `anyway` only what leaves no way on."""
        return next((f for f in self.findings if f.severity == "error" and not (anyway and f.way_on)), None)

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON has it."""
        told = [
            {**asdict(each), "fields": list(each.fields), "table": [list(row) for row in each.table]}
            for each in self.findings
        ]
        return {"ok": self.stop() is None, "run": self.folder.name, "step": self.step, "findings": told}


def examine(folder: Path, values: Mapping[str, Any] | None = None) -> Verdict:
    """Compare a run with how it was begun; `values` are fields of the recipe that shall be otherwise.

    Never raises for what is wrong with the run: that is a finding.
    """
    values = dict(values or {})
    step, found = 0, gate_checks.of_folder(folder)
    if not found and lock.is_held(folder):
        found = [gate_checks.going(folder)]
    if not found and (exit_of(folder) or {}).get("status") == "finished" and has_its_result(folder):
        damaged = result.known(folder)
        words = "This run is finished.", "Start a new run to go further."
        if damaged is not None and damaged.problem:
            words = "This run is finished; its result is damaged.", "Repair it first, then resume."
        found = [Finding("RUN-10", "error", *words, file=str(folder))]
    if not found:
        recipe, found = gate_checks.of_recipe(folder, values)
        step, saves = gate_checks.of_saves(folder)
        then = gate_checks.environment_of(folder)
        found += saves + gate_checks.of_versions(then) + gate_checks.of_copies(folder)
        found += gate_checks.of_foreign(folder)
        found += beginnings.of_adapter(read_job(folder).arguments, step)
        if recipe is not None and then:
            found += gate_checks.of_base(then, recipe, step) + gate_checks.of_data(folder, then, recipe, step)
    order = ("error", "warning", "info")
    return Verdict(folder, tuple(sorted(found, key=lambda f: order.index(f.severity))), step, values)


def pass_through(
    folder: Path,
    values: Mapping[str, Any] | None = None,
    *,
    anyway: bool = False,
    verdict: Verdict | None = None,
) -> Verdict:
    """Let a run through to its next attempt, or raise what forbids it; other values are kept in the run.

    Raises EngineError: the code of the first finding that stops.
    """
    verdict = examine(folder, values) if verdict is None else verdict
    stop = verdict.stop(anyway=anyway)
    if stop is not None:
        raise stop.as_error()
    asked = _new_values(store.load_recipe(folder), verdict.values)
    if asked:
        changes.record(folder, asked, verdict.step)
    return verdict


def _new_values(recipe: Recipe, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some values that differ from a recipe's, as JSON holds them."""
    found = changes.differences(recipe, codec.override(recipe, dict(values)))
    return {path: after for path, (_, after) in found.items()}
