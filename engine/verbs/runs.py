"""Verbs of training runs: train, resume, stop, pause, watch, and the `runs` family."""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.jobs import process
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import beginnings, check, evaluations, resume_gate, store
from engine.runs.compared import finding_on
from engine.runs.fsck import fsck
from engine.verbs import follow, starts

Answer = dict[str, Any] | int


def parse_sets(settings: list[str]) -> dict[str, Any]:
    """Return the values of `--set field=value`."""
    values: dict[str, Any] = {}
    for setting in settings:
        field, equals, value = setting.partition("=")
        if not equals:
            raise EngineError(
                f"--set {setting}: no value.",
                "Write --set training.learning_rate=1e-4.",
                "REC-01",
                field=field,
            )
        values[field.strip()] = value
    return values


def read_recipe(path: str, settings: list[str]) -> Recipe:
    """Return a recipe file with `--set` applied, its paths made absolute."""
    file = Path(path).expanduser()
    recipe = codec.override(codec.load(file), parse_sets(settings))
    recipe = codec.absolute(recipe, file.resolve().parent)
    begun = recipe.adapter.path
    if begun and not Path(begun).is_absolute():
        recipe = codec.override(recipe, {beginnings.FIELD: str(store.find_run(begun))})
    return beginnings.settled(recipe)


def train(args: Namespace) -> Answer:
    """Make a run and follow its child."""
    recipe = read_recipe(args.recipe, args.set)
    codec.refuse_unsupported(recipe)
    check_inputs(recipe)
    starts.ask_base(recipe, anyway=args.anyway)
    environment = starts.place(recipe, anyway=args.anyway)
    folder = store.create_run(recipe, Path(args.run_dir).expanduser().resolve() if args.run_dir else None)
    child = process.start(folder, environment=environment)
    if args.detach:
        return {"run": folder.name, "folder": str(folder), "pid": child.pid}
    return follow.follow_child(child, args.json)


def check_inputs(recipe: Recipe, *, weights: bool = True) -> None:
    """Refuse before a run is made what can be seen to be wrong: missing files, a folder that is no model.

    Without `weights`, to plan, a folder with config.json alone will do.
    """
    from engine.data.library import resolve_data
    from engine.models.facts import look_at, read_facts
    from engine.models.library import resolve_model

    for path in [*recipe.data.train, *([recipe.data.validation] if recipe.data.validation else [])]:
        if not resolve_data(path).exists():
            raise EngineError(
                f"{path} does not exist.", "Check the name and the folder.", "DATA-12", file=path
            )
    if recipe.model.path != "starter":
        read = read_facts if weights else look_at
        read(resolve_model(recipe.model.path, recipe.model.revision))


def resume(args: Namespace) -> Answer:
    """Go on from the last sound save, or wake a paused run; with --check only say what speaks against it."""
    folder = store.find_run(args.run)
    values = parse_sets(args.set)
    if args.check:
        return resume_gate.examine(folder, values).as_dict()
    if not values and store.state_of(folder) == "paused":
        process.send(folder, "resume")
        return follow.follow_folder(folder, args.json, from_start=False)
    if args.processes is not None and args.processes < 1:
        raise EngineError(
            f"--processes {args.processes}: a run needs one.",
            "Use 1 or more.",
            "REC-01",
            field="launcher.processes",
        )
    verdict = resume_gate.pass_through(folder, values, anyway=args.anyway)
    starts.tell(verdict.findings)
    environment = starts.place(store.load_recipe(folder), anyway=args.anyway)
    child = process.start(folder, environment=environment, processes=args.processes)
    if args.detach:
        return {"run": folder.name, "folder": str(folder), "pid": child.pid}
    return follow.follow_child(child, args.json, from_start=False)


def _alive(args: Namespace) -> Path:
    folder = store.find_run(args.run)
    if not process.is_alive(folder):
        raise EngineError(
            f"{folder.name} is not going.",
            "`tunesmith runs list` shows the states.",
            "RUN-03",
            file=str(folder),
        )
    return folder


def stop(args: Namespace) -> Answer:
    """Ask a run to save and end, and follow until it did."""
    folder = _alive(args)
    process.send(folder, "stop")
    return follow.follow_folder(folder, args.json, from_start=False)


def pause(args: Namespace) -> Answer:
    """Ask a run to save, free its memory and wait; returns once it does."""
    folder = _alive(args)
    process.send(folder, "pause")
    follower = follow.Follower(folder, args.json, from_start=False)
    while process.is_alive(folder) and store.state_of(folder) != "paused":
        follower.show()
        time.sleep(follow.POLL_SECONDS)
    follower.show()
    return 0


class _Answer:
    """Says whether an event answers a command; called with each in turn."""

    _TYPES = {"save": "checkpoint_saved", "evaluate": "evaluated"}
    _NOTHING_TO_DO = {"save": "is saved already", "evaluate": "nothing to validate with"}  # lines of the log

    def __init__(self, command: str, prompt: str) -> None:
        self._command, self._prompt = command, prompt
        self._base_has_answered = False

    def __call__(self, event: Any) -> bool:
        if self._command != "sample":
            told = event.type == "log" and self._NOTHING_TO_DO[self._command] in event.message
            return told or bool(event.type == self._TYPES[self._command])
        if event.type == "sample_generated" and event.prompt == self._prompt:
            # The base's answer, of step 0, comes first; before the first step there is no other.
            self._base_has_answered = event.step == 0
            return not self._base_has_answered
        return bool(self._base_has_answered and event.type == "step")


def tell(args: Namespace) -> Answer:
    """Ask a going run to save, to evaluate or to answer a prompt between two steps, and show its answer."""
    folder = _alive(args)
    if (args.command == "sample") != bool((args.prompt or "").strip()):
        raise EngineError(
            "sample wants a prompt." if args.command == "sample" else "A prompt is for sample only.",
            "Write: tell RUN sample --prompt TEXT.",
            "REC-01",
        )
    if store.state_of(folder) == "paused":
        raise EngineError("This run is paused.", "Resume it first.", "RUN-02", file=str(folder))
    follower = follow.Follower(folder, args.json, from_start=False)
    process.send(folder, args.command, **({"prompt": args.prompt} if args.prompt else {}))

    return follower.until(_Answer(args.command, args.prompt or ""), lambda: process.is_alive(folder))


def watch(args: Namespace) -> Answer:
    """Show all events of a run, and those to come."""
    return follow.follow_folder(store.find_run(args.run), args.json, from_start=True)


def _plain(run: store.RunSummary) -> dict[str, Any]:
    judged = [seal.model_dump() for seal in run.seals]
    return {**asdict(run), "folder": str(run.folder), "curve": list(run.curve), "seals": judged}


def list_runs(args: Namespace) -> Answer:
    """Name all runs of the home."""
    return {"runs": [_plain(run) for run in store.list_runs()]}


def show(args: Namespace) -> Answer:
    """Describe one run: its summary, recipe and environment."""
    import json

    folder = store.find_run(args.run)
    environment = folder / "environment.json"
    return {
        **_plain(store.summary(folder)),
        "recipe": store.load_recipe(folder).model_dump(mode="json"),
        "environment": json.loads(environment.read_bytes()) if environment.exists() else {},
        "checkpoints": [p.name for p in check.checkpoint_folders(folder)],
        "evaluations": [
            {"id": each.id, "state": each.state, "benchmarks": each.benchmarks, "scores": _scores(each)}
            for each in evaluations.read_evaluations(folder)
        ],
    }


def _scores(each: evaluations.Evaluation) -> list[dict[str, Any]]:
    return [] if each.results is None else [score.model_dump() for score in each.results.scores]


def compare(args: Namespace) -> Answer:
    """Say in which options runs differ, and what came of it."""
    folders = [store.find_run(name) for name in args.runs]
    recipes = [store.load_recipe(folder) for folder in folders]
    trees = [_flatten(recipe.model_dump(mode="json")) for recipe in recipes]
    keys = [
        key for key in trees[0] if key != "name" and any(tree[key] != trees[0][key] for tree in trees[1:])
    ]
    summaries = [store.summary(folder) for folder in folders]
    found = finding_on(recipes)
    return {
        "differences": [{"field": key, "values": [tree[key] for tree in trees]} for key in keys],
        "metrics": {
            run.id: {
                "name": run.name,
                "state": run.state,
                "step": run.step,
                "loss": run.loss,
                "best_validation": run.best_validation,
                "seconds": run.seconds,
            }
            for run in summaries
        },
        "findings": [] if found is None else [found.as_dict()],
    }


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        nested = isinstance(value, dict) and not prefix
        flat.update(_flatten(value, f"{key}.") if nested else {prefix + key: value})
    return flat


def check_run(args: Namespace) -> Answer:
    """Say what in a run's folder is damaged."""
    return fsck(store.find_run(args.run)).as_dict()


def repair(args: Namespace) -> Answer:
    """Move what is damaged into quarantine."""
    return fsck(store.find_run(args.run), repair=True).as_dict()


def rename(args: Namespace) -> Answer:
    """Give a run another name to be shown by; its id and its folder stay."""
    folder = store.find_run(args.run)
    if not args.name.strip():
        raise EngineError("A name needs a letter or a number.", "Write another one.", "REC-01", field="name")
    store.rename_run(folder, args.name)
    return {"renamed": folder.name, "name": store.summary(folder).name}


def delete(args: Namespace) -> Answer:
    """Move a run to the trash."""
    folder = store.find_run(args.run)
    return {"deleted": folder.name, "trash": str(store.delete_run(folder))}
