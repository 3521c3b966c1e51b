"""A base in memory once, with adapters beside it: one is on, or none, each at its own strength."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch

from engine.errors import EngineError
from engine.models.adapter_facts import AdapterFacts
from engine.models.facts import ModelFacts
from engine.recipe.recipe import ModelOptions
from engine.runtime.fitted import Fitted, fingerprint_base, fit, fit_whole
from engine.runtime.load import Compute, load_base
from engine.runtime.target import Target

BASE, ADAPTER = "base", "adapter"


class AdaptedModel:
    """The loaded model. `speaking(who)` turns one adapter on, or none, for as long as its block lasts.

    `base` is the model alone, `adapter` the one it was loaded with, which is on outside of such blocks;
    `add` puts others beside it. A model that was trained whole (`result`) stands on its base as an adapter
    of all its weights.
    """

    def __init__(
        self,
        base: Any,
        facts: ModelFacts,
        adapter: AdapterFacts | None,
        strength: float,
        result: ModelFacts | None = None,
    ) -> None:
        self.model: Any = base
        self.base_fingerprint = fingerprint_base(facts)
        self.fitted: dict[str, Fitted] = {}
        if adapter is not None:
            self.fitted[ADAPTER] = fit(base, adapter)
        elif result is not None:
            self.fitted[ADAPTER] = fit_whole(base, result)
        if self.has_adapter:
            self.set_strength(strength)

    @property
    def has_adapter(self) -> bool:
        """Return whether there is an adapter beside the base."""
        return ADAPTER in self.fitted

    @property
    def adapter_fingerprint(self) -> str:
        """Return the fingerprint of the adapter it was loaded with, an empty text without one."""
        return self.fitted[ADAPTER].fingerprint if self.has_adapter else ""

    @property
    def strength(self) -> float:
        """Return how much the adapter counts that it was loaded with."""
        return self.fitted[ADAPTER].strength if self.has_adapter else 1.0

    def add(self, name: str, adapter: AdapterFacts) -> None:
        """Put another adapter beside the base, or in the place of one; raises EngineError MODEL-07."""
        self._turn_on(None)
        try:
            self.fitted[name] = fit(self.model, adapter)
        finally:
            self._turn_on(ADAPTER)

    def remove(self, name: str) -> None:
        """Let an adapter go."""
        self._turn_on(None)
        self.fitted.pop(name, None)
        self._turn_on(ADAPTER)

    def set_strength(self, strength: float, who: str = ADAPTER) -> None:
        """Let an adapter count `strength` times: 0 is the base, 1 as trained."""
        if who in self.fitted:
            self.fitted[who].set_strength(strength)
        self._turn_on(ADAPTER)

    def _turn_on(self, who: str | None) -> None:
        for name, fitted in self.fitted.items():
            if name != who:
                fitted.put(False)
        if who in self.fitted:
            self.fitted[str(who)].put(True)

    @contextmanager
    def speaking(self, who: str) -> Iterator[str]:
        """Answer as `base` or as an adapter by its name; gives the fingerprint of what really computes."""
        if who != BASE and who not in self.fitted:
            raise EngineError("No adapter is loaded.", "Choose a run or an adapter folder.", "MODEL-07")
        self._turn_on(who)
        try:
            yield self.fingerprint()
        finally:
            self._turn_on(ADAPTER)

    def fingerprint(self) -> str:
        """Return who would answer now: the base's digest, and that of the adapter whose layers are in it."""
        found = [fitted for fitted in self.fitted.values() if any(fitted.parts_on)]
        if not found:
            return self.base_fingerprint
        if len(found) > 1 or not all(found[0].parts_on):
            raise EngineError("The adapter is half on.", "Load the model again.", "APP-01")
        part = "" if found[0].strength == 1.0 else f"*{found[0].strength:g}"
        return f"{self.base_fingerprint}+{found[0].fingerprint}{part}"


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
    return 2 * bytes_of(facts, compute) < free_bytes(compute)


def bytes_of(facts: ModelFacts, compute: Compute) -> float:
    """Return what a model takes in the memory of a device while it answers, with a fifth to spare."""
    return float(facts.parameters * compute.dtype.itemsize * 1.2)


def free_bytes(compute: Compute) -> int:
    """Return the free memory of a device."""
    if compute.device.type == "cuda":
        return int(torch.cuda.mem_get_info(compute.device)[0])
    return int(psutil.virtual_memory().available)
