"""The values of the adapter that a run begins from, put into the layers that were made for them.

They are copied into the float32 places that training has: optimizer and step begin anew. A run that goes on
has a save of its own and needs the adapter no longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from engine.errors import EngineError
from engine.events import Log
from engine.models.adapter_facts import AdapterFacts
from engine.models.adapter_tensors import BASE_COPY, VERA_SHARED
from engine.recipe.recipe import Recipe
from engine.runs import beginnings
from engine.runtime.attach import read_tensors
from engine.runtime.job import Job
from engine.runtime.methods import adalora, portable


def read(job: Job, recipe: Recipe, *, resumed: bool) -> AdapterFacts | None:
    """Return the adapter a run begins from, None for one that begins from none.

    A run that goes on has values of its own: there the adapter is what they are compared with, where it is
    still here. Raises EngineError REC-01 where it is not the one that job.json noted, MODEL-* where it
    cannot be used.
    """
    if recipe.adapter.path is None:
        return None
    changed = next(iter(beginnings.of_adapter(job.spec.arguments, 0)), None)
    if changed is not None and resumed:
        job.write(Log(message=f"{changed.message} The run's own saves go on without it."))
        return None
    if changed is not None:
        raise changed.as_error()
    found = beginnings.look(recipe)
    assert found is not None
    if not resumed:
        digest = beginnings.digest(job.spec.arguments)
        noted = f" (SHA-256 {digest})" if digest else ""
        job.write(Log(message=f"It begins from the adapter {found.adapter.name}{noted}."))
    return found.adapter


def fill(model: Any, adapter: AdapterFacts) -> None:
    """Put every value of an adapter into its place in a freshly wrapped model; raises EngineError MODEL-07.

    A value without a place, or a place without a value, is another adapter than the one that was asked for.
    """
    from peft import set_peft_model_state_dict

    tensors = {name: t for name, t in read_tensors(adapter).items() if f"{BASE_COPY}weight" not in name}
    places = portable.adapter_tensors(model)
    if adalora.is_adalora(model):
        tensors = _unpruned(tensors, places)
    for name in VERA_SHARED:
        if name in places and name not in tensors:
            tensors[name] = places[name]  # drawn from the adapter's own key
    odd = sorted(tensors.keys() ^ {name for name in places if f"{BASE_COPY}weight" not in name})
    if odd:
        raise _unfit(adapter, f"{odd[0]} is {'not in the base' if odd[0] in tensors else 'missing'}")
    try:
        unexpected = set_peft_model_state_dict(model, tensors).unexpected_keys
    except (RuntimeError, KeyError) as error:
        raise _unfit(adapter, "its tensors have other sizes than the places of the base") from error
    if unexpected:
        raise _unfit(adapter, f"{unexpected[0]} has no place in the base")


def _unpruned(tensors: Mapping[str, Tensor], places: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return AdaLoRA's triplets with those that were pruned as they were drawn, and weighed with nothing.

    A (r, in), E (r, 1) and B (out, r): what is left of them comes first.
    """
    found = {}
    for name, place in places.items():
        if name not in tensors:
            if "lora_" not in name:
                continue
            found[name] = torch.zeros_like(place) if "lora_E" in name else place
            continue
        kept = tensors[name]
        if kept.shape == place.shape or "lora_" not in name:
            found[name] = kept
            continue
        whole = torch.zeros_like(place) if "lora_E" in name else place.clone()
        if "lora_B" in name:
            whole[:, : kept.shape[1]] = kept
        else:
            whole[: kept.shape[0]] = kept
        found[name] = whole
    return found | {name: t for name, t in tensors.items() if name not in found}


def _unfit(adapter: AdapterFacts, what: str) -> EngineError:
    return EngineError(
        f"The adapter {adapter.name} does not fit: {what}.",
        "Choose the base it was trained on.",
        "MODEL-07",
        file=str(adapter.path),
        field=beginnings.FIELD,
    )
