"""Copies of a model's small files, for a run, a merge or an export: of what the gate lets through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine import durable
from engine.models.adapter_facts import CONFIG, KEPT, AdapterFacts
from engine.models.gate import GENERATION
from engine.models.rebuilt import Rebuilt, as_text, rebuild_config, rebuild_generation
from engine.models.tokenizer_files import rebuild_tokenizer
from engine.models.weight_files import INDEX, read_json, stay_inside

_REBUILT: dict[str, Callable[[Mapping[str, Any]], Rebuilt]] = {
    "config.json": rebuild_config,
    GENERATION: rebuild_generation,
    "tokenizer_config.json": rebuild_tokenizer,
}


def copy_companion(source: Path, target: Path) -> None:
    """Copy one file; a configuration that names something unknown is written anew without it.

    Raises EngineError MODEL-02 (damaged), MODEL-03 (points outside), MODEL-04 / MODEL-05; OSError.
    """
    stay_inside(source.parent, source)
    rebuild = _REBUILT.get(source.name)
    if rebuild is not None:
        found = rebuild(read_json(source))
        if found.dropped:
            durable.write_file(target, as_text(found.values))
            return
    if source.name == INDEX and (index := plain_index(source)) != read_json(source):
        durable.write_file(target, as_text(index))
        return
    durable.copy_file(source, target)


def plain_index(source: Path) -> dict[str, Any]:
    """Return an index of names of tensors and plain names of files alone."""
    stored = read_json(source)
    found = stored.get("metadata")
    numbers = found.items() if isinstance(found, dict) else ()
    kept = {k: v for k, v in numbers if k in ("total_size", "total_parameters") and type(v) in (int, float)}
    names = {str(k): str(v) for k, v in dict(stored.get("weight_map") or {}).items()}
    return {"metadata": kept, "weight_map": names}


def copy_adapter_config(adapter: AdapterFacts, target: Path) -> None:
    """Copy an adapter's configuration; one with a pattern or a foreign field is written anew without it.

    Targets, ranks and strengths are then those of its tensors, module by module.
    """
    source = stay_inside(adapter.path, adapter.path / CONFIG)
    if not adapter.dropped_fields:
        durable.copy_file(source, target)
        return
    dropped = adapter.dropped_fields
    values = {k: v for k, v in read_json(source).items() if k in KEPT and k not in dropped}
    values["target_modules"] = [module.name for module in adapter.modules]
    if adapter.method == "lora":
        first = adapter.modules[0]
        values |= {
            "r": first.r,
            "lora_alpha": first.alpha,
            "rank_pattern": {exactly(m.name): m.r for m in adapter.modules if m.r != first.r},
            "alpha_pattern": {exactly(m.name): m.alpha for m in adapter.modules if m.alpha != first.alpha},
        }
    durable.write_file(target, as_text(values))


def exactly(name: str) -> str:
    """Return the pattern that one module's name alone fits, as peft reads it."""
    return "^" + name.replace(".", r"\.")
