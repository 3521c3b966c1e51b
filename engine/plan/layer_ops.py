"""A decoder layer as a chain of operations: norms, adapted products, attention, the MLP; bytes a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from engine.models.facts import Build
from engine.plan.attention_ops import attended
from engine.plan.chain import Op
from engine.plan.layout import Layer, Matrix
from engine.plan.method_ops import low_rank, other_method
from engine.plan.way import Way

ACTIVATION_KEEPS = {"gelu_new": 4, "gelu_fast": 5, "relu2": 2}  # tensors of the MLP's width; others one


@lru_cache(maxsize=256)
def layer_ops(layer: Layer, way: Way, build: Build, layers: int) -> tuple[Op, ...]:
    """Return one of a model's `layers` in the order of its forward pass; the last ones are remembered."""
    if way.own_attention and not joins_attention(layer):
        way = replace(way, own_attention=False)
    into = joined(layer.into, way) if way.own_attention else apart(layer.into, way)
    out = joined(layer.out, way) if way.own_attention else apart(layer.out, way, shared=way.keeps_answer)
    mlp = _mlp(layer, way) if layer.wide else []
    norms = max(2, build.layer_norms) if not way.parallel else build.layer_norms
    first, second = norms - norms // 2, norms // 2
    again = norm(way)
    if way.parallel:  # of the very input that the first one keeps
        again = replace(again, kept=again.kept - way.hidden * (4 if way.norm == "rms" else way.number))
    dropped = [Op(kept=way.hidden)] if way.base_dropout else []
    attention = [*[norm(way)] * first, *into, *attended(way, together=len(layer.into) == 1), *out, *dropped]
    others = experts(way, build, layers, bool(layer.wide))
    return (*attention, *[again] * second, *mlp, *dropped, *others)


def joins_attention(layer: Layer) -> bool:
    """Return whether the engine computes a layer's attention itself where it knows the family."""
    return any(matrix.adapted for matrix in (*layer.into, *layer.out))


def joins_mlp(layer: Layer, way: Way) -> bool:
    """Return whether the engine computes a layer's MLP itself: a plain one, or one with plain LoRA."""
    adapted = any(matrix.adapted for matrix in (*layer.wide, *layer.down))
    return way.own_mlp and not (way.dora and adapted)


def norm(way: Way) -> Op:
    """Return a norm over the hidden size: its input in the numbers it computes in, or as it comes."""
    d, n = way.hidden, way.number
    incoming = 2 * d * n  # the gradient to its output, and that of the residual beside it
    if way.full:  # the residual is float32, and a trained weight keeps what it is multiplied with
        return Op((8 if way.norm == "rms" else 4) * d + 8, 8 * d, 20 * d)
    if way.norm != "rms":
        return Op(d * n + 8, d * n, incoming + d * n)
    if way.own_norm:
        return Op(d * n + 4, 8 * d, incoming + (12 if n == 2 else 8) * d)
    return Op(4 * d + 4, 4 * d + d * n, incoming + 16 * d)


def joined(matrices: Sequence[Matrix], way: Way) -> list[Op]:
    """Return the engine's own product of layers that read one input: keeps [x, Ax] side by side.

    With dropout it keeps what is left of x, its mask and Ax. The factors A lie beside them as numbers of the
    product's width, where they do not have it already.
    """
    n, width, rank = way.number, matrices[0].inputs, sum(m.rank for m in matrices)
    outputs = sum(m.outputs for m in matrices)
    residual = way.hidden * n
    if rank == 0:
        return [Op(0.0, (width + outputs) * n, (width + outputs) * n + residual)]
    kept = (width + rank) * n + width * way.mask
    copied = rank * width * n if n < 4 or sum(m.adapted for m in matrices) > 1 else 0
    back = (outputs + width + rank) * n + (2 * width * n if way.mask else 0)
    gradients = 4.0 * rank * (width + outputs) if len(matrices) == 1 else 4.0 * _factors(matrices)
    back += residual
    return [Op(kept, (width + outputs) * n, back, back, copied, outputs * rank * n, gradients)]


def _factors(matrices: Sequence[Matrix]) -> int:
    return sum(m.rank * (m.inputs + m.outputs) for m in matrices)


def apart(matrices: Sequence[Matrix], way: Way, *, shared: bool = False) -> list[Op]:
    """Return the layers of one input, each computed by peft or by the model itself.

    The input is kept once, and not again where it is `shared` with what keeps it anyway.
    """
    found = []
    for number, matrix in enumerate(matrices):
        op = _alone(matrix, way, first=not shared)
        if way.quantised == "8bit" and number == 0:  # bitsandbytes holds it where checkpointing cannot see
            op = replace(op, stays=matrix.inputs * way.number)
        found.append(op)
        shared = shared or matrix.adapted or (way.full and way.number == 4)
    return found


def _alone(m: Matrix, way: Way, *, first: bool) -> Op:
    """Return one layer with its adapter. `first`: what layers share of their input is counted here."""
    n, residual = way.number, way.hidden * way.number
    unpacked = float(way.number * m.size) if way.quantised else 0.0
    input_kept = way.quantised == "8bit" and first  # bitsandbytes keeps what an int8 product reads
    own = m.inputs * n if input_kept else 0.0
    through = (m.inputs + m.outputs) * n + residual
    if way.full:  # in fewer bits each product reads copies of its input and of its weight
        copy = float(n * m.size) if n < 4 else 0.0
        kept = m.inputs * n if first else 0
        return Op(kept, m.outputs * n, through, through, held=copy, once=copy, gradients=4.0 * m.size)
    plain = Op(own, m.outputs * n, through, through, once=unpacked)
    if not m.adapted:
        return plain
    if way.joins_alone:
        return joined((m,), way)[0]
    if way.method != "lora" or way.dora:
        return other_method(m, way, plain, first=first)
    if way.gathered:
        return _gathered(m, way, plain, first=first)
    return low_rank(m, way, plain, first=first)


def _gathered(m: Matrix, way: Way, plain: Op, *, first: bool) -> Op:
    """Return the product of weights that are spread over processes: [W | sB] is made in both passes."""
    n, r = way.number, m.rank
    kept = (m.inputs * (n + way.mask) if way.mask else m.inputs * n if first else 0) + r * n
    once = float(n * m.outputs * (m.inputs + r))
    back = plain.backward + (2 * m.inputs + r) * n
    forward = m.outputs * n + (m.inputs + r) * n
    return Op(kept, forward, back, back, 0.0, once, 4.0 * r * (m.inputs + m.outputs))


def _mlp(layer: Layer, way: Way) -> list[Op]:
    """Return the MLP: a gated one keeps gate, up and what they make, the engine's own gate and up alone."""
    n, wide = way.number, sum(m.outputs for m in layer.wide)
    f = layer.down[0].inputs if layer.down else wide
    gated = wide >= 2 * f
    if joins_mlp(layer, way):
        act = Op(2 * f * n, f * n, 5 * f * n + way.hidden * n)
        return [*joined(layer.wide, way), act, *joined(layer.down, way)]
    residual = way.hidden * n
    if (
        len(layer.wide) == 2
    ):  # gate and up are apart: the first one's gradient waits while the other's is made
        gate, up = apart(layer.wide, way)
        up = replace(up, backward=up.backward + f * n, beside=up.beside + f * n)
        act = Op(f * n, f * n, 2 * f * n + residual)
        product = Op(2 * f * n, f * n, 3 * f * n + residual)
        return [gate, act, up, product, *apart(layer.down, way)]
    kept = (3 if gated else ACTIVATION_KEEPS.get(way.activation, 1)) * f * n
    act = Op(kept, 2 * f * n, (4 if gated else 3) * f * n + residual)
    shared = not gated and way.activation == "relu"  # its output is what it keeps
    return [*apart(layer.wide, way), act, *apart(layer.down, way, shared=shared)]


def experts(way: Way, build: Build, layers: int, beside: bool) -> list[Op]:
    """Return the experts of a layer: each token goes through some, whose inputs and gates are kept.

    A layer that has an MLP of its own beside them (`beside`) is one whose shared expert that is, or one
    without experts: the average over all layers is taken.
    """
    n = way.number
    if not build.experts:
        return []
    share = build.sparse_layers / max(1, layers)
    if beside and not build.shared_expert_size and share < 1:
        return []
    taken, size = build.experts_per_token, build.expert_size
    kept = taken * (way.hidden * n + (4 if build.gated else 2) * size * n) + 4 * build.experts
    return [Op(kept, taken * 2 * size * n, taken * (4 * size + way.hidden) * n)]
