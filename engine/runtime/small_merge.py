"""Several adapters as one: a LoRA in peft's own layout, which plain peft opens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine import durable
from engine.errors import EngineError
from engine.models.adapter_facts import CONFIG, WEIGHTS
from engine.models.adapter_tensors import PEFT_PREFIX
from engine.models.facts import ModelFacts, is_embedding
from engine.models.library import resolve_model
from engine.models.merging import THINNING
from engine.paths import show_name
from engine.runtime import tensor_files
from engine.runtime.blend import Blend
from engine.runtime.changes import Change, Sum
from engine.runtime.checkpoint import config_text
from engine.runtime.merge_write import TORCH
from engine.runtime.mixing import keeps_tied

Pairs = dict[str, tuple[Tensor, Tensor]]


def write_adapter(
    blend: Blend, changes: Mapping[str, Change], dtype: str, folder: Path, loss: Mapping[str, Any]
) -> int:
    """Write weights, configuration and model card into a folder; return the rank. Raises OSError."""
    pairs, rank = _of_one_rank(changes)
    tensors = {}
    for module, (a, b) in pairs.items():
        parts = ("lora_embedding_A", "lora_embedding_B") if is_embedding(module) else _LINEAR
        for part, tensor in zip(parts, (a, b), strict=True):
            tensors[f"{PEFT_PREFIX}{module}.{part}"] = tensor.to(TORCH[dtype]).contiguous()
    tensor_files.save(tensors, folder / WEIGHTS)
    _write_config(blend, list(pairs), rank, folder)
    durable.write_file(folder / "README.md", card(blend, rank, loss))
    return rank


_LINEAR = ("lora_A.weight", "lora_B.weight")


def _of_one_rank(changes: Mapping[str, Change]) -> tuple[Pairs, int]:
    """Return A (r, in) and B (out, r) of each module; one of less rank is filled up with zeros."""
    sums = {name.removesuffix(".weight"): change for name, change in changes.items()}
    found = {name: change for name, change in sums.items() if isinstance(change, Sum)}
    rank = max(1, max((len(each.a) for each in found.values()), default=1))
    pairs = {}
    for name, each in found.items():
        a = torch.zeros(rank, each.a.shape[1])
        b = torch.zeros(each.b.shape[0], rank)
        a[: len(each.a)], b[:, : len(each.a)] = each.a, each.b * each.scaling
        pairs[name] = (a, b)
    return pairs, rank


def _write_config(blend: Blend, modules: list[str], rank: int, folder: Path) -> None:
    """Write adapter_config.json as peft does: alpha is the rank, so that B A counts once."""
    from peft import LoraConfig

    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        lora_dropout=0.0,
        target_modules=_short(modules, blend.base),
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_name(blend),
        fan_in_fan_out=blend.base.fan_in_fan_out,
        inference_mode=True,
        ensure_weight_tying=keeps_tied(blend.adapters),
    )
    durable.write_file(folder / CONFIG, config_text(config))


def base_name(blend: Blend) -> str:
    """Return the base as the first adapter names it, or its folder where a person chose another one."""
    recorded = blend.adapters[0].base
    try:
        same = bool(recorded) and resolve_model(recorded) == blend.base.path
    except EngineError:
        same = False
    return recorded if same else str(blend.base.path)


def _short(modules: list[str], base: ModelFacts) -> list[str]:
    """Return the modules by their last names where those name no others of the base."""
    leaves = {name.rpartition(".")[2] for name in modules}
    every = {linear.name for linear in base.linears if linear.name.rpartition(".")[2] in leaves}
    beside = {name for name in modules if name not in every}
    return sorted(leaves) if every | beside == set(modules) else sorted(modules)


def card(blend: Blend, rank: int, loss: Mapping[str, Any]) -> str:
    """Return README.md: what was put together, how, and how far it is from the plain sum."""
    mix = blend.mix
    rows = "\n".join(
        f"| {show_name(target.name)} | {adapter.label} | {weight:g} |"
        for target, adapter, weight in zip(blend.targets, blend.adapters, mix.weights, strict=True)
    )
    numbers = [f"method {mix.method}", f"rank {rank}"]
    if mix.method in THINNING:
        numbers.append(f"density {mix.density:g}")
    if "seed" in mix.told():
        numbers.append(f"seed {mix.seed}")
    told = loss.get("loss")
    away = ""
    if told:
        share = told["relative_error"] * 100
        away = (
            f"\nIts update is {share:.3g} % of its length away from the weighted sum of the adapters' own.\n"
        )
    return f"""---
base_model: {json.dumps(show_name(base_name(blend)))}
library_name: peft
tags:
- lora
- merge
- tunesmith
---

# {show_name(blend.name)}

An adapter put together of others by Tunesmith: {", ".join(numbers)}.

| adapter | kind | weight |
|---|---|---|
{rows}
{away}
## Use it

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained({json.dumps(show_name(base_name(blend)))})
model = PeftModel.from_pretrained(base, "THIS FOLDER")
```

tunesmith.json names the adapters with their SHA-256.
"""
