"""A base and an adapter in memory once, with the adapter on, off, or at a part of its strength."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from engine.errors import EngineError
from engine.models.adapter_facts import BASE_COPY, WEIGHTS, AdapterFacts
from engine.models.facts import ModelFacts
from engine.models.weight_files import weight_paths
from engine.recipe.recipe import ModelOptions
from engine.runtime.load import Compute, load_base

SAMPLES = 64
SAMPLE_BYTES = 4096


class AdaptedModel:
    """The loaded model. `speaking(who)` turns the adapter on or off for as long as its block lasts."""

    def __init__(self, base: Any, facts: ModelFacts, adapter: AdapterFacts | None, strength: float) -> None:
        self.base_fingerprint = fingerprint_base(facts)
        self.adapter_fingerprint = "" if adapter is None else fingerprint_file(adapter.path / WEIGHTS)
        self._peft: Any = None if adapter is None else attach(base, adapter)
        self.model: Any = base if self._peft is None else self._peft.get_base_model()
        for layer in self.model.modules():
            _shorten(layer)
        self._layers = [m for m in self.model.modules() if hasattr(m, "lora_A") and hasattr(m, "scaling")]
        self._scalings = [dict(layer.scaling) for layer in self._layers]
        self.strength = 1.0
        self.set_strength(strength)

    @property
    def has_adapter(self) -> bool:
        """Return whether there is an adapter beside the base."""
        return self._peft is not None

    def set_strength(self, strength: float) -> None:
        """Let the adapter count `strength` times: 0 is the base, 1 as trained."""
        for layer, scaling in zip(self._layers, self._scalings, strict=True):
            layer.scaling.update({name: value * strength for name, value in scaling.items()})
        self.strength = strength

    @contextmanager
    def speaking(self, who: str) -> Iterator[str]:
        """Answer as `base` or as `adapter`; gives the fingerprint of what really computes."""
        if who == "base" and self._peft is not None:
            with self._peft.disable_adapter():
                yield self.fingerprint()
        elif who == "adapter" and self._peft is None:
            raise EngineError("No adapter is loaded.", "Choose a run or an adapter folder.", "MODEL-07")
        else:
            yield self.fingerprint()

    def fingerprint(self) -> str:
        """Return who would answer now: the base's digest, and the adapter's while its layers are on."""
        active = [not layer.disable_adapters for layer in self._layers]
        if not any(active):
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


def attach(base: Any, adapter: AdapterFacts) -> Any:
    """Return peft's model with the adapter's tensors, its configuration built from names and shapes alone.

    Nothing of adapter_config.json but numbers is used: its patterns would be run as regular expressions, and
    some of its fields make peft import modules.
    """
    from peft import LoraConfig, PeftModel, set_peft_model_state_dict

    first = adapter.modules[0]
    config = LoraConfig(
        r=first.r,
        lora_alpha=first.alpha,
        target_modules=[m.name for m in adapter.modules],
        rank_pattern={_exactly(m.name): m.r for m in adapter.modules if m.r != first.r},
        alpha_pattern={_exactly(m.name): m.alpha for m in adapter.modules if m.alpha != first.alpha},
        use_rslora=adapter.use_rslora,
        use_dora=adapter.use_dora,
        fan_in_fan_out=False,
        task_type="CAUSAL_LM",
        inference_mode=True,
    )
    tensors = read_tensors(adapter)
    model = PeftModel(base, config)
    result = set_peft_model_state_dict(model, tensors)
    if result.unexpected_keys:
        raise EngineError(
            f"The adapter {adapter.name} does not fit: {result.unexpected_keys[0]} has no place in the base.",
            "Choose the base it was trained on.",
            "MODEL-07",
            file=str(adapter.path),
        )
    return model.eval()


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


def _exactly(name: str) -> str:
    return "^" + name.replace(".", r"\.")


def read_tensors(adapter: AdapterFacts) -> dict[str, torch.Tensor]:
    """Return the adapter's tensors; raises EngineError MODEL-02 when one holds a value that is no number."""
    stored = load_file(adapter.path / WEIGHTS)
    tensors = {name: tensor for name, tensor in stored.items() if BASE_COPY not in name}
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise EngineError(
                f"{WEIGHTS} is damaged: {name} holds values that are no numbers.",
                "Train or download the adapter again.",
                "MODEL-02",
                file=str(adapter.path / WEIGHTS),
            )
    return tensors


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
