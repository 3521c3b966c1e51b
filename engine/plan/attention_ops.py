"""What attention keeps and needs, bytes a token: by the kernel that computes it."""

from __future__ import annotations

from engine.plan.chain import Op
from engine.plan.way import Way


def attended(way: Way, *, together: bool) -> list[Op]:
    """Return the operations between the products into attention and the one out of it.

    q, k and v are rotated copies, or v a part of the joined product; the output and a float32 log-sum-exp for
    each head are kept by every kernel. Without one that takes grouped heads, k and v are copied once for
    each query head. `together`: q, k and v come out of one product, which v is a part of.
    """
    n, q, k = way.number, way.queries, way.keys
    joined, grouped = way.own_attention, k < q
    whole = joined or (together and way.rotary)
    turned, both = (q + k) * n, (q + 2 * k) * n if whole else 0
    value = 0 if whole else k * n
    answer = q * n + 4 * way.heads
    gradients = (2 * q + 2 * k) * n  # to the output, to q, k and v
    back = 2 * (q + 2 * k) * n if joined else (q + k) * n  # rotation's, and the parts of a joined product
    norms = []
    if way.query_norm:  # their input; in joined products that is kept anyway
        width = 0 if joined else (q + k) * (n if way.own_norm else 4)
        norms = [Op(kept=width + 8 * way.heads)]
    kind = way.attention
    if kind == "beside":  # float32 weights of all heads; the joined product alone is kept beside them
        kept = (q + 2 * k) * n + 4 * way.heads * way.row
        return [
            Op(kept, kept + 4 * (3 * q + 4 * k), 4 * way.heads * way.row * 2 + 8 * (q + 2 * k) + 2 * q * n)
        ]
    if kind in ("cpu", "cpu each"):  # grouped heads stay grouped; bf16 is computed in float32
        wide = (q + 2 * k) * 4 + q * 4 + 4 * way.heads
        kept = turned + both + value + answer if n == 4 else wide
        if way.attention_dropout:  # weights, drawn and dropped, all in float32
            kept += 12 * way.heads * way.row
        return [*norms, Op(kept, q * n, gradients * 4 / n + back)]
    expands = grouped and kind in ("flash", "each", "banded", "softcap", "mask", "eager")
    if expands:
        kept = (q + k if joined else q) * n + 2 * q * n
        gradients += 2 * q * n
    else:
        kept = turned + both + value
    if kind in ("banded", "mask"):
        kept += way.row * n  # the mask as numbers, made anew in each layer
    if kind in ("eager", "softcap"):  # float32 weights, and as numbers; under a cap its tanh too
        capped = n if kind == "softcap" else 0
        scores = way.heads * way.row * (4 + (n if n < 4 else 0) + capped)
        return [*norms, Op(kept + scores, 2 * way.heads * way.row * n, gradients + scores)]
    return [*norms, Op(kept + answer, 2 * k * n, gradients + back)]


def shared_by_layers(way: Way) -> float:
    """Return the bytes a token of what all layers look up: how sequences are laid side by side.

    A float32 bias for each weight, and four indices of 8 bytes for each head of queries, keys and values.
    """
    if way.attention != "beside":
        return 0.0
    return 4.0 * way.heads * way.row + 32.0 * (way.queries + 2 * way.keys) / way.head_dim
