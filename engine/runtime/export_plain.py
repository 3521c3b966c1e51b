"""Exports that stay in Hugging Face's own layout: the PEFT folder, and base and adapter as one model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from engine import durable, paths
from engine.errors import EngineError
from engine.models.adapter_facts import CONFIG, WEIGHTS, AdapterFacts, read_adapter_facts
from engine.models.companions import copy_adapter_config, copy_companion
from engine.models.facts import read_facts
from engine.models.made import write_origin
from engine.models.sound_values import refuse_no_numbers
from engine.models.weight_files import INDEX, weight_paths
from engine.runtime.certify import certify_made, write_certificate
from engine.runtime.export_card import write_card
from engine.runtime.export_subject import Exported
from engine.runtime.fidelity import Progress
from engine.runtime.merge import COPIED, merge_adapter
from engine.runtime.new_folder import into_folder

Answer = tuple[Path, dict[str, Any] | None, str, tuple[str, ...]]
# The ranks that vLLM makes room for, `--max-lora-rank`.
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_TOKENIZER = frozenset(name for name in COPIED if name != "generation_config.json")


def export_adapter(exported: Exported, out: Path, tell: Progress, check: bool) -> Answer:
    """Copy an adapter in PEFT's layout, with a card and the tokenizer it was trained with."""
    adapter = exported.target.adapter
    if adapter is None:
        raise EngineError(
            f"{exported.name} has no adapter.", "Use --format safetensors.", "MODEL-05", field="format"
        )
    refuse_no_numbers(adapter.path / WEIGHTS)
    found: dict[str, Any] = {}

    def write(folder: Path) -> None:
        durable.copy_file(adapter.path / WEIGHTS, folder / WEIGHTS)
        copy_adapter_config(adapter, folder / CONFIG)
        _copy_beside(exported.target.base.path, folder, _TOKENIZER)
        found.update(_same_adapter(adapter, folder))
        tell("check", 1, 1)
        write_card(exported, folder, "adapter", found)
        write_origin(folder, exported.origin("adapter", "float32"))
        write_certificate(folder, found)

    into_folder(out, adapter.bytes + (64 << 20), write)
    return out, found if check else None, vllm_for_adapter(exported, out), ()


def _same_adapter(adapter: AdapterFacts, folder: Path) -> dict[str, Any]:
    """Prove a copy by its bytes and by reading it as an adapter again."""
    same = durable.sha256_file(adapter.path / WEIGHTS) == durable.sha256_file(folder / WEIGHTS)
    again = read_adapter_facts(folder)
    passed = same and (again.modules, again.method) == (adapter.modules, adapter.method)
    found: dict[str, Any] = {"kind": "adapter", "passed": passed, "modules": len(again.modules)}
    return found if passed else {**found, "reason": "the copied adapter is not the one that was trained"}


def _copy_beside(base: Path, folder: Path, names: frozenset[str]) -> None:
    for path in sorted(base.iterdir()):
        if path.name in names and path.is_file():
            copy_companion(path, folder / path.name)


def export_safetensors(exported: Exported, out: Path, tell: Progress, check: bool) -> Answer:
    """Write base and adapter as one model; a model without an adapter is copied."""
    adapter = exported.target.adapter
    if exported.blend is None or adapter is None:
        found = _copy_model(exported, out, tell)
    else:
        base = str(exported.target.base.path)
        merge_adapter([adapter.path], out, base=base, progress=tell, check=False)
        found = certify_made(exported.blend, out, tell) if check else {}
        write_card(exported, out, "safetensors", found or None)
    return out, found if check else None, vllm_for_model(exported, out), ()


def _copy_model(exported: Exported, out: Path, tell: Progress) -> dict[str, Any]:
    base = exported.target.base
    weights = weight_paths(base.path)
    found: dict[str, Any] = {}

    def write(folder: Path) -> None:
        same = True
        for number, path in enumerate(weights):
            durable.copy_file(path, folder / path.name)
            same = same and durable.sha256_file(path) == durable.sha256_file(folder / path.name)
            tell("copy", number + 1, len(weights))
        _copy_beside(base.path, folder, COPIED | {"config.json", INDEX})
        read_facts(folder)
        found.update({"kind": "safetensors", "passed": same, "dtype": base.dtype})
        if not same:
            found["reason"] = "the copied weights are not the model's"
        write_card(exported, folder, "safetensors", found)
        write_origin(folder, exported.origin("safetensors", base.dtype))
        write_certificate(folder, found)

    into_folder(out, base.weights_bytes + (64 << 20), write)
    return found


def vllm_for_model(exported: Exported, out: Path) -> str:
    """Return the command that serves a merged model."""
    name = paths.slug(exported.name, "model")
    return f"vllm serve {shlex.quote(str(out))} --served-model-name {name}"


def vllm_for_adapter(exported: Exported, out: Path) -> str:
    """Return the command that serves the base with the adapter beside it."""
    adapter = exported.target.adapter
    rank = max((module.r for module in adapter.modules), default=8) if adapter is not None else 8
    room = next((r for r in VLLM_RANKS if r >= rank), rank)
    name = paths.slug(exported.name, "adapter")
    base = shlex.quote(str(exported.target.base.path))
    modules = f"--lora-modules {name}={shlex.quote(str(out))}"
    return f"vllm serve {base} --enable-lora {modules} --max-lora-rank {room}"
