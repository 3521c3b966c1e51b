"""What an adapter keeps beside one frozen layer, as peft 0.21 computes it; bytes a token.

Every formula follows peft's forward pass line by line: which tensors its graph needs again, and which are
there for a moment while gradients come back through it. An input in the adapter's own width is shared by the
layers that read it: the `first` of them counts it.
"""

from __future__ import annotations

from dataclasses import replace

from engine.plan.adapter_size import block_size
from engine.plan.chain import Op
from engine.plan.layout import Matrix
from engine.plan.way import Way


def other_method(m: Matrix, way: Way, plain: Op, *, first: bool) -> Op:
    """Return one layer under DoRA, AdaLoRA, VeRA, IA3 or OFT; `plain` is the layer without an adapter."""
    b, r = way.adapter, m.rank
    if way.dora:
        return _dora(m, way, plain, first=first)
    if way.method == "adalora":  # A with its singular values is made for the product
        op = low_rank(m, way, plain, first=first)
        return replace(op, held=float(b * r * m.inputs), gradients=op.gradients + b * r)
    if way.method == "vera":  # A and B are drawn once and frozen: what is scaled is kept
        private = m.inputs * way.mask + b * (r + m.outputs)
        op = _beside(m, way, plain, private, 3 * b if way.casts else 2 * b)
        there = m.inputs * (way.number + (b if way.casts else 0))
        dropped = (m.inputs - m.outputs) * b if way.mask else 0
        forward = m.outputs * way.number + there + max(dropped, m.outputs * b)
        return replace(op, forward=forward, gradients=float(b * (r + m.outputs)))
    return _scaled(m, way, plain) if way.method == "ia3" else _turned(m, way, plain, first=first)


def low_rank(m: Matrix, way: Way, plain: Op, *, first: bool) -> Op:
    """Return one layer with A and B beside it: kept are the input, or what dropout left of it, and Ax."""
    held_already = plain.kept > 0  # by bitsandbytes
    lora = _input(m, way, first=first and not held_already) + way.adapter * m.rank
    op = _beside(m, way, plain, lora, 2 * way.adapter)
    return replace(op, gradients=float(way.adapter) * m.rank * (m.inputs + m.outputs))


def _input(m: Matrix, way: Way, *, first: bool) -> float:
    """Return what is kept of a layer's input for its adapter."""
    if way.mask:
        return m.inputs * (way.adapter + way.mask)
    if way.casts:
        return m.inputs * way.adapter
    return m.inputs * way.number if first else 0


def _passing(m: Matrix, way: Way) -> float:
    """Return what is there of a layer's input while it computes, and not kept: itself, and a wider copy."""
    wider = m.inputs * way.adapter if way.casts and way.mask else 0
    return wider + (m.inputs * way.number if way.casts or way.mask else 0)


def _residual(m: Matrix, way: Way) -> float:
    """Return the gradient that waits beside a layer's own: none where the two are one."""
    return 0.0 if m.adds and way.adds_plainly else float(way.hidden * way.number)


def _beside(m: Matrix, way: Way, plain: Op, kept: float, wide: float) -> Op:
    """Return a layer with an adapter beside it, whose results are added up.

    Backward: the output's gradient, with `wide` bytes a value of wider and scaled copies of it; then the
    adapter's gradient to the input; then, with what was kept let go, that and the base's and their sum.
    """
    n = way.number
    scaled = m.outputs * (n + wide)
    to_input = m.outputs * n + m.inputs * way.adapter
    beside = m.outputs * n + 3 * m.inputs * n - kept
    residual = _residual(m, way)
    forward = m.outputs * (n + 2 * way.adapter) + _passing(m, way)
    back = max(scaled, to_input, beside) + residual
    return replace(
        plain, kept=plain.kept + kept, forward=forward, backward=back, beside=max(0.0, beside + residual)
    )


def _scaled(m: Matrix, way: Way, plain: Op) -> Op:
    """IA3 keeps what it scales: a layer's output, of the MLP's last layer the input, in its own width.

    Backward: the gradient in that width, the one to what is scaled, and the product to be summed up.
    """
    n, b, residual = way.number, way.adapter, _residual(m, way)
    if m.last:
        back = max((m.inputs + m.outputs) * n, 3 * b * m.inputs) + residual
        kept, scaled = m.inputs * b, m.inputs
    else:
        kept, scaled = m.outputs * n, m.outputs
        back = max(3 * b * m.outputs, m.outputs * n + 3 * m.inputs * n - kept) + residual
    return replace(
        plain,
        kept=plain.kept + kept,
        forward=m.outputs * n + scaled * b,
        backward=back,
        beside=m.outputs * n + residual,
        gradients=float(b * scaled),
    )


def _turned(m: Matrix, way: Way, plain: Op, *, first: bool) -> Op:
    """OFT keeps the input, and each block's turn with three matrices that it is made of."""
    n, b, residual = way.number, way.adapter, _residual(m, way)
    size = block_size(m.inputs, way.block)
    trained = float(b * (m.inputs // size) * (size * (size - 1) // 2))
    others = 0 if m.last else m.inputs * n  # what other layers of this input have given back
    return replace(
        plain,
        kept=plain.kept + _input(m, way, first=first),
        forward=2 * m.inputs * b + (m.inputs * n if way.casts else 0),
        backward=max((m.inputs + m.outputs) * n, 2 * b * m.inputs) + others + residual,
        beside=(m.inputs + m.outputs) * n + residual,
        held=4.0 * b * m.inputs * size,
        gradients=trained,
    )


def _dora(m: Matrix, way: Way, plain: Op, *, first: bool) -> Op:
    """DoRA keeps both results, and, with dropout, the weight in its width, which it multiplies by again.

    Its sizes come of BA, made by way of an identity matrix, scaled and added to the weight in that width.
    """
    n, b, r = way.number, way.adapter, m.rank
    kept = _input(m, way, first=first) + b * r
    kept += m.outputs * (b if way.mask else n) + m.outputs * b
    held = float(b * m.size) if way.mask and b > n else 0.0
    matrices = 4 if way.casts else 3
    back = plain.backward + m.outputs * 3 * b
    return replace(
        plain,
        kept=plain.kept + kept,
        forward=m.outputs * (n + 3 * b) + _passing(m, way),
        backward=back,
        beside=back,
        held=held,
        begin=plain.once + float(b) * (matrices * m.size + m.inputs * m.inputs) - held,
        passing=_passing(m, way),
        gradients=float(b) * (r * (m.inputs + m.outputs) + m.outputs),
    )
