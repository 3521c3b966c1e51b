"""Names and shapes of a model's parameters from config.json alone, by the table of its family.

A table is a list of parts, one for each module of a layer and one for each module outside them. A shape is
written in letters, outputs first as torch stores a linear layer: d hidden size, q all heads of queries, k all
heads of keys, h one head, f width of the MLP, V vocabulary, P positions, E experts, m width of an expert,
s width of the shared expert, e width of the embedding; of pictures c channels, p side of a patch, n patches,
t hidden size of the text. The tables: families.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.models.model_facts import Build, Linear, NamedShape
from engine.models.sizes import EXPERTS, Config, Sizes

_TERM = re.compile(r"(\d*)([A-Za-z]?)")
YES = "yes"


@dataclass(frozen=True)
class Part:
    """One module: `bias` and `when` name the key of config.json that switches them (`!` before it: off)."""

    name: str
    shape: tuple[str, ...]
    kind: str  # linear, conv1d, norm, bare (a norm without weights), embedding, router, parameter, other
    bias: str = ""
    when: str = YES
    layers: str = "all"  # all, dense or sparse: those without and with experts


@dataclass(frozen=True)
class Family:
    """How one family is built; `defaults` are what transformers takes for keys that may be missing.

    `window` says which layers see the sliding window where config.json lists no layer_types: all, upper (from
    max_window_layers on), lower (every other one below it), most (all but each n-th), or none. `prepare`
    gives a configuration keys that follow from others. `beside` is what a model of several kinds of input
    has beside its text: a table and the key of its configuration.
    """

    layer: tuple[Part, ...]
    outside: tuple[Part, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    stack: str = "model.layers"
    head_bias: bool = False
    own_head_dim: bool = True
    norm: str = "rms"
    parallel: str = ""
    rotary: str = YES
    window: str = "all"
    prepare: Callable[[Config], None] | None = None
    beside: tuple[Family, str] | None = None

    @property
    def sparse(self) -> bool:
        """Return whether it has layers of experts."""
        return any(part.layers == "sparse" for part in self.layer)


@dataclass(frozen=True)
class Shapes:
    """All parameters of a model, its linear modules, and how its layers are built."""

    tensors: tuple[NamedShape, ...]
    linears: tuple[Linear, ...]
    build: Build

    @property
    def parameters(self) -> int:
        """Return the number of all values."""
        return sum(numel(shape) for _, shape in self.tensors)


def read_sizes(family: Family, config: Config) -> Sizes:
    """Return the sizes in a configuration, and give it what follows from them."""
    if family.prepare:
        family.prepare(config)
    return Sizes(config, own_head_dim=family.own_head_dim, experts=family.sparse)


def shapes_of(family: Family, config: Config, sizes: Sizes, *, tied: bool) -> Shapes:
    """Return what transformers builds from a configuration that `read_sizes` has seen."""
    parts = list(family.outside)
    if not tied:
        parts.append(Part("lm_head", ("V", "e"), "head"))
    if family.head_bias:
        parts.append(Part("lm_head.bias", ("V",), "parameter"))
    tensors, linears = _expand(family, parts, config, _letters(sizes), sizes.layers)
    if family.beside:
        other, key = family.beside
        inner = config.get(key)
        seen = Config(inner if isinstance(inner, dict) else {}, other.defaults, config.file)
        found = read_sizes(other, seen)
        letters = {**_letters(found), **_picture(seen), "t": sizes.hidden}
        more = _expand(other, list(other.outside), seen, letters, found.layers)
        tensors, linears = more[0] + tensors, more[1] + linears
    inside = [part for part in family.layer if _holds(part.when, config)]
    build = _build(family, config, sizes, inside, _sparse_layers(family, config, sizes.layers))
    biases = sum(numel(shape) for name, shape in tensors if name.endswith(".bias"))
    return Shapes(tuple(tensors), tuple(linears), replace(build, biases=biases))


def _expand(
    family: Family, outside: list[Part], config: Config, letters: Mapping[str, int], layers: int
) -> tuple[list[NamedShape], list[Linear]]:
    """Return the parameters and the linear modules of all layers and of what is outside them."""
    sparse = _sparse_layers(family, config, layers)
    modules = [(part, part.name) for part in outside if _holds(part.when, config)]
    inside = [part for part in family.layer if _holds(part.when, config)]
    for number in range(layers):
        left_out = "dense" if number in sparse else "sparse"
        modules += [(p, f"{family.stack}.{number}.{p.name}") for p in inside if p.layers != left_out]
    known = {part.shape: tuple(_size(term, letters) for term in part.shape) for part, _ in modules}
    tensors: list[NamedShape] = []
    linears: list[Linear] = []
    for part, name in modules:
        shape = known[part.shape]
        tensors += _tensors(part, name, shape, config)
        if part.kind in ("linear", "conv1d"):
            outer, inner = shape if part.kind == "linear" else shape[::-1]
            linears.append(Linear(name, inner, outer))
    return tensors, linears


def _tensors(part: Part, name: str, shape: tuple[int, ...], config: Config) -> Iterator[NamedShape]:
    if part.kind == "bare":
        return
    yield (name if part.kind == "parameter" else f"{name}.weight"), shape
    if part.bias and _holds(part.bias, config):
        yield f"{name}.bias", (shape[1] if part.kind == "conv1d" else shape[0],)


def numel(shape: tuple[int, ...]) -> int:
    """Return the number of values of a shape."""
    count = 1
    for size in shape:
        count *= size
    return count


def _letters(sizes: Sizes) -> dict[str, int]:
    return {
        "": 1,
        "d": sizes.hidden,
        "q": sizes.heads * sizes.head_dim,
        "k": sizes.kv_heads * sizes.head_dim,
        "h": sizes.head_dim,
        "f": sizes.intermediate,
        "V": sizes.vocab,
        "P": sizes.positions,
        "E": sizes.experts,
        "m": sizes.expert,
        "s": sizes.shared_expert,
        "e": sizes.embedding,
    }


def _picture(config: Config) -> dict[str, int]:
    patch = config.number(("patch_size",), 1 << 10)
    across = config.number(("image_size",), 1 << 16) // patch
    return {"p": patch, "c": config.number(("num_channels",), 64, 3), "n": across**2}


def _size(term: str, letters: Mapping[str, int]) -> int:
    """Return the value of a term such as q+2k."""
    found = (_TERM.fullmatch(each) for each in term.split("+"))
    return sum(int(m.group(1) or 1) * letters[m.group(2)] for m in found if m)


def _holds(condition: str, config: Config) -> bool:
    if condition == YES:
        return True
    if condition.startswith("!"):
        return not config.flag(condition[1:])
    return bool(condition) and config.flag(condition)


def _sparse_layers(family: Family, config: Config, layers: int) -> frozenset[int]:
    if not family.sparse or not config.number(EXPERTS, 4096, 0, least=0):
        return frozenset()
    step = config.number(("decoder_sparse_step",), 1024, 1)
    without = config.entries("mlp_only_layers", int) or []
    return frozenset(n for n in range(layers) if n not in without and (n + 1) % step == 0)


def _windowed(family: Family, config: Config, layers: int) -> tuple[int | None, int]:
    """Return the sliding window in tokens, and how many layers have it."""
    switched_off = config.get("use_sliding_window") is False
    if switched_off or not family.window:
        return None, 0
    window = config.number(("sliding_window",), 1 << 32, 0, least=0)
    kinds = config.entries("layer_types", str)
    below = min(layers, config.number(("max_window_layers",), 1024, 0, least=0))
    if kinds is not None:
        count = sum(kind == "sliding_attention" for kind in kinds[:layers])
    elif family.window == "upper":
        count = layers - below
    elif family.window == "lower":
        count = (below + 1) // 2
    elif family.window == "most":
        count = layers - layers // config.number(("sliding_window_pattern",), 1024, 1)
    else:
        count = layers if family.window == "all" else 0
    return (window, count) if window and count else (None, 0)


def _build(family: Family, config: Config, sizes: Sizes, inside: list[Part], sparse: frozenset[int]) -> Build:
    names = {part.name.rpartition(".")[2] for part in inside}
    over_heads = {p.shape[0] for p in inside if p.kind == "norm" and p.shape != ("d",)}
    window, windowed = _windowed(family, config, sizes.layers)
    activation = next((config.get(k) for k in _ACTIVATIONS if config.get(k) is not None), "silu")
    return Build(
        gated=bool(names & {"gate_proj", "gate_up_proj"}),
        experts=sizes.experts if sparse else 0,
        experts_per_token=sizes.experts_per_token if sparse else 0,
        expert_size=sizes.expert if sparse else 0,
        shared_expert_size=sizes.shared_expert if sparse else 0,
        sparse_layers=len(sparse),
        sliding_window=window,
        sliding_layers=windowed,
        parallel=_holds(family.parallel, config),
        norm=family.norm,
        layer_norms=sum(p.kind == "bare" or (p.kind == "norm" and p.shape == ("d",)) for p in inside),
        query_norm="" if not over_heads else "head" if over_heads == {"h"} else "all",
        rotary=_holds(family.rotary, config),
        activation=str(activation)[:40],
        attention_softcap=config.get("attn_logit_softcapping") is not None,
        logit_softcap=config.get("final_logit_softcapping") is not None,
    )


_ACTIVATIONS = ("hidden_activation", "hidden_act", "activation_function", "activation")
