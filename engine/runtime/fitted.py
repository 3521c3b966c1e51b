"""An adapter fitted to a base in memory: its layers take the places of the base's own, and leave them again.

One base carries any number of adapters of any method this way. Off, an adapter is not there at all: the base
computes with its own modules, as if it had never been adapted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from engine.errors import EngineError
from engine.models.adapter_facts import WEIGHTS, AdapterFacts
from engine.models.facts import ModelFacts
from engine.models.weight_files import weight_paths
from engine.runtime.attach import Whole, put_on, whole_model
from engine.runtime.strength import dials_of

SAMPLES = 64
SAMPLE_BYTES = 4096


@dataclass(frozen=True)
class Slot:
    """A place in the base: the module that stands there by itself, and the adapter's layer around it."""

    name: str
    parent: nn.Module
    leaf: str
    own: nn.Module
    layer: Any

    @property
    def is_on(self) -> bool:
        """Return whether the adapter's layer stands there now."""
        return self.parent._modules[self.leaf] is self.layer

    def put(self, on: bool) -> None:
        """Let the adapter's layer or the base's own module stand there."""
        self.parent._modules[self.leaf] = self.layer if on else self.own


class Fitted:
    """One adapter beside a base, off at first. `fingerprint` is its file's, `strength` how much it counts."""

    def __init__(self, fingerprint: str, slots: Sequence[Slot], wholes: Sequence[Whole]) -> None:
        self.fingerprint = fingerprint
        self.slots, self.wholes = tuple(slots), tuple(wholes)
        self.strength = 1.0
        self._dials = [dial for slot in self.slots for dial in dials_of(slot.layer)]
        for slot in self.slots:
            _shorten(slot.layer)
        self.put(False)

    def set_strength(self, strength: float) -> None:
        """Let the adapter count `strength` times: 0 is the base, 1 as trained."""
        if strength not in (self.strength, 0.0):
            for dial in self._dials:
                dial(strength)
        self.strength = strength

    def put(self, on: bool) -> None:
        """Turn the adapter on or off; at strength 0 it is off either way."""
        on = on and self.strength != 0.0
        for slot in self.slots:
            slot.put(on)
        for whole in self.wholes:
            whole.put(self.strength if on else 0.0)

    @property
    def parts_on(self) -> list[bool]:
        """Return for each place whether the adapter computes there."""
        return [slot.is_on for slot in self.slots] + [whole.is_on for whole in self.wholes]


def fit(base: Any, adapter: AdapterFacts) -> Fitted:
    """Fit an adapter to a base without another one on it; raises EngineError MODEL-* as `put_on` does."""
    own = dict(base.named_modules())
    try:
        _, wholes = put_on(base, adapter)
    except EngineError:
        for slot in _slots(base, own):
            slot.put(False)
        raise
    finally:
        if hasattr(base, "peft_config"):
            del base.peft_config  # peft's mark: with it the next adapter would count as a second one on this
    return Fitted(fingerprint_file(adapter.path / WEIGHTS), _slots(base, own), wholes)


def _slots(base: Any, own: dict[str, nn.Module]) -> list[Slot]:
    slots = []
    for name, layer in base.named_modules():
        if hasattr(layer, "adapter_layer_names"):
            parent, _, leaf = name.rpartition(".")
            slots.append(Slot(name, base.get_submodule(parent), leaf, own[name], layer))
    return slots


def fit_whole(base: Any, result: ModelFacts) -> Fitted:
    """Fit a model that was trained whole to the base it came from, as an adapter of all its weights."""
    return Fitted(fingerprint_base(result), (), whole_model(base, result))


def _shorten(layer: Any) -> None:
    """Give a plain LoRA layer peft's very operations without its checks, which cost at each token."""
    if (
        type(layer).__name__ != "Linear"
        or not hasattr(layer, "lora_A")
        or type(layer.base_layer) is not nn.Linear
    ):
        return
    if (
        list(layer.lora_A) != ["default"]
        or layer.use_dora.get("default")
        or layer.lora_B["default"].bias is not None
    ):
        return
    base, a, b = layer.base_layer, layer.lora_A["default"].weight, layer.lora_B["default"].weight

    def forward(x: torch.Tensor) -> torch.Tensor:
        out = F.linear(x, base.weight, base.bias)
        if layer.disable_adapters:
            return out
        update = F.linear(F.linear(x.to(a.dtype), a), b) * layer.scaling["default"]
        return (out + update).to(out.dtype)

    layer.forward = forward


def fingerprint_base(facts: ModelFacts) -> str:
    """Return 8 hexadecimal digits for the base: its files' sizes and evenly spread samples of their bytes."""
    digest = hashlib.sha256()
    for path in weight_paths(facts.path):
        _sample_into(digest, path)
    return digest.hexdigest()[:8]


def fingerprint_file(path: Path) -> str:
    """Return 8 hexadecimal digits of a small file's whole content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def _sample_into(digest: Any, path: Path) -> None:
    size = path.stat().st_size
    digest.update(str(size).encode())
    with open(path, "rb") as file:
        for index in range(SAMPLES):
            file.seek(max(0, (size - SAMPLE_BYTES) * index // (SAMPLES - 1)))
            digest.update(file.read(SAMPLE_BYTES))
