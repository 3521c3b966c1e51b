"""Verbs that look at models, adapters and data, and that plan a run."""

from __future__ import annotations

import dataclasses
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.verbs.spoken import say

Answer = dict[str, Any] | int


def doctor(args: Namespace) -> Answer:
    """Check the installation."""
    if args.report:
        from engine.report import system_report

        return _reported(system_report(), args.json)
    from engine.doctor import examine

    return examine()


def _reported(text: str, as_json: bool) -> Answer:
    if as_json:
        return {"report": text}
    say(text)
    return 0


def _model_row(facts: Any) -> dict[str, Any]:
    return {
        "name": facts.name,
        "path": str(facts.path),
        "architecture": facts.architecture,
        "parameters": facts.parameters,
        "layers": facts.layers,
        "hidden_size": facts.hidden_size,
        "dtype": facts.dtype,
        "chat_template": facts.chat_template,
        "weights": not facts.from_config,
        "rough": facts.rough,
        "ignored": list(facts.ignored),
        "dropped_fields": list(facts.dropped_fields),
    }


def models_list(args: Namespace) -> Answer:
    """Name the models on disk; after them the folders that cannot be used, with the reason."""
    from engine.models import library

    usable, refused = library.look_over_models()
    return {"models": [_model_row(facts) for facts in usable], "refused": [r.as_dict() for r in refused]}


def models_add(args: Namespace) -> Answer:
    """Take a folder or a .gguf file into the library."""
    from engine.models import library

    return {"models": [_model_row(library.add_model(Path(args.path).expanduser()))]}


def models_get(args: Namespace) -> Answer:
    """Bring a model to disk: `starter`, or a hub id."""
    from engine.models import library
    from engine.models.facts import read_facts

    folder = library.ensure_starter() if args.id == "starter" else _download(args.id, args.json)
    return {"models": [_model_row(read_facts(folder))]}


def _download(identity: str, quiet: bool) -> Path:
    from engine.jobs import fetch

    return fetch.download_model(identity, progress=_count(quiet))


def _count(quiet: bool) -> Callable[[int, int], None] | None:
    """Return what shows on stderr how far a download is, None where nothing but JSON is wanted."""

    def progress(done: int, total: int) -> None:
        end = "\n" if done >= total else ""
        print(f"\r{done / 1e6:,.1f} of {total / 1e6:,.1f} MB", end=end, file=sys.stderr, flush=True)

    return None if quiet else progress


def models_show(args: Namespace) -> Answer:
    """Describe one model, by its config.json where its weights are not here."""
    from engine.models import library
    from engine.models.facts import look_at

    return {"models": [_model_row(look_at(library.resolve_model(args.path)))]}


def adapters_list(args: Namespace) -> Answer:
    """Name the adapters of runs and those that were added; after them those that cannot be used."""
    from engine.models import library

    usable, refused = library.look_over_adapters()
    return {"adapters": [_adapter_row(facts) for facts in usable], "refused": [r.as_dict() for r in refused]}


def _adapter_row(facts: Any) -> dict[str, Any]:
    row = dataclasses.asdict(facts)
    return {key: str(value) if isinstance(value, Path) else value for key, value in row.items()}


def adapters_add(args: Namespace) -> Answer:
    """Take an adapter folder into the library."""
    from engine.models import library

    return {"adapters": [_adapter_row(library.add_adapter(Path(args.path).expanduser()))]}


def adapters_show(args: Namespace) -> Answer:
    """Describe one adapter."""
    from engine.models.facts import read_adapter_facts

    return {"adapters": [_adapter_row(read_adapter_facts(Path(args.path).expanduser()))]}


def data_inspect(args: Namespace) -> Answer:
    """Say what a file holds, and what training would make of it."""
    from engine.data.inspect import inspect_file
    from engine.models import library

    model = library.resolve_model(args.model) if args.model else None
    found: dict[str, Any] = inspect_file(args.file, model, args.max_length, _data_section(args))
    return found


def data_preview(args: Namespace) -> Answer:
    """Show one row as the model gets it."""
    from engine.data.inspect import preview_row
    from engine.models import library

    model = library.resolve_model(args.model)
    found: dict[str, Any] = preview_row(args.file, args.row, model, _data_section(args))
    return found


def _data_section(args: Namespace) -> Any:
    """Return the data section that `--format` and `--set data.name=value` describe."""
    from engine.recipe import codec
    from engine.recipe.recipe import Recipe
    from engine.verbs.runs import parse_sets

    values = parse_sets(args.set)
    if args.format != "auto":
        values["data.format"] = args.format
    if other := [path for path in values if not path.startswith("data.")]:
        raise EngineError(
            f"{other[0]} has no effect on how data is read.",
            "Set fields of data only.",
            "REC-01",
            field=other[0],
        )
    return codec.override(Recipe(), values).data


def data_list(args: Namespace) -> Answer:
    """Name the data sets on disk."""
    from engine.data import library

    return {"data": [{**dataclasses.asdict(s), "path": str(s.path)} for s in library.list_datasets()]}


def data_get(args: Namespace) -> Answer:
    """Bring a data set of the hub to disk."""
    from engine import hub
    from engine.data import library
    from engine.jobs import fetch

    named = hub.dataset_name(args.id.removeprefix(library.HUB_PREFIX))
    if named is None:
        raise EngineError(f"{args.id!r} is no hub id.", "A hub id looks like name/name.", "HUB-01")

    folder = fetch.download_dataset(*named, files=args.file or None, progress=_count(args.json))
    revision = f"@{named[1]}" if named[1] else ""
    return {"id": named[0], "train": f"{library.HUB_PREFIX}{named[0]}{revision}", "path": str(folder)}


def plan(args: Namespace) -> Answer:
    """Estimate memory, time and trainable parameters of a recipe."""
    from engine.hardware.devices import probe
    from engine.models import library
    from engine.models.facts import look_at
    from engine.plan.ledger import Ledger
    from engine.plan.planner import plan as make_plan
    from engine.recipe import codec
    from engine.verbs.advice import imagined, notes
    from engine.verbs.exact import exactly
    from engine.verbs.probe import plan_by_trial
    from engine.verbs.runs import check_inputs, read_recipe

    if args.profile != "own" and args.exact:
        raise EngineError(
            f"A dry run goes through our own engine, not through {args.profile}.",
            "Leave --exact or --profile away.",
            "REC-01",
        )
    recipe = read_recipe(args.recipe, args.set)
    codec.refuse_unsupported(recipe)
    trial = args.probe is not None or args.compare_qlora
    check_inputs(recipe, weights=trial)
    if trial:
        return plan_by_trial(args, recipe)
    folder = library.resolve_model(recipe.model.path, recipe.model.revision)
    facts, machine = look_at(folder), imagined(probe(), args.device_memory)
    memory = args.device_memory or (
        machine.devices[0].total_bytes if machine.devices else machine.ram_total_bytes
    )
    unreadable = facts.from_config and not (folder / "tokenizer.json").is_file()
    data = None if unreadable else data_facts(recipe, folder)
    result = make_plan(recipe, facts, data, memory, machine, profile=args.profile, ledger=Ledger.read())
    answer = {**dataclasses.asdict(result), "notes": notes(recipe, facts)}
    if args.exact:
        kind = "cuda" if machine.devices else "cpu"
        answer |= exactly(recipe, folder, data, result, kind, quiet=args.json)
    return answer


def data_facts(recipe: Any, model_folder: Path) -> Any:
    """Return the exact counts of a recipe's data, tokenised as training will."""
    from engine.data.dataset import prepare
    from engine.data.order import packs_of
    from engine.plan.planner import DataFacts

    data = prepare(recipe.data, model_folder, recipe.training.seed)
    lengths = [len(example.ids) for example in data.train]
    packs = packs_of(lengths, recipe.data)
    return DataFacts.of(lengths, len(data.validation), data.report.supervised_tokens, packs)
