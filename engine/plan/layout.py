"""The parts of a decoder layer as the memory formula sees them: its matrices by role, with their ranks."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from engine.models.facts import Linear, ModelFacts
from engine.plan.adapter_size import adapted_linears, trainable_parameters
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.targets import in_group


@dataclass(frozen=True)
class Matrix:
    """One linear module: its widths, the rank of its adapter (0 for none), what its result is for."""

    inputs: int
    outputs: int
    rank: int = 0
    adapted: bool = False
    adds: bool = False  # to the residual: the layer out of attention, and the MLP's last
    last: bool = False  # of the MLP

    @property
    def size(self) -> int:
        """Return the number of its weights."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Layer:
    """The matrices of one layer: into attention, out of it, into the MLP, out of it, and any others."""

    into: tuple[Matrix, ...]
    out: tuple[Matrix, ...]
    wide: tuple[Matrix, ...]
    down: tuple[Matrix, ...]
    others: tuple[Matrix, ...] = ()

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """Return all of them in the order of the forward pass."""
        return (*self.into, *self.out, *self.wide, *self.down, *self.others)

    @property
    def is_adapted(self) -> bool:
        """Return whether any of them has an adapter."""
        return any(matrix.adapted for matrix in self.matrices)


@dataclass(frozen=True)
class Layout:
    """A model with a recipe's adapter: its layers in order, the rank at its head, all values trained."""

    layers: tuple[Layer, ...]
    head_rank: int
    trained: int

    @property
    def kinds(self) -> list[tuple[Layer, int]]:
        """Return the layers that differ, each with how often it is there."""
        count = Counter(map(id, self.layers))
        return [(layer, count[key]) for key, layer in {id(layer): layer for layer in self.layers}.items()]


_made: deque[tuple[ModelFacts, AdapterOptions, Layout]] = deque(maxlen=8)


def layout_of(facts: ModelFacts, adapter: AdapterOptions) -> Layout:
    """Return the layers of a model with the ranks that a recipe gives them; the last few are remembered."""
    for known, options, layout in list(_made):
        if known is facts and (options is adapter or (options.r == adapter.r and options == adapter)):
            return layout
    modules = adapted_linears(facts, adapter)
    ranks = {linear.name: rank for linear, rank in modules}
    found: dict[int, list[Linear]] = {number: [] for number in range(facts.layers)}
    inside: set[str] = set()
    for linear in facts.linears:
        inside.add(linear.name)
        number = linear.layer
        if number is not None and number in found:
            found[number].append(linear)
    alike: dict[Layer, Layer] = {}  # equal layers are one object: what is found out of one holds for all
    layers = [_layer(linears, ranks) for linears in found.values()]
    layout = Layout(
        tuple(alike.setdefault(layer, layer) for layer in layers),
        sum(rank for name, rank in ranks.items() if name not in inside),
        trainable_parameters(facts, adapter, modules),
    )
    _made.append((facts, adapter, layout))
    return layout


_ROLES: dict[str, str] = {}


def _role(leaf: str, name: str) -> str:
    """Return in which part of a layer a module is, by the ends that the recipe's groups know."""
    found = _ROLES.get(leaf)
    if found is None:
        parts = {
            "into": ("query", "key", "value"),
            "out": ("output",),
            "wide": ("gate", "up"),
            "down": ("down",),
        }
        found = next((part for part, ends in parts.items() if any(in_group(name, e) for e in ends)), "others")
        _ROLES[leaf] = found
    return found


def _layer(linears: list[Linear], ranks: Mapping[str, int]) -> Layer:
    parts: dict[str, list[Matrix]] = {"into": [], "out": [], "wide": [], "down": [], "others": []}
    for linear in linears:
        tail = ".".join(linear.name.split(".")[-2:])
        rank = ranks.get(linear.name)
        role = _role(tail, linear.name)
        adds, last = role in ("out", "down"), role == "down"
        sizes = linear.in_features, linear.out_features
        parts[role].append(Matrix(*sizes, rank or 0, rank is not None, adds, last))
    return Layer(*(tuple(parts[name]) for name in ("into", "out", "wide", "down", "others")))
