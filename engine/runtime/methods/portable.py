"""An adapter as it is saved: peft's two files over the untouched base, and what a resume needs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.errors import EngineError
from engine.models.adapter_facts import CONFIG, WEIGHTS
from engine.runtime import shards
from engine.runtime.methods import adalora, residual, whole

STATE = "method.safetensors"  # what a method knows of a run beside its adapter


def adapter_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the adapter's tensors under peft's own names, on the CPU, in a fixed order, none shared."""
    from peft import get_peft_model_state_dict

    found = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name in sorted(found):
        tensor = shards.whole(found[name].detach()).to("cpu").contiguous()
        tensors[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return tensors


def saved_form(model: Any) -> tuple[dict[str, Tensor], Any, dict[str, Tensor]]:
    """Return the adapter's tensors and configuration for any peft program, and the state for a resume."""
    live = model.peft_config["default"]
    if adalora.is_adalora(model):
        return _of_adalora(model)
    config = copy.deepcopy(live)
    tensors = adapter_tensors(model)
    if rewrites_base(model):
        return residual.widen(tensors, model.tunesmith_start), residual.widen_config(config), {}
    return tensors, config, {}


def _of_adalora(model: Any) -> tuple[dict[str, Tensor], Any, dict[str, Tensor]]:
    """Leave masked triplets out once the ranks are final; before, they may come back."""
    live = model.peft_config["default"]
    pattern = live.rank_pattern
    live.rank_pattern = pattern if adalora.settled(model) else None
    try:
        tensors = adapter_tensors(model)
        return tensors, copy.deepcopy(live), adalora.state_tensors(model)
    finally:
        live.rank_pattern = pattern


def rewrites_base(model: Any) -> bool:
    """Return whether the base holds only the rest of its weights (PiSSA, OLoRA)."""
    return hasattr(model, "tunesmith_start")


@contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Let the model answer as its base did before training, for as long as the block lasts.

    Where the base holds only the rest of its weights the adapter stays on, as it began.
    """
    if not rewrites_base(model):
        with model.disable_adapter():
            yield
        return
    values = dict(model.named_parameters())
    places = {name: values[name.replace(".weight", ".default.weight")] for name in model.tunesmith_start}
    now = {name: p.detach().clone() for name, p in places.items()}
    try:
        _fill(places, model.tunesmith_start)
        yield
    finally:
        _fill(places, now)


@torch.no_grad()
def _fill(places: dict[str, nn.Parameter], tensors: dict[str, Tensor]) -> None:
    for name, place in places.items():
        place.copy_(tensors[name])


def restore(model: Any, checkpoint: Path) -> None:
    """Put what a checkpoint holds back as it was; raises EngineError MODEL-07 when it does not fit."""
    if isinstance(model, whole.Whole):
        whole.restore(model, checkpoint)
        return
    from peft import set_peft_model_state_dict

    tensors = load_file(checkpoint / WEIGHTS)
    if adalora.is_adalora(model):
        pattern = json.loads((checkpoint / CONFIG).read_bytes()).get("rank_pattern")
        adalora.restore(model, load_file(checkpoint / STATE), pattern)
        return
    if rewrites_base(model):
        tensors, model.tunesmith_start = residual.narrow(tensors)
        residual.take_out(model, model.tunesmith_start)
    result = set_peft_model_state_dict(model, tensors)
    if result.unexpected_keys:
        raise EngineError(
            "The saved adapter does not fit this model.",
            "Start a new run from the adapter.",
            "MODEL-07",
            file=str(checkpoint),
        )
