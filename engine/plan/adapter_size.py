"""Exactly which modules an adapter would take and how many values it would train, from names and shapes."""

from __future__ import annotations

from collections.abc import Mapping

from engine.models.facts import Linear, ModelFacts
from engine.recipe.adapter_options import AdapterOptions

ALL_LINEAR = "all-linear"


def adapted_linears(facts: ModelFacts, adapter: AdapterOptions) -> list[tuple[Linear, int]]:
    """Return the adapted modules with their rank, by peft's rules for names.

    A name in `target_modules` takes every module that is it or ends in it; `rank_pattern` the same, the
    first key that fits wins; `layers_to_transform` keeps the modules inside those layers.
    """
    wanted = adapter.target_modules
    names = None if wanted == ALL_LINEAR else [wanted] if isinstance(wanted, str) else list(wanted)
    layers = adapter.layers_to_transform
    return [
        (linear, pattern_value(adapter.rank_pattern, linear.name, adapter.r))
        for linear in facts.linears
        if (names is None or any(ends_in(linear.name, name) for name in names))
        and (layers is None or linear.layer in layers)
    ]


def ends_in(name: str, pattern: str) -> bool:
    """Return whether a module's dotted name is `pattern` or ends in it at a dot."""
    return name == pattern or name.endswith("." + pattern)


def pattern_value(patterns: Mapping[str, int], name: str, default: int) -> int:
    """Return the value of the first key that the name ends in, else the default (peft's `rank_pattern`)."""
    return next((value for key, value in patterns.items() if ends_in(name, key)), default)


def trainable_parameters(facts: ModelFacts, adapter: AdapterOptions) -> int:
    """Return how many values are trained: A is (r, in), B is (out, r); DoRA adds a size for each output."""
    if adapter.method == "full":
        return facts.parameters
    modules = adapted_linears(facts, adapter)
    count = sum(r * (linear.in_features + linear.out_features) for linear, r in modules)
    if adapter.use_dora:
        count += sum(linear.out_features for linear, _ in modules)
    return count
