"""A base and an adapter in memory once, with the adapter on, off, or at a part of its strength."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from torch import nn

from engine.errors import EngineError
from engine.models.adapter_facts import WEIGHTS, AdapterFacts
from engine.models.facts import ModelFacts
from engine.models.weight_files import weight_paths
from engine.recipe.recipe import ModelOptions
from engine.runtime.attach import Whole, put_on, whole_model
from engine.runtime.load import Compute, load_base
from engine.runtime.strength import dials_of
from engine.runtime.target import Target

SAMPLES = 64
SAMPLE_BYTES = 4096


class AdaptedModel:
    """The loaded model. `speaking(who)` turns the adapter on or off for as long as its block lasts.

    A model that was trained whole (`result`) stands on its base as an adapter of all its weights.
    """

    def __init__(
        self,
        base: Any,
        facts: ModelFacts,
        adapter: AdapterFacts | None,
        strength: float,
        result: ModelFacts | None = None,
    ) -> None:
        self.base_fingerprint = fingerprint_base(facts)
        self.adapter_fingerprint = ""
        self._peft: Any = None
        self._wholes: list[Whole] = []
        if adapter is not None:
            self.adapter_fingerprint = fingerprint_file(adapter.path / WEIGHTS)
            self._peft, self._wholes = put_on(base, adapter)
        elif result is not None:
            self.adapter_fingerprint = fingerprint_base(result)
            self._wholes = whole_model(base, result)
            self._put_wholes(1.0)
        self.model: Any = base if self._peft is None else self._peft.get_base_model()
        for layer in self.model.modules():
            _shorten(layer)
        self._layers = [m for m in self.model.modules() if hasattr(m, "adapter_layer_names")]
        self._dials = [dial for layer in self._layers for dial in dials_of(layer)]
        self.strength = 1.0
        self.set_strength(strength)

    @property
    def has_adapter(self) -> bool:
        """Return whether there is an adapter beside the base."""
        return self._peft is not None or bool(self._wholes)

    def set_strength(self, strength: float) -> None:
        """Let the adapter count `strength` times: 0 is the base, 1 as trained."""
        if strength != self.strength and strength != 0.0:
            for dial in self._dials:
                dial(strength)
        self._put_wholes(strength)
        self.strength = strength

    def _put_wholes(self, strength: float) -> None:
        for whole in self._wholes:
            whole.put(strength)

    @contextmanager
    def speaking(self, who: str) -> Iterator[str]:
        """Answer as `base` or as `adapter`; gives the fingerprint of what really computes."""
        if self.has_adapter and (who == "base" or self.strength == 0.0):
            self._put_wholes(0.0)
            try:
                with nullcontext() if self._peft is None else self._peft.disable_adapter():
                    yield self.fingerprint()
            finally:
                self._put_wholes(self.strength)
        elif who == "adapter" and not self.has_adapter:
            raise EngineError("No adapter is loaded.", "Choose a run or an adapter folder.", "MODEL-07")
        else:
            yield self.fingerprint()

    def fingerprint(self) -> str:
        """Return who would answer now: the base's digest, and the adapter's while its layers are on."""
        active = [not layer.disable_adapters for layer in self._layers]
        if not any(active) and not any(whole.is_on for whole in self._wholes):
            return self.base_fingerprint
        if not all(active):
            raise EngineError("The adapter is half on.", "Load the model again.", "APP-01")
        part = "" if self.strength == 1.0 else f"*{self.strength:g}"
        return f"{self.base_fingerprint}+{self.adapter_fingerprint}{part}"


def load_adapted(
    facts: ModelFacts, adapter: AdapterFacts | None, compute: Compute, strength: float = 1.0
) -> AdaptedModel:
    """Load the base once in full precision and put the adapter on it; raises EngineError MODEL-* / GPU-01."""
    base = load_base(facts.path, ModelOptions(path=str(facts.path)), compute).eval()
    return AdaptedModel(base, facts, adapter, strength)


def load_target(target: Target, compute: Compute, strength: float = 1.0) -> AdaptedModel:
    """Load what a target names; a model that was trained whole beside its base, where memory holds both."""
    if target.origin is None or not _holds_two(target.base, compute):
        return load_adapted(target.base, target.adapter, compute, strength)
    origin = target.origin
    base = load_base(origin.path, ModelOptions(path=str(origin.path)), compute).eval()
    return AdaptedModel(base, origin, None, strength, result=target.base)


def _holds_two(facts: ModelFacts, compute: Compute) -> bool:
    """Return whether the free memory of the device holds two models of this size, with a fifth to spare."""
    free = psutil.virtual_memory().available
    if compute.device.type == "cuda":
        free = torch.cuda.mem_get_info(compute.device)[0]
    return bool(2 * facts.parameters * compute.dtype.itemsize * 1.2 < free)


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
