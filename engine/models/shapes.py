"""Closed-form tables of the families that transformers builds: names and shapes from config.json alone.

A family is a list of parts, one for each module of a layer and one for each module outside them. A shape is
written in letters, outputs first as torch stores a linear layer: d hidden size, q all heads of queries, k all
heads of keys, h one head, f width of the MLP, V vocabulary, P positions, E experts, m width of an expert,
s width of the shared expert, e width of the embedding. Held against the models that transformers makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.models.model_facts import Build, Linear, NamedShape
from engine.models.sizes import Config, Sizes

_TERM = re.compile(r"(\d*)([A-Za-z]?)")
YES = "yes"


@dataclass(frozen=True)
class Part:
    """One module: `bias` and `when` name the key of config.json that switches them (`!` before it: off)."""

    name: str
    shape: tuple[str, ...]
    kind: str  # linear, conv1d, norm, embedding, parameter (a tensor that is no module)
    bias: str = ""
    when: str = YES
    layers: str = "all"  # all, dense or sparse: those without and with experts


@dataclass(frozen=True)
class Family:
    """How one family is built; `defaults` are what transformers takes for keys that may be missing."""

    layer: tuple[Part, ...]
    outside: tuple[Part, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    stack: str = "model.layers"
    head_bias: bool = False
    own_head_dim: bool = True
    norm: str = "rms"
    parallel: str = ""
    rotary: str = YES
    window: str = "all"  # which layers see the sliding window: all, upper, or every but each n-th
    experts: bool = False


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


def linear(name: str, inner: str, outer: str, bias: str = "", **more: str) -> Part:
    """Return a linear layer."""
    return Part(name, (outer, inner), "linear", bias, **more)


def norms(*names: str, size: str = "d", bias: str = "", when: str = YES) -> tuple[Part, ...]:
    """Return norms of one size."""
    return tuple(Part(name, (size,), "norm", bias, when) for name in names)


def attention(bias: str = "", out_bias: str = "", out: str = "o_proj") -> tuple[Part, ...]:
    """Return q, k, v and the output as four layers."""
    return (
        linear("self_attn.q_proj", "d", "q", bias),
        linear("self_attn.k_proj", "d", "k", bias),
        linear("self_attn.v_proj", "d", "k", bias),
        linear(f"self_attn.{out}", "q", "d", out_bias),
    )


def gated(at: str = "mlp", bias: str = "", width: str = "f", layers: str = "all") -> tuple[Part, ...]:
    """Return an MLP of gate, up and down."""
    return (
        linear(f"{at}.gate_proj", "d", width, bias, layers=layers),
        linear(f"{at}.up_proj", "d", width, bias, layers=layers),
        linear(f"{at}.down_proj", width, "d", bias, layers=layers),
    )


def experts() -> tuple[Part, ...]:
    """Return a router and its experts: three-dimensional parameters in transformers 5, no linear modules."""
    return (
        Part("mlp.gate", ("E", "d"), "router", layers="sparse"),
        Part("mlp.experts.gate_up_proj", ("E", "2m", "d"), "parameter", layers="sparse"),
        Part("mlp.experts.down_proj", ("E", "d", "m"), "parameter", layers="sparse"),
    )


def table(name: str, rows: str = "V", width: str = "d") -> Part:
    """Return an embedding."""
    return Part(name, (rows, width), "embedding")


TWO_NORMS = norms("input_layernorm", "post_attention_layernorm")
HEAD_NORMS = norms("self_attn.q_norm", "self_attn.k_norm", size="h")
OUTSIDE = (table("model.embed_tokens"), *norms("model.norm"))
LLAMA = Family(
    layer=(*attention("attention_bias", "attention_bias"), *gated(bias="mlp_bias"), *TWO_NORMS),
    outside=OUTSIDE,
    defaults={"intermediate_size": 11008, "max_position_embeddings": 2048, "hidden_act": "silu"},
)

FAMILIES: dict[str, Family] = {"llama": LLAMA}


def family_of(model_type: str) -> Family | None:
    """Return the table of a family, None when there is none."""
    return FAMILIES.get(model_type)


def shapes_of(family: Family, config: Config, sizes: Sizes, *, tied: bool) -> Shapes:
    """Return what transformers builds from a configuration."""
    letters = _letters(sizes)
    inside = [p for p in family.layer if _holds(p.when, config)]
    sparse = _sparse_layers(family, config, sizes)
    modules = [(p, p.name) for p in family.outside if _holds(p.when, config)]
    for number in range(sizes.layers):
        left_out = "dense" if number in sparse else "sparse"
        modules += [(p, f"{family.stack}.{number}.{p.name}") for p in inside if p.layers != left_out]
    if not tied:
        modules.append((Part("lm_head", ("V", "d"), "head", YES if family.head_bias else ""), "lm_head"))
    known = {p.shape: tuple(_size(term, letters) for term in p.shape) for p, _ in modules}
    tensors: list[NamedShape] = []
    linears: list[Linear] = []
    for part, name in modules:
        shape = known[part.shape]
        tensors += _tensors(part, name, shape, config)
        if part.kind in ("linear", "conv1d"):
            outer, inner = shape if part.kind == "linear" else shape[::-1]
            linears.append(Linear(name, inner, outer))
    build = _build(family, config, sizes, inside, sparse)
    biases = sum(numel(shape) for name, shape in tensors if name.endswith(".bias"))
    return Shapes(tuple(tensors), tuple(linears), replace(build, biases=biases))


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


def _sparse_layers(family: Family, config: Config, sizes: Sizes) -> frozenset[int]:
    if not family.experts or not sizes.experts:
        return frozenset()
    step = config.number(("decoder_sparse_step",), 1024, 1)
    without = config.entries("mlp_only_layers", int) or []
    return frozenset(n for n in range(sizes.layers) if n not in without and (n + 1) % step == 0)


def _windowed(family: Family, config: Config, sizes: Sizes) -> tuple[int | None, int]:
    """Return the sliding window in tokens, and how many layers have it."""
    switched_off = config.get("use_sliding_window") is not None and not config.flag("use_sliding_window")
    window = config.number(("sliding_window",), 1 << 32, 0, least=0)
    if switched_off or not window or not family.window:
        return None, 0
    kinds = config.entries("layer_types", str)
    if kinds is not None:
        count = sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds[: sizes.layers])
    elif family.window == "upper":
        count = max(0, sizes.layers - config.number(("max_window_layers",), 1024, 0, least=0))
    elif family.window == "all":
        count = sizes.layers
    else:
        count = sizes.layers - sizes.layers // config.number(("sliding_window_pattern",), 1024, 1)
    return (window, count) if count else (None, 0)


def _build(family: Family, config: Config, sizes: Sizes, inside: list[Part], sparse: frozenset[int]) -> Build:
    names = {part.name.rpartition(".")[2] for part in inside}
    over_heads = {p.shape[0] for p in inside if p.kind == "norm" and p.shape != ("d",)}
    window, windowed = _windowed(family, config, sizes)
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
