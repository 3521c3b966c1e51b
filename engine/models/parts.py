"""The modules that tables of families are made of: attention, MLPs, norms, experts."""

from __future__ import annotations

from engine.models.shapes import YES, Part


def linear(name: str, inner: str, outer: str, bias: str = "", layers: str = "all") -> Part:
    """Return a linear layer."""
    return Part(name, (outer, inner), "linear", bias, layers=layers)


def conv1d(name: str, inner: str, outer: str) -> Part:
    """Return a linear layer whose weight is stored the other way round."""
    return Part(name, (inner, outer), "conv1d", YES)


def norms(*names: str, size: str = "d", bias: str = "", when: str = YES) -> tuple[Part, ...]:
    """Return norms of one size."""
    return tuple(Part(name, (size,), "norm", bias, when) for name in names)


def attention(bias: str = "", out_bias: str | None = None, out: str = "o_proj") -> tuple[Part, ...]:
    """Return queries, keys, values and the output as four layers."""
    return (
        linear("self_attn.q_proj", "d", "q", bias),
        linear("self_attn.k_proj", "d", "k", bias),
        linear("self_attn.v_proj", "d", "k", bias),
        linear(f"self_attn.{out}", "q", "d", bias if out_bias is None else out_bias),
    )


def gated(at: str = "mlp", width: str = "f", bias: str = "", layers: str = "all") -> tuple[Part, ...]:
    """Return an MLP of gate, up and down."""
    return (
        linear(f"{at}.gate_proj", "d", width, bias, layers),
        linear(f"{at}.up_proj", "d", width, bias, layers),
        linear(f"{at}.down_proj", width, "d", bias, layers),
    )


def plain(up: str, down: str, bias: str = YES) -> tuple[Part, ...]:
    """Return an MLP of two layers."""
    return linear(up, "d", "f", bias), linear(down, "f", "d", bias)


def experts() -> tuple[Part, ...]:
    """Return a router and its experts."""
    return (
        Part("mlp.gate", ("E", "d"), "router", layers="sparse"),
        Part("mlp.experts.gate_up_proj", ("E", "2m", "d"), "parameter", layers="sparse"),
        Part("mlp.experts.down_proj", ("E", "d", "m"), "parameter", layers="sparse"),
    )


def table(name: str, rows: str = "V", width: str = "d") -> Part:
    """Return an embedding."""
    return Part(name, (rows, width), "embedding")
