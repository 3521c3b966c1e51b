"""What the methods beside plain LoRA keep in one adapted layer, as peft 0.21 computes them; bytes a token."""

from __future__ import annotations

from dataclasses import replace

from engine.plan.adapter_size import block_size
from engine.plan.chain import Op
from engine.plan.layout import Matrix
from engine.plan.way import Way


def other_method(m: Matrix, way: Way, plain: Op) -> Op:
    """Return one layer under DoRA, AdaLoRA, VeRA, IA3 or OFT; `plain` is the layer without an adapter."""
    n, b, r = way.number, way.adapter, m.rank
    dropped = m.inputs * (b + way.mask)
    back = plain.backward + m.outputs * (n + 2 * b) + m.inputs * b
    factors = float(b * r * (m.inputs + m.outputs))
    if way.dora:
        return _dora(m, way, plain)
    if way.method == "adalora":  # A with its singular values is made for the product
        kept = (dropped if way.mask else m.inputs * b) + b * r
        return replace(
            plain, kept=plain.kept + kept, backward=back, held=float(b * r * m.inputs), gradients=factors
        )
    if way.method == "vera":  # A and B are drawn once and frozen: what is scaled is kept
        kept = m.inputs * way.mask + b * r + b * m.outputs
        return replace(plain, kept=plain.kept + kept, backward=back, gradients=float(b * (r + m.outputs)))
    if way.method == "ia3":
        kept = max(m.outputs * n, m.inputs * b if m.inputs > m.outputs else 0)
        return replace(plain, kept=plain.kept + kept, backward=back, gradients=float(b * m.outputs))
    # OFT: the turned input, and each block's turn with what it is made of
    size = block_size(m.inputs, way.block)
    trained = float(b * (m.inputs // size) * (size * (size - 1) // 2))
    held = 3.0 * b * m.inputs * size
    return replace(plain, kept=plain.kept + m.inputs * b, backward=back, held=held, gradients=trained)


def _dora(m: Matrix, way: Way, plain: Op) -> Op:
    """DoRA keeps both results, and, with dropout, a float32 copy of the weight it multiplies by again."""
    n, b, r = way.number, way.adapter, m.rank
    kept = (m.inputs * (b + way.mask) if way.mask or way.casts else m.inputs * n) + b * r
    kept += m.outputs * (b if way.mask else n) + m.outputs * b
    held = float(b * m.size) if way.mask and b > n else 0.0
    back = plain.backward + m.outputs * 3 * b
    return Op(
        plain.kept + kept,
        m.outputs * (n + 3 * b),
        back,
        back,
        held,
        plain.once + float(b) * (3 * m.size + m.inputs * m.inputs),
        float(b) * (r * (m.inputs + m.outputs) + m.outputs),
    )
