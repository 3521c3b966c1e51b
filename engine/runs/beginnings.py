"""The adapter that a run begins from: which folder it is, what it settles, is it still the same.

Everything is told from headers; its values are read by the child alone. Its digest stands in job.json, so
that a start from the beginning is one from the same adapter, or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import EngineError, from_os_error
from engine.models.adapter_facts import CONFIG, WEIGHTS, AdapterFacts, read_adapter_facts
from engine.models.facts import ModelFacts, look_at
from engine.models.fit import check_fit, refuse_unready
from engine.models.library import resolve_model
from engine.plan.taken import take_over
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import file_digests, gate_checks, result
from engine.runs.check import last_checkpoint
from engine.runs.gate_checks import Finding

FIELD = "adapter.path"
KEY = "begins_from"  # of the arguments in job.json


@dataclass(frozen=True)
class Beginning:
    """An adapter and the base that it is put on, both looked at and fitting by their shapes."""

    adapter: AdapterFacts
    base: ModelFacts


def resolve(text: str) -> Path:
    """Return the adapter's folder that `adapter.path` names: a folder, a save, or a run by its folder or id.

    Raises EngineError RUN-03 where there is none, RUN-05 for a run without a save, MODEL-05 for a model that
    was trained whole.
    """
    path = Path(text).expanduser()
    if (path / CONFIG).is_file():
        return path.resolve()
    run = next((p for p in (path, paths.runs_dir() / text) if (p / "job.json").is_file()), None)
    if run is None:
        if (path / "model" / "config.json").is_file():
            raise _whole(path)
        raise EngineError(
            f"There is no adapter at {paths.show_name(text, 200)}.",
            f"Name a run, a save of one, or a folder that holds {CONFIG}.",
            "RUN-03",
            file=text,
            field=FIELD,
        )
    run = run.resolve()
    if (run / "adapter" / CONFIG).is_file():
        return run / "adapter"
    saved, _ = last_checkpoint(run)
    if (run / "model" / "config.json").is_file() or (saved is not None and (saved / "model").is_dir()):
        raise _whole(run)
    if saved is None:
        raise EngineError(
            f"{paths.show_name(run.name)} has no saved result yet.",
            "Wait for its first save, or let it finish.",
            "RUN-05",
            file=str(run),
            field=FIELD,
        )
    return saved


def _whole(folder: Path) -> EngineError:
    return EngineError(
        f"{paths.show_name(folder.name)} was trained whole: it is a model, no adapter.",
        "Choose its folder model/ as the model, and leave adapter.path empty.",
        "MODEL-05",
        file=str(folder),
        field=FIELD,
    )


def look(recipe: Recipe) -> Beginning | None:
    """Return the adapter and the base of a recipe, None for one that begins from none.

    Raises EngineError as `resolve` does, MODEL-* where the adapter cannot be used, MODEL-07 where it does not
    fit the base.
    """
    if recipe.adapter.path is None:
        return None
    folder = resolve(recipe.adapter.path)
    run = run_of(folder)
    if run is not None and folder == run / "adapter":
        result.refuse_damaged(run)
    adapter = read_adapter_facts(folder)
    refuse_unready(adapter)
    base = look_at(resolve_model(recipe.model.path, recipe.model.revision))
    check_fit(adapter, base)
    return Beginning(adapter, base)


def settled(recipe: Recipe) -> Recipe:
    """Return a recipe with what the adapter settles that it begins from, named by its whole path.

    Raises EngineError REC-01 by field where the recipe says otherwise, and as `look` does.
    """
    if recipe.adapter.path is None:
        return recipe
    codec.refuse_clashes(recipe)
    found = look(recipe)
    assert found is not None
    recipe = take_over(recipe, found.adapter, found.base)
    return codec.override(recipe, {FIELD: str(found.adapter.path)})


def record(recipe: Recipe) -> dict[str, Any]:
    """Return what job.json keeps of the adapter a settled recipe begins from; raises EngineError DISK-*."""
    if recipe.adapter.path is None:
        return {}
    folder = Path(recipe.adapter.path)
    try:
        files = file_digests.sha256_of_all(folder, (CONFIG, WEIGHTS))
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    return {KEY: {"path": str(folder), "name": read_adapter_facts(folder).name, "files": files}}


def recorded(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a job's arguments say of the adapter that it began from, empty where they say nothing."""
    kept = arguments.get(KEY)
    return kept if isinstance(kept, dict) and isinstance(kept.get("files"), dict) else {}


def digest(arguments: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the values that a job began from, empty where it began from none."""
    known = recorded(arguments).get("files", {}).get(WEIGHTS)
    found = known.get("sha256") if isinstance(known, dict) else None
    return found if isinstance(found, str) else ""


# -- what is compared ----------------------------------------------------------------------------------------
def of_adapter(arguments: Mapping[str, Any], step: int) -> list[Finding]:
    """Say when a run that starts from its beginning has not the adapter any more (REC-01).

    A run with a save of its own needs it no longer.
    """
    kept = recorded(arguments)
    if step or not kept:
        return []
    folder = Path(str(kept.get("path", "")))
    for name, known in kept["files"].items():
        file = folder / str(name)
        try:
            same = gate_checks.is_same(file, known)
        except OSError as error:
            what = "is gone" if not file.exists() else f"cannot be read ({error.strerror})"
            return [_other(kept, f"{paths.show_name(str(name))} {what}", file)]
        if not same:
            return [_other(kept, f"{paths.show_name(str(name))} changed", file)]
    return []


def _other(kept: Mapping[str, Any], what: str, file: Path) -> Finding:
    name = paths.show_name(str(kept.get("name", "")), 80)
    words = f"The adapter {name}, which this run begins from, is not as it was: {what}."
    hint = "Bring it back, or start a new run from the adapter as it is now."
    return Finding("REC-01", "error", words, hint, file=str(file), fields=(FIELD,))


def of_base(recipe: Recipe) -> list[Finding]:
    """Ask where the base has other files than the one the adapter was trained on (MODEL-08)."""
    found = look(recipe)
    if found is None:
        return []
    adapter, base = found.adapter, found.base
    run = run_of(adapter.path)
    then = gate_checks.environment_of(run).get("model") if run is not None else None
    files = then.get("files") if isinstance(then, dict) else None
    if not isinstance(files, dict):
        return _other_name(adapter, base)
    for name, known in files.items():
        file = base.path / str(name)
        try:
            same = gate_checks.is_same(file, known)
        except OSError:
            same = False
        if not same:
            words = f"{paths.show_name(str(name))} of the base is not the one {adapter.name} was trained on."
            hint = (
                "Restore it, or choose that base. Shapes fit, so training can begin; what it learnt may not."
            )
            return [
                Finding("MODEL-08", "error", words, hint, "Begin on this base", str(file), ("model.path",))
            ]
    return []


def _other_name(adapter: AdapterFacts, base: ModelFacts) -> list[Finding]:
    """Tell where an adapter of elsewhere names another base; its files cannot be compared."""
    named = adapter.base.replace("\\", "/").rstrip("/").rpartition("/")[2]
    if not named or named.casefold() in (base.name.casefold(), base.path.name.casefold()):
        return []
    words = f"{adapter.name} names {named} as its base, and this run trains on {base.name}."
    hint = "The shapes fit. Choose the base it was trained on where you have it."
    return [Finding("MODEL-07", "warning", words, hint, file=str(adapter.path), fields=("model.path",))]


def run_of(adapter: Path) -> Path | None:
    """Return the run that an adapter or a save lies in."""
    inside = adapter.parent.parent if adapter.parent.name == "checkpoints" else adapter.parent
    ours = adapter.name == "adapter" or adapter.parent.name == "checkpoints"
    return inside if ours and (inside / "job.json").is_file() else None
