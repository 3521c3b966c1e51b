"""What a TARGET stands for: a run, an adapter, a model trained whole, a checkpoint, a model or `starter`."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from engine import paths
from engine.errors import EngineError
from engine.models.adapter_facts import CONFIG, AdapterFacts, read_adapter_facts
from engine.models.facts import ModelFacts, read_facts
from engine.models.fit import check_fit, refuse_unready
from engine.models.library import STARTER, resolve_model
from engine.recipe.recipe import Recipe
from engine.runs import result, store
from engine.runs.check import last_checkpoint, step_of


@dataclass(frozen=True)
class Target:
    """A base, the adapter on it if there is one, and how it was trained to be spoken to.

    The result of full finetuning is a model of its own: it stands as the base, without an adapter. `origin`
    is the model it was trained from, where that is still here and of the same shape.
    """

    name: str
    base: ModelFacts
    adapter: AdapterFacts | None = None
    run: Path | None = None
    step: int | None = None
    system_prompt: str | None = None
    chat_template: str = "auto"
    origin: ModelFacts | None = None


def resolve_target(text: str, base: str | None = None) -> Target:
    """Return what `text` names; `base` overrides the recorded base of an adapter.

    Raises EngineError RUN-03 / RUN-05 for a run without weights, MODEL-* for a folder that is no model,
    MODEL-07 for an adapter whose base is not here or does not fit.
    """
    path = Path(text).expanduser()
    if (path / CONFIG).is_file():
        return _of_adapter(path.resolve(), _run_of(path.resolve()), base)
    whole = _whole_in(path.resolve())
    if whole is not None:
        return _of_whole(whole, _run_of(whole) or _run_of(whole.parent))
    if text == STARTER or (path / "config.json").is_file() or path.suffix.lower() == ".gguf":
        facts = read_facts(resolve_model(text))
        return Target(facts.name, facts)
    try:
        run = store.find_run(text)
    except EngineError as unknown_run:
        try:
            facts = read_facts(resolve_model(text))
        except EngineError as error:
            raise (
                error if error.code.startswith(("MODEL", "HUB")) and path.exists() else unknown_run
            ) from error
        return Target(facts.name, facts)
    return _of_run(run, base)


def _run_of(adapter: Path) -> Path | None:
    """Return the run an adapter folder lies in: its recipe knows base, template and system prompt."""
    for folder in (adapter.parent, adapter.parent.parent):
        if (folder / "recipe.yaml").is_file() and (folder / "job.json").is_file():
            return folder
    return None


def _whole_in(folder: Path) -> Path | None:
    """Return the model folder that full finetuning left: a run's `model/`, or that of a checkpoint."""
    inner = folder / "model"
    if folder.parent.name == "checkpoints" and (inner / "config.json").is_file():
        return inner
    own = folder.name == "model" and (folder / "config.json").is_file()
    return folder if own and (_run_of(folder) or _run_of(folder.parent)) else None


def _of_whole(folder: Path, run: Path | None) -> Target:
    """Return a model that was trained whole, known by its run's name and spoken to as it was trained."""
    if run is not None and folder == run / "model":
        result.refuse_damaged(run)
    recipe = store.load_recipe(run) if run is not None else None
    name = store.summary(run).name if run is not None else folder.name
    checkpoint = folder.parent if folder.parent.parent.name == "checkpoints" else None
    facts = replace(read_facts(folder), name=name)
    return Target(
        name=name,
        base=facts,
        run=run,
        step=step_of(checkpoint) if checkpoint else None,
        system_prompt=_trained_prompt(run, recipe),
        chat_template=recipe.data.chat_template if recipe else "auto",
        origin=_origin(facts, recipe),
    )


def _origin(trained: ModelFacts, recipe: Recipe | None) -> ModelFacts | None:
    """Return the base that a model was trained from; it may have been moved or changed since."""
    if recipe is None:
        return None
    try:
        base = read_facts(resolve_model(recipe.model.path, recipe.model.revision))
    except EngineError:
        return None
    alike = (base.linears, base.vocab_size, base.tied) == (trained.linears, trained.vocab_size, trained.tied)
    return base if alike and base.quantization is None else None


def _of_run(run: Path, base: str | None) -> Target:
    result.refuse_damaged(run)
    if (run / "adapter" / CONFIG).is_file():
        return _of_adapter(run / "adapter", run, base)
    if (run / "model" / "config.json").is_file():
        return _of_whole(run / "model", run)
    checkpoint, _ = last_checkpoint(run)
    if checkpoint is not None and (checkpoint / "model" / "config.json").is_file():
        return _of_whole(checkpoint / "model", run)
    if checkpoint is None:
        raise EngineError(
            f"{paths.show_name(run.name)} has no saved result yet.",
            "Wait for its first save, or let it finish.",
            "RUN-05",
            file=str(run),
        )
    return _of_adapter(checkpoint, run, base)


def _of_adapter(folder: Path, run: Path | None, base: str | None) -> Target:
    if run is not None and folder == run / "adapter":
        result.refuse_damaged(run)
    adapter = read_adapter_facts(folder)
    refuse_unready(adapter)
    recipe = store.load_recipe(run) if run is not None else None
    facts = read_facts(_base_folder(adapter, recipe, base))
    check_fit(adapter, facts)
    made = folder.parent.name == "adapters"  # from the run's own, and named for what it is
    return Target(
        name=store.summary(run).name if run is not None and not made else adapter.name,
        base=facts,
        adapter=adapter,
        run=run,
        step=step_of(folder) if folder.parent.name == "checkpoints" else None,
        system_prompt=_trained_prompt(run, recipe),
        chat_template=recipe.data.chat_template if recipe else "auto",
    )


def _trained_prompt(run: Path | None, recipe: Recipe | None) -> str | None:
    """The system prompt a run was trained with: its recipe's, or the one its rows have in common."""
    if run is None or recipe is None:
        return None
    try:
        found = json.loads((run / "environment.json").read_bytes()).get("system_prompt")
    except (OSError, ValueError, AttributeError):
        found = None
    return recipe.data.system_prompt or (found if isinstance(found, str) else None)


def _base_folder(adapter: AdapterFacts, recipe: Recipe | None, base: str | None) -> Path:
    """The chosen base, else the one recorded in the adapter, else the one its run was started with."""
    if base is not None:
        return resolve_model(base)
    recorded = [adapter.base] if adapter.base else []
    if recipe is not None:
        recorded.append(recipe.model.path)
    if Path(adapter.base).name == STARTER:
        recorded.append(STARTER)
    for name in recorded:
        try:
            return resolve_model(name)
        except EngineError as error:
            if error.code not in ("HUB-01", "DISK-03"):
                raise
    raise EngineError(
        f"The base of {adapter.name} is not on this computer: {adapter.base or 'none is recorded'}.",
        "Choose its base (--base), or download it.",
        "MODEL-07",
        file=str(adapter.path),
    )
