"""Exactly which modules an adapter would take and how many values it would train, from names and shapes.

Training takes its modules from the same functions, so the count before a run is the count in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from engine.models.experts import reached
from engine.models.facts import Linear, ModelFacts, is_embedding, is_position
from engine.models.weight_files import read_headers
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.targets import ALL_LINEAR, Lookup, fits, in_group, named
from engine.recipe.targets import ends_in as ends_in

Number = TypeVar("Number", int, int | float)
START_RANK = 1.5  # AdaLoRA begins with so many times its mean rank at the end
HEAD = "lm_head"  # in all families as transformers 5 builds them, whatever their files call it


def chosen(linears: Iterable[Linear], apart: Collection[str], adapter: AdapterOptions) -> list[Linear]:
    """Return the modules of `linears` that `target_modules` and `layers_to_transform` take.

    An entry takes every module that it names or whose name ends in it, or a group's modules. `all-linear`
    takes all but those in `apart`: the output head and the embeddings. Those are in no layer: they are taken
    where they are named, whatever the layers. What is trained whole gets no adapter.
    """
    layers, wanted = adapter.layers_to_transform, named(adapter.target_modules)
    everywhere = ALL_LINEAR in wanted
    entries = Lookup(entry for entry in wanted if entry != ALL_LINEAR)

    def takes(linear: Linear) -> bool:
        layer = linear.layer
        inside = layers is None or layer in layers
        if everywhere and inside and linear.name not in apart:
            return True
        return (inside or layer is None) and entries.first(linear.name) is not None

    return [
        linear for linear in linears if takes(linear) and not is_whole(linear.name, adapter.modules_to_save)
    ]


def is_whole(name: str, entries: Collection[str]) -> bool:
    """Return whether a module, or one that it is part of, is among `modules_to_save`."""
    if not entries:
        return False
    parts = name.split(".")
    above = [".".join(parts[: i + 1]) for i in range(len(parts))]
    return any(fits(module, entry) for entry in entries for module in above)


def adapted_linears(facts: ModelFacts, adapter: AdapterOptions) -> list[tuple[Linear, int]]:
    """Return the adapted modules with their rank: the first key of `rank_pattern` that fits wins.

    Full finetuning adapts none: it trains the weights themselves. Nor does a mixture of experts get any where
    `engine.models.experts` says that no method reaches.
    """
    if adapter.method == "full":
        return []
    apart = _named_apart(facts, adapter)
    linears = reached(facts.linears, facts.model_type, adapter.method)
    modules = chosen((*linears, *apart), {linear.name for linear in apart}, adapter)
    rank = start_rank(adapter) if adapter.method == "adalora" else adapter.r
    ranks = pattern_values(adapter.rank_pattern, [linear.name for linear in modules], rank)
    return list(zip(modules, ranks, strict=True))


def head_of(facts: ModelFacts) -> str:
    """Return the name of the output head."""
    return HEAD


def _named_apart(facts: ModelFacts, adapter: AdapterOptions) -> list[Linear]:
    """Return head and embedding where the recipe names them: they are no part of `facts.linears`."""
    found = []
    wanted = named(adapter.target_modules)
    if any(fits(HEAD, entry) for entry in wanted):
        found.append(Linear(HEAD, facts.hidden_size, facts.vocab_size))
    entries = [e for e in wanted if "emb" in e or e in ("wte", "wpe")]
    if entries and adapter.method == "lora":
        for name, shape in shapes_in(facts).items():
            module = name.removesuffix(".weight")
            if is_embedding(name) and len(shape) == 2 and any(fits(module, e) for e in entries):
                found.append(Linear(module, shape[0], shape[1]))
    return found


def shapes_in(facts: ModelFacts) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter by its name: from the family's table, else from the files."""
    return dict(facts.tensors) if facts.tensors else _stored_shapes(str(facts.path))


@lru_cache(maxsize=4)
def _stored_shapes(folder: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a model folder, by its name in the file."""
    return {t.name: t.shape for header in read_headers(Path(folder)) for t in header.tensors}


def pattern_value(patterns: Mapping[str, Number], name: str, default: Number) -> Number:
    """Return the value of the first key that the name ends in or whose group it is in, else the default."""
    return next((value for key, value in patterns.items() if fits(name, key)), default)


def pattern_values(patterns: Mapping[str, Number], names: Iterable[str], default: Number) -> list[Number]:
    """Return `pattern_value` of many names at once."""
    keys, values = Lookup(patterns), list(patterns.values())
    found = [keys.first(name) for name in names]
    return [default if index is None else values[index] for index in found]


def start_rank(adapter: AdapterOptions) -> int:
    """Return the rank AdaLoRA begins with: half as much again as at the end, one more at least."""
    end = final_rank(adapter)
    return max(end + 1, round(START_RANK * end))


def final_rank(adapter: AdapterOptions) -> int:
    """Return AdaLoRA's mean rank at the end."""
    return adapter.r if adapter.target_r is None else adapter.target_r


def block_size(width: int, wanted: int) -> int:
    """Return the size of OFT's blocks for a layer of `width` inputs: the divisor nearest to what is wanted.

    As in peft: of two equally near ones the smaller, and the whole width where more is wanted.
    """
    if wanted >= width:
        return width
    above = next(size for size in range(wanted, width + 1) if width % size == 0)
    below = next(size for size in range(wanted, 0, -1) if width % size == 0)
    return below if wanted - below <= above - wanted else above


def trainable_parameters(
    facts: ModelFacts, adapter: AdapterOptions, modules: list[tuple[Linear, int]] | None = None
) -> int:
    """Return how many values are trained, modules trained whole and biases included.

    `modules` are those of `adapted_linears` where they are known.
    """
    if adapter.method == "full":
        return facts.parameters
    modules = adapted_linears(facts, adapter) if modules is None else modules
    count = sum(module_parameters(linear, r, adapter) for linear, r in modules)
    if adapter.modules_to_save:
        count += _whole_parameters(facts, adapter)
    if adapter.bias != "none":
        count += _bias_parameters(facts, adapter, [linear for linear, _ in modules])
    return count


def saved_bytes(adapter: AdapterOptions) -> int:
    """Return the bytes a checkpoint holds of each trained value, the optimizer's state apart.

    PiSSA and OLoRA keep what they began with beside it; AdaLoRA all triplets and two averages of each.
    """
    if adapter.method == "adalora":
        return 16
    return 8 if adapter.method == "lora" and adapter.init_lora_weights in ("pissa", "olora") else 4


def module_parameters(linear: Linear, r: int, adapter: AdapterOptions) -> int:
    """Return the values trained beside one module.

    LoRA: A (r, in) and B (out, r), DoRA a size for each output. AdaLoRA: r singular values more. VeRA: one
    value for each rank and each output. IA3: one for each output, or each input of the MLP's last layer.
    OFT: the upper triangle of each block.
    """
    wide = linear.in_features + linear.out_features
    if adapter.method == "vera":
        return r + linear.out_features
    if adapter.method == "ia3":
        return linear.in_features if in_group(linear.name, "down") else linear.out_features
    if adapter.method == "oft":
        size = block_size(linear.in_features, adapter.oft_block_size)
        return linear.in_features // size * (size * (size - 1) // 2)
    if adapter.method == "adalora":
        return r * (wide + 1)
    return r * wide + (linear.out_features if adapter.use_dora else 0)


def _whole_parameters(facts: ModelFacts, adapter: AdapterOptions) -> int:
    """Count the values of `modules_to_save`; head and embedding that share their weight count once."""
    shapes, entries = dict(shapes_in(facts)), list(adapter.modules_to_save)
    if facts.tied:
        for own in ("weight", "bias"):  # peft trains the shared weight alone
            shapes.pop(f"{HEAD}.{own}", None)
        if any(fits(HEAD, entry) for entry in entries):
            words = [n for n, s in shapes.items() if is_embedding(n) and s[0] == facts.vocab_size]
            entries += [name.removesuffix(".weight") for name in words if not is_position(name)]
    return sum(_numel(s) for name, s in shapes.items() if is_whole(name.rpartition(".")[0], entries))


def _bias_parameters(facts: ModelFacts, adapter: AdapterOptions, modules: list[Linear]) -> int:
    adapted = {linear.name for linear in modules}
    return sum(
        _numel(shape)
        for name, shape in shapes_in(facts).items()
        if name.endswith(".bias")
        and len(shape) == 1
        and (adapter.bias == "all" or any(ends_in(m, name.removesuffix(".bias")) for m in adapted))
    )


def _numel(shape: Iterable[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
