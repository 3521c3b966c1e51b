"""Merge adapters into their base, one tensor at a time, so that a model of any size needs little memory.

    for each safetensors file of the base, in the order of its bytes:
        a tensor without adapter  -> copied as it is
        a tensor with adapters    -> read in blocks, changed in float32 (changes.py, mixing.py), rounded once
    tokenizer, template, generation settings -> copied; of config.json only the dtype changes
    the whole folder -> renamed into place, loaded again and compared with base + adapters (fidelity.py)

The sum of one adapter is that of peft's `merge_and_unload`; huggingface/peft src/peft/tuners/lora
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine import durable
from engine.data.templates import load_template
from engine.models.companions import copy_companion, plain_index
from engine.models.gate import open_model
from engine.models.made import write_origin
from engine.models.merging import DENSITY, make_mix
from engine.models.weight_files import INDEX, read_headers
from engine.runtime.attach import read_tensors
from engine.runtime.blend import Blend, resolve_blend
from engine.runtime.certify import certify_made
from engine.runtime.merge_plan import FilePlan, plan_files
from engine.runtime.merge_write import NAMES, Progress, write_weights
from engine.runtime.mixing import Held, changes_of_mix, keeps_tied, loss_of, parts_of
from engine.runtime.new_folder import into_folder
from engine.runtime.small_merge import write_adapter

DTYPES = {
    "fp32": "F32",
    "bf16": "BF16",
    "fp16": "F16",
    "float32": "F32",
    "bfloat16": "BF16",
    "float16": "F16",
}
OWN = "of the model"  # the name of a template that the base brought
COPIED = frozenset(
    "generation_config.json tokenizer.json tokenizer_config.json tokenizer.model special_tokens_map.json "
    "added_tokens.json vocab.json merges.txt chat_template.jinja chat_template.json "
    "LICENSE LICENSE.txt".split()
)


def merge_adapter(
    adapters: Sequence[Path],
    out: Path,
    base: str | None = None,
    weights: Sequence[float] | None = None,
    method: str = "linear",
    dtype: str | None = None,
    progress: Progress | None = None,
    check: bool = True,
    *,
    density: float = DENSITY,
    seed: int = 0,
    svd_rank: int | None = None,
    adapter_only: bool = False,
) -> dict[str, Any]:
    """Write `out` as a plain model folder, or as an adapter in peft's layout with `adapter_only`.

    {"out", "bytes", "seconds", "dtype", "base", "adapters", "method", "ok", "fidelity": {...}}, and "loss"
    for what is not exactly the weighted sum. `dtype` is fp32, bf16 or fp16; without it the base's own, and
    float32 for an adapter. `check=False` leaves the comparison out.
    Raises EngineError: MODEL-07 (does not fit), MODEL-05 (not supported), DISK-* (cannot be written).
    """
    began = time.monotonic()
    mix = make_mix(
        len(adapters),
        weights,
        method,
        density=density,
        seed=seed,
        svd_rank=svd_rank,
        adapter_only=adapter_only,
    )
    blend = resolve_blend(adapters, mix, base)
    tell = progress or (lambda stage, done, total: None)
    held = [read_tensors(adapter) for adapter in blend.adapters]
    made = _Made(blend, held, DTYPES[dtype] if dtype else None, Path(out).expanduser(), tell)
    result = made.adapter() if adapter_only else made.model()
    result["seconds"] = time.monotonic() - began
    result["ok"] = True
    if check:
        result["fidelity"] = certify_made(blend, Path(result["out"]), tell)
        result["check_seconds"] = time.monotonic() - began - result["seconds"]
        result["ok"] = result["fidelity"]["passed"]
    return result


class _Made:
    """A merge under way."""

    def __init__(self, blend: Blend, held: Held, dtype: str | None, out: Path, tell: Progress) -> None:
        self.blend, self.held, self.dtype = blend, held, dtype
        self.out, self.tell, self.rank = out, tell, 0
        self.changes = changes_of_mix(blend.targets, held, blend.mix)
        self.loss: dict[str, Any] = {}
        if not blend.mix.sums_deltas:
            parts = parts_of(blend.targets, held, blend.mix.weights)
            self.loss = {"loss": loss_of(parts, self.changes).told()}

    def model(self) -> dict[str, Any]:
        """Write the merged model and return what is told of it."""
        blend = self.blend
        headers, tied = read_headers(blend.base.path), keeps_tied(blend.adapters)
        plans = plan_files(headers, blend.base, self.changes, self.dtype, tied)

        def write(folder: Path) -> None:
            sums = write_weights(plans, folder, self.tell)
            write_rest(blend, plans, folder)
            about = self._about("merged", NAMES.get(plans[0].dtype, plans[0].dtype))
            write_origin(folder, about, sums)

        needed = sum(plan.bytes for plan in plans)
        into_folder(self.out, needed, write)
        written = needed + sum(8 + len(plan.raw) for plan in plans)
        return self._told(written, NAMES.get(plans[0].dtype, plans[0].dtype))

    def adapter(self) -> dict[str, Any]:
        """Write the new adapter and return what is told of it."""
        dtype = self.dtype or "F32"

        def write(folder: Path) -> None:
            self.rank = write_adapter(self.blend, self.changes, dtype, folder, self.loss)
            write_origin(folder, self._about("adapter", NAMES[dtype]))

        needed = self.blend.judged.bytes[self.blend.mix.method]
        into_folder(self.out, needed, write)
        written = (self.out / "adapter_model.safetensors").stat().st_size
        return {**self._told(written, NAMES[dtype]), "r": self.rank}

    def _told(self, written: int, dtype: str) -> dict[str, Any]:
        blend = self.blend
        return {
            "out": str(self.out.resolve()),
            "bytes": written,
            "dtype": dtype,
            "base": str(blend.base.path),
            "adapter": str(blend.adapters[0].path),
            "adapters": [str(each.path) for each in blend.adapters],
            **blend.mix.told(),
            **self.loss,
        }

    def _about(self, kind: str, dtype: str) -> dict[str, Any]:
        """Say where the folder comes from; a run's system prompt travels with it."""
        sources = self.blend.sources()
        prompts = (target.system_prompt for target in self.blend.targets)
        return {
            "made_by": "Tunesmith",
            "kind": kind,
            "base": self.blend.base.name,
            "base_fingerprint": sources["base"]["fingerprint"],
            "adapter": self.blend.name,
            "adapter_sha256": sources["adapters"][0]["sha256"],
            "dtype": dtype,
            "system_prompt": next((prompt for prompt in prompts if prompt), None),
            "sources": sources,
            **self.loss,
        }


def write_rest(blend: Blend, plans: Sequence[FilePlan], folder: Path) -> None:
    """Copy what belongs to the model beside its weights; program files and foreign weights stay behind."""
    base = blend.base.path
    for path in sorted(base.iterdir()):
        if path.name in COPIED and path.is_file():
            copy_companion(path, folder / path.name)
    template = load_template(base, blend.targets[0].chat_template)
    if blend.targets[0].run is not None and template.name != OWN:  # as it was trained, so it is spoken to
        durable.write_file(folder / "chat_template.jinja", template.source)
    config = open_model(base, weights=False).config.values
    config.pop("quantization_config", None)
    if plans[0].changed_dtype:
        config.pop("torch_dtype", None)
        config["dtype"] = NAMES[plans[0].dtype]
    if any(item.untied for plan in plans for item in plan.items):
        config["tie_word_embeddings"] = False
        if isinstance(config.get("text_config"), dict):
            config["text_config"]["tie_word_embeddings"] = False
    durable.write_json(folder / "config.json", config)
    if (base / INDEX).is_file():
        _write_index(base, plans, folder)


def _write_index(base: Path, plans: Sequence[FilePlan], folder: Path) -> None:
    """Keep the index as it is where names and sizes are the same; else say which file holds what, anew."""
    if not any(plan.rewritten for plan in plans):
        copy_companion(base / INDEX, folder / INDEX)
        return
    index = plain_index(base / INDEX)
    size = sum(plan.bytes for plan in plans)
    index["metadata"] = {**dict(index.get("metadata") or {}), "total_size": size}
    index["weight_map"] = {item.name: plan.source.name for plan in plans for item in plan.items}
    durable.write_file(folder / INDEX, json.dumps(index, indent=2) + "\n")
