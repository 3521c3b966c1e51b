"""Several adapters at work on one base at once: what a merge would answer, before anything is written.

Where deltas are summed (linear, cat) a layer answers base(x) + sum of w_i (layer_i(x) - base(x)) with peft's
own layer of each adapter, so that weights change at no cost, and a merge is compared with something that it
did not compute itself. Every other method makes its factors anew when a weight changes.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import EngineError
from engine.models.adapter_facts import WEIGHTS, AdapterFacts
from engine.models.facts import ModelFacts, is_embedding
from engine.models.merging import DENSITY, Mix, judge, make_mix
from engine.recipe.recipe import ModelOptions
from engine.runtime.adapted import ADAPTER, AdaptedModel
from engine.runtime.attach import Whole, read_tensors
from engine.runtime.changes import Sum
from engine.runtime.fitted import Fitted, Slot, fit
from engine.runtime.load import Compute, load_base
from engine.runtime.mixing import changes_of_mix, keeps_tied
from engine.runtime.target import Target

Delta = Callable[[Tensor], Tensor]


class Mixed(nn.Module):  # type: ignore[misc]
    """One module of the base with what each adapter adds to its answer, so many times."""

    def __init__(self, own: nn.Module, count: int) -> None:
        super().__init__()
        self._own = [own]  # in a list: it stays the base's module, not one of this
        self.deltas: list[Delta | None] = [None] * count
        self.times: list[float] = [0.0] * count

    @property
    def weight(self) -> Any:
        """Return the base's weight: models look at its type, and tie heads to it."""
        return self._own[0].weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self._own[0](x)
        for times, delta in zip(self.times, self.deltas, strict=True):
            if times != 0.0 and delta is not None:
                out = out + (times * delta(x)).to(out.dtype)
        return out


@dataclass
class MixedWhole:
    """One parameter of the base and what each adapter trained it to."""

    first: Whole
    trained: list[tuple[int, Tensor]]
    weights: Sequence[float] = ()

    @property
    def is_on(self) -> bool:
        """Return whether the module computes with something else than the base's own tensor."""
        return self.first.is_on

    def put(self, strength: float) -> None:
        """Let the module compute with base + strength * sum of w_i (trained_i - base)."""
        base = self.first.base
        value = base
        if strength != 0.0:
            own = base.detach().float()
            mixed = own.clone()
            for index, tensor in self.trained:
                mixed.add_(tensor.to(own.device).float() - own, alpha=strength * self.weights[index])
            value = nn.Parameter(mixed.to(base.dtype), requires_grad=False)
        setattr(self.first.module, self.first.leaf, value)


class Mixture(Fitted):
    """Adapters fitted to a base as one; `set_weights` changes how often each counts."""

    def __init__(self, base: Any, facts: ModelFacts, adapters: Sequence[AdapterFacts], mix: Mix) -> None:
        self.mix = mix
        self._base, self._facts, self._adapters = base, facts, list(adapters)
        self._held: list[dict[str, Tensor]] = []
        self._members = [fit(base, adapter) for adapter in self._adapters] if mix.sums_deltas else []
        self._prints = [_print_of(adapter) for adapter in self._adapters]
        if mix.sums_deltas:
            slots, wholes = _summing(self._members), _wholes(self._members)
        else:
            self._held = [read_tensors(adapter) for adapter in self._adapters]
            slots, wholes = self._of_factors(), []
        super().__init__("", slots, wholes)
        self.set_weights(mix.weights)

    def set_weights(self, weights: Sequence[float]) -> None:
        """Let each adapter count so often from now on; raises EngineError REC-01 for other than one each."""
        self.mix = replace(self.mix, weights=make_mix(len(self._adapters), weights).weights)
        told = f"{self._prints} {self.mix.told()}"
        self.fingerprint = hashlib.sha256(told.encode()).hexdigest()[:8]
        on = any(self.parts_on)
        if not self.mix.sums_deltas:
            self._fill({slot.name: slot.layer for slot in self.slots})
        for whole in self.wholes:
            whole.weights = self.mix.weights  # type: ignore[attr-defined]
        self.set_strength(self.strength)
        self.put(on)

    def set_strength(self, strength: float) -> None:
        """Let all of them count `strength` times: 0 is the base, 1 the mix."""
        self.strength = strength
        times = self.mix.weights if self.mix.sums_deltas else (1.0,)
        for slot in self.slots:
            slot.layer.times = [strength * weight for weight in times]

    def _of_factors(self) -> list[Slot]:
        names = self._fill({})
        return [_slot(self._base, name, layer) for name, layer in names.items()]

    @torch.no_grad()
    def _fill(self, layers: dict[str, Any]) -> dict[str, Mixed]:
        """Make the factors for the present weights and give them to the layers, made where there is none."""
        targets = [Target(a.name, self._facts, a) for a in self._adapters]
        for name, change in changes_of_mix(targets, self._held, self.mix).items():
            assert isinstance(change, Sum)
            module = name.removesuffix(".weight")
            for place in (module, *_tied_head(self._base, module, self._adapters)):
                own = layers[place]._own[0] if place in layers else self._base.get_submodule(place)
                layer = layers.setdefault(place, Mixed(own, 1))
                layer.deltas = [_of_sum(own, change, embedding=is_embedding(module))]
        return layers


def _print_of(adapter: AdapterFacts) -> str:
    return hashlib.sha256((adapter.path / WEIGHTS).read_bytes()).hexdigest()


def _slot(base: Any, name: str, layer: Mixed) -> Slot:
    parent, _, leaf = name.rpartition(".")
    return Slot(name, base.get_submodule(parent), leaf, layer._own[0], layer)


def _summing(members: Sequence[Fitted]) -> list[Slot]:
    """Return one place for each module that any adapter adapts, with what each adds to its answer."""
    found: dict[str, Slot] = {}
    for index, member in enumerate(members):
        for slot in member.slots:
            if slot.name not in found:
                mixed = Mixed(slot.own, len(members))
                found[slot.name] = Slot(slot.name, slot.parent, slot.leaf, slot.own, mixed)
            found[slot.name].layer.deltas[index] = _of_layer(slot.layer, slot.own)
    return list(found.values())


def _of_layer(layer: Any, own: nn.Module) -> Delta:
    """Return what one of peft's layers adds to its base layer's answer."""
    plain = type(layer).__name__ == "Linear" and hasattr(layer, "lora_A")
    if plain and not layer.use_dora.get("default") and layer.lora_B["default"].bias is None:
        a, b, scaling = layer.lora_A["default"].weight, layer.lora_B["default"].weight, layer.scaling
        return lambda x: F.linear(F.linear(x.to(a.dtype), a), b) * scaling["default"]
    # Its own copy of the base layer, of the same tensors: another adapter may put others into the base's.
    alone = copy.copy(own)
    alone._parameters = dict(own._parameters)
    layer.base_layer = alone
    layer.__dict__.pop("forward", None)
    return lambda x: layer(x) - alone(x)


def _of_sum(own: nn.Module, change: Sum, *, embedding: bool) -> Delta:
    """Return what B A adds to the answer of a linear layer, of an embedding, or of a head tied to one."""
    device = next(own.parameters()).device
    a, b = change.a.float().to(device), change.b.float().to(device) * change.scaling
    if embedding and isinstance(own, nn.Embedding):
        return lambda x: F.linear(F.embedding(x, a.T), b)
    if embedding:  # the head: stored as the embedding is, (words, hidden)
        return lambda x: F.linear(F.linear(x.float(), b.T), a.T)
    return lambda x: F.linear(F.linear(x.float(), a), b)


def _tied_head(base: Any, module: str, adapters: Sequence[AdapterFacts]) -> list[str]:
    """Return the head's name where an embedding's change means it too."""
    head = base.get_output_embeddings()
    if head is None or not is_embedding(module) or not keeps_tied(adapters):
        return []
    return [name for name, found in base.named_modules() if found is head]


def _wholes(members: Sequence[Fitted]) -> list[Any]:
    found: dict[tuple[int, str], MixedWhole] = {}
    for index, member in enumerate(members):
        for whole in member.wholes:
            key = (id(whole.module), whole.leaf)
            found.setdefault(key, MixedWhole(whole, [])).trained.append((index, whole.trained))
    return list(found.values())


def fit_mixture(base: Any, facts: ModelFacts, adapters: Iterable[AdapterFacts], mix: Mix) -> Mixture:
    """Fit a mix of adapters to a base in memory, off at first; raises EngineError as `judge` and `fit` do."""
    found = list(adapters)
    judged = judge(found, facts, adapter_only=mix.adapter_only, svd_rank=mix.svd_rank, any_base=True)
    if len(found) > 1 or mix.adapter_only or not mix.sums_deltas:
        judged.refuse(mix.method, str(found[0].path))
    return Mixture(base, facts, found, mix)


def load_mixture(
    base: ModelFacts,
    adapters: Sequence[AdapterFacts],
    weights: Sequence[float],
    method: str,
    compute: Compute,
    density: float = DENSITY,
    *,
    seed: int = 0,
    svd_rank: int | None = None,
    adapter_only: bool = False,
) -> AdaptedModel:
    """Load a base with a mix of adapters on it, which answers as `adapter`; `set_mix` changes the weights.

    Raises EngineError MODEL-* for what cannot be mixed or loaded, REC-01 for impossible numbers.
    """
    mix = make_mix(
        len(adapters),
        weights,
        method,
        density=density,
        seed=seed,
        svd_rank=svd_rank,
        adapter_only=adapter_only,
    )
    return mixture_of(base, adapters, mix, compute)


def mixture_of(
    base: ModelFacts, adapters: Sequence[AdapterFacts], mix: Mix, compute: Compute
) -> AdaptedModel:
    """Load a base with a mix of adapters on it, which answers as `adapter`; raises EngineError MODEL-*."""
    loaded = load_base(base.path, ModelOptions(path=str(base.path)), compute).eval()
    model = AdaptedModel(loaded, base, None, 1.0)
    model.fitted[ADAPTER] = fit_mixture(loaded, base, adapters, mix)
    model.set_strength(1.0)
    return model


def set_mix(model: AdaptedModel, weights: Sequence[float]) -> None:
    """Change the weights of a loaded mixture; raises EngineError REC-01 / CHAT-01."""
    mixture = model.fitted.get(ADAPTER)
    if not isinstance(mixture, Mixture):
        raise EngineError("No mixture is loaded.", "Load adapters with their weights first.", "CHAT-01")
    mixture.set_weights(weights)
