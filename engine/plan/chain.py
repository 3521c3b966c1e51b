"""Memory along a chain of operations: what each keeps for its backward pass, and what it needs meanwhile.

A layer is a list of `Op`s in the order of its forward pass. What is alive rises through the forward pass and
falls through the backward one; the peak is somewhere on the way, and where it is follows from the sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Op:
    """One operation of a layer: bytes for each token, the last three whatever the tokens.

    `kept` lives from its forward to its backward pass; `forward` and `backward` is what lives beside that
    while it computes. `held` is kept whatever the tokens, `once` needed for a moment in either pass while
    `beside` for each token is there, `gradients` those of its trained values.
    `stays` is the part of `kept` that checkpointing cannot let go. `begin` is what the forward pass alone
    needs for a moment whatever the tokens, while `passing` for each token is there.
    """

    kept: float = 0.0
    forward: float = 0.0
    backward: float = 0.0
    beside: float = 0.0
    held: float = 0.0
    once: float = 0.0
    gradients: float = 0.0
    stays: float = 0.0
    begin: float = 0.0
    passing: float = 0.0


@dataclass(frozen=True)
class Block:
    """A layer with its tokens, in bytes: what it keeps, and its peaks above what was alive before it."""

    kept: float
    forward: float
    backward: float
    gradients: float
    stays: float = 0.0  # of what it keeps, that checkpointing cannot let go


def measure(ops: Sequence[Op], tokens: float, *, resident: bool) -> Block:
    """Return what a layer keeps and needs; gradients that are `resident` already are only added to."""
    live = most_forward = 0.0
    for op in ops:
        live += op.kept * tokens + op.held
        needed = max(op.forward * tokens, op.once, op.begin + op.passing * tokens)
        most_forward = max(most_forward, live + needed)
    kept, most_backward, made = live, live, 0.0
    for op in reversed(ops):
        needed = max(op.backward * tokens, op.beside * tokens + op.once)
        most_backward = max(most_backward, live + needed + op.gradients + made)
        live -= op.kept * tokens + op.held
        made += 0.0 if resident else op.gradients
    stays = sum(op.stays for op in ops) * tokens
    return Block(kept, most_forward, most_backward, sum(op.gradients for op in ops), stays)


def from_first_trained(ops: Sequence[Op]) -> list[Op]:
    """Return the operations of the first layer that trains: no gradient goes further back than that."""
    start = next((n for n, op in enumerate(ops) if op.gradients), 0)
    before = [replace(op, kept=0.0, held=0.0, backward=0.0, beside=0.0) for op in ops[:start]]
    return [*before, *ops[start:]]


@dataclass(frozen=True)
class Peak:
    """The fullest moment of the layers: what they keep, what is needed beside it, gradients made so far."""

    activations: float
    workspace: float
    gradients: float

    @property
    def total(self) -> float:
        """Return all of it, in bytes."""
        return self.activations + self.workspace + self.gradients


def through(
    blocks: Sequence[Block],
    inputs: float,
    *,
    checkpointing: bool,
    resident: bool,
    made: float = 0.0,
    passing: float = 0.0,
) -> Peak:
    """Return the fullest moment of the forward and the backward pass over all layers.

    With `checkpointing` a layer keeps its input alone, `inputs` bytes, and is computed again before its
    backward pass, but for what is out of its reach. Gradients `made` before the layers' lie there already.
    While a layer computes forward, `passing` bytes are there that nothing keeps: the residual and the norm's
    result. Beside them are the first input of all, the layer's own, or, where it is computed again, the
    gradient that comes in.
    """
    kept = [inputs + block.stays if checkpointing else block.kept for block in blocks]
    alive, most = sum(kept), -1.0
    fullest = (0.0, 0.0, 0.0)
    if blocks:
        around = passing + (0.0 if checkpointing else inputs + passing / 2)
        fullest = (alive - kept[-1], blocks[-1].forward + around, 0.0)
        most = sum(fullest)
    for block, own in zip(reversed(blocks), reversed(kept), strict=True):
        again = block.forward + inputs + passing
        needed = max(again, block.backward) if checkpointing else block.backward - own
        if alive + needed + made > most:
            most, fullest = alive + needed + made, (alive, needed, made)
        alive -= own
        made += 0.0 if resident else block.gradients
    return Peak(*fullest)
