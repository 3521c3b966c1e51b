"""What each method makes of a weight W of the base, in float32, a block of rows at a time.

| method              | merged weight (out, in)                                                            |
|---------------------|------------------------------------------------------------------------------------|
| LoRA                | W + s B A, with s = alpha / r, or alpha / sqrt(r) for rsLoRA                        |
| DoRA                | m * V / |V| for V = W + s B A, the norm over each output's row                      |
| AdaLoRA             | W + s B diag(E) A, with s = alpha / (first rank + 1e-5)                             |
| VeRA                | W + diag(b) B diag(d) A, with A and B cut from the shared matrices                  |
| IA3                 | W diag(l) before the layer, diag(l) W behind it; its bias times l                   |
| OFT                 | W R', with R block diagonal and built from skew matrices by Cayley's transform      |
| trained whole       | the trained tensor                                                                 |

The formulas are those of peft's layers: huggingface/peft src/peft/tuners/{lora,adalora,vera,ia3,oft}/layer.py
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.models.adapter_facts import AdapterFacts, Numbers
from engine.models.adapter_tensors import PEFT_PREFIX, VERA_SHARED, AdapterModule, block_size
from engine.models.facts import is_head
from engine.models.fit import vera_shapes
from engine.runtime.target import Target


class Change:
    """What is made of one tensor. `all_rows` says that a block must be the whole tensor."""

    all_rows = False

    def rows(self, weight: Tensor, start: int) -> Tensor:
        """Return the changed rows for float32 rows (n, width) of the stored tensor that begin at `start`."""
        raise NotImplementedError

    def delta(self, weight: Tensor, start: int) -> Tensor:
        """Return what is added to such rows; a new tensor."""
        return self.rows(weight, start) - weight


@dataclass(frozen=True)
class Sum(Change):
    """Add scaling * B A; `turned` for weights that are stored (in, out), embeddings among them."""

    a: Tensor
    b: Tensor
    scaling: float
    turned: bool

    def rows(self, weight: Tensor, start: int) -> Tensor:
        return self.delta(weight, start).add_(weight)

    def delta(self, weight: Tensor, start: int) -> Tensor:
        stop = start + weight.shape[0]
        if self.turned:
            update = self.a[:, start:stop].float().T @ self.b.float().T
        else:
            update = self.b[start:stop].float() @ self.a.float()
        return update.mul_(self.scaling)


@dataclass(frozen=True)
class Cut(Change):
    """Add diag(b) B diag(d) A, with A (r, in) and B (out, r) cut from what all modules share: VeRA."""

    shared: tuple[Tensor, Tensor]
    d: Tensor
    b: Tensor
    inner: int
    turned: bool

    def rows(self, weight: Tensor, start: int) -> Tensor:
        return self.sum().rows(weight, start)

    def delta(self, weight: Tensor, start: int) -> Tensor:
        return self.sum().delta(weight, start)

    def sum(self) -> Sum:
        """Return it as a sum with factors of its own; made when asked for, since it is large."""
        a, b = self.shared[0][:, : self.inner], self.shared[1][: len(self.b)]
        return Sum(self.d.float()[:, None] * a, self.b.float()[:, None] * b, 1.0, self.turned)


@dataclass(frozen=True)
class Directed(Change):
    """Give the sum's columns the trained length `magnitude` (out): DoRA."""

    sum: Sum
    magnitude: Tensor

    @property
    def all_rows(self) -> bool:  # type: ignore[override]
        return self.sum.turned

    def rows(self, weight: Tensor, start: int) -> Tensor:
        total = self.sum.rows(weight, start)
        lengths = torch.linalg.norm(total, dim=0 if self.sum.turned else 1)
        lengths = lengths.clamp_min(torch.finfo(torch.float32).tiny)  # a row of zeros stays one
        if self.sum.turned:
            return total * (self.magnitude.float() / lengths)
        magnitude = self.magnitude[start : start + weight.shape[0]].float()
        return total * (magnitude / lengths)[:, None]


@dataclass(frozen=True)
class Scale(Change):
    """Multiply by a vector, along the rows' own index or along their width: IA3."""

    factor: Tensor
    of_rows: bool

    def rows(self, weight: Tensor, start: int) -> Tensor:
        factor = self.factor.float()
        return weight * (factor[start : start + weight.shape[0], None] if self.of_rows else factor)


@dataclass(frozen=True)
class Rotate(Change):
    """Turn the inputs by square blocks (blocks, b, b): OFT. A layer answers W (x R) = (W R') x.

    The rotations are made for each block of rows: kept for all modules they would be as large as the model.
    """

    values: Tensor
    numbers: Numbers

    def rows(self, weight: Tensor, start: int) -> Tensor:
        turned = rotations(self.values, self.numbers)
        parts = weight.view(weight.shape[0], -1, turned.shape[-1])
        blocks = turned.expand(parts.shape[1], -1, -1)
        return torch.einsum("nrk,rck->nrc", parts, blocks).reshape(weight.shape)


@dataclass(frozen=True)
class Replace(Change):
    """Put the trained tensor in place."""

    tensor: Tensor

    def rows(self, weight: Tensor, start: int) -> Tensor:
        return self.tensor[start : start + weight.shape[0]].float().reshape(weight.shape)


@dataclass(frozen=True)
class AddBias(Change):
    """Add the scaled bias that stands beside a LoRA's B."""

    vector: Tensor
    scaling: float

    def rows(self, weight: Tensor, start: int) -> Tensor:
        return weight + self.delta(weight, start)

    def delta(self, weight: Tensor, start: int) -> Tensor:
        return self.vector[start : start + weight.shape[0], None].float() * self.scaling


@dataclass(frozen=True)
class Weighted(Change):
    """Add what several changes would each add, so many times."""

    parts: tuple[tuple[float, Change], ...]

    @property
    def all_rows(self) -> bool:  # type: ignore[override]
        return any(change.all_rows for _, change in self.parts)

    def rows(self, weight: Tensor, start: int) -> Tensor:
        total = torch.zeros_like(weight)
        for times, change in self.parts:
            total.add_(change.delta(weight, start), alpha=times)
        return total.add_(weight)


def is_scale(change: Change) -> bool:
    """Return whether a change only multiplies, so that it makes nothing of what is not there."""
    if isinstance(change, Weighted):
        return all(is_scale(each) for _, each in change.parts)
    return isinstance(change, Scale)


def is_same(head: Change, embedding: Change) -> bool:
    """Return whether head and embedding are changed alike, so that they may go on sharing one weight."""
    if head is embedding:
        return True
    if isinstance(head, Weighted) and isinstance(embedding, Weighted):
        pairs = zip(head.parts, embedding.parts, strict=False)
        alike = (x[0] == y[0] and is_same(x[1], y[1]) for x, y in pairs)
        return len(head.parts) == len(embedding.parts) and all(alike)
    if isinstance(head, Replace) and isinstance(embedding, Replace):
        return bool(torch.equal(head.tensor, embedding.tensor))
    if isinstance(head, Sum) and isinstance(embedding, Sum) and not head.turned and embedding.turned:
        turned = ((head.a, embedding.b.T), (head.b, embedding.a.T))
        return head.scaling == embedding.scaling and all(torch.equal(x, y) for x, y in turned)
    return False


def changes_of(target: Target, tensors: dict[str, Tensor]) -> dict[str, Change]:
    """Return what is made of each parameter of the base, by its name in the model."""
    adapter = target.adapter
    assert adapter is not None
    changes: dict[str, Change] = {}
    shared = _vera_matrices(target, tensors) if adapter.method == "vera" else None
    for module in adapter.modules:
        turned = module.embedding or (target.base.fan_in_fan_out and not is_head(module.name))
        weight, bias = f"{module.name}.weight", f"{module.name}.bias"
        if adapter.method == "lora":
            changes[weight] = _lora(adapter, module, tensors, turned)
            if module.bias:
                vector = tensors[_key(module, "lora_B.bias")]
                changes[bias] = AddBias(vector, scaling_of(adapter, module))
        elif adapter.method == "adalora":
            changes[weight] = _adalora(adapter.numbers, module, tensors, turned)
        elif shared is not None:
            changes[weight] = _vera(target, module, tensors, shared, turned)
        elif adapter.method == "ia3":
            before = module.in_features > 0
            factor = tensors[_key(module, "ia3_l")].flatten()
            changes[weight] = Scale(factor, of_rows=before == turned)
            if not before:
                changes[bias] = Scale(factor, of_rows=True)
        else:
            changes[weight] = Rotate(tensors[_key(module, "oft_R.weight")], adapter.numbers)
    for name in adapter.trained_whole:
        changes[name] = Replace(tensors[whole_key(name, tensors)])
    return changes


def scaling_of(adapter: AdapterFacts, module: AdapterModule) -> float:
    """Return alpha / r, or alpha / sqrt(r) for a rank-stabilised adapter."""
    return module.alpha / (module.r**0.5 if adapter.use_rslora else module.r)


def whole_key(name: str, tensors: dict[str, Tensor]) -> str:
    """Return under which key a tensor that was trained whole lies; biases of adapted layers lie deeper."""
    module, _, leaf = name.rpartition(".")
    found = (f"{PEFT_PREFIX}{name}", f"{PEFT_PREFIX}{module}.base_layer.{leaf}", name)
    return next(key for key in found if key in tensors)


def _key(module: AdapterModule, part: str) -> str:
    return f"{PEFT_PREFIX}{module.name}.{part}"


def _lora(adapter: AdapterFacts, module: AdapterModule, tensors: dict[str, Tensor], turned: bool) -> Change:
    parts = (
        ("lora_embedding_A", "lora_embedding_B") if module.embedding else ("lora_A.weight", "lora_B.weight")
    )
    a, b = (tensors[_key(module, part)] for part in parts)
    total = Sum(a, b, scaling_of(adapter, module), turned)
    return Directed(total, tensors[_key(module, "lora_magnitude_vector")]) if module.dora else total


def _adalora(numbers: Numbers, module: AdapterModule, tensors: dict[str, Tensor], turned: bool) -> Change:
    a, e, b = (tensors[_key(module, part)].float() for part in ("lora_A", "lora_E", "lora_B"))
    return Sum(a * e, b, module.alpha / (numbers.init_r + 1e-5), turned)


def _vera(
    target: Target,
    module: AdapterModule,
    tensors: dict[str, Tensor],
    shared: tuple[Tensor, Tensor],
    turned: bool,
) -> Change:
    d, b = (tensors[_key(module, part)] for part in ("vera_lambda_d", "vera_lambda_b"))
    inner = next(
        (x.in_features for x in target.base.linears if x.name == module.name), target.base.hidden_size
    )
    return Cut(shared, d, b, inner, turned)


def _vera_matrices(target: Target, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return VeRA's A and B from the file, or drawn again from the recorded key as peft draws them."""
    if all(name in tensors for name in VERA_SHARED):
        return tensors[VERA_SHARED[0]].float(), tensors[VERA_SHARED[1]].float()
    assert target.adapter is not None
    generator = torch.Generator("cpu").manual_seed(target.adapter.numbers.prng_key)
    a, b = (
        torch.empty(shape).uniform_(-math.sqrt(6 / shape[1]), math.sqrt(6 / shape[1]), generator=generator)
        for shape in vera_shapes(target.adapter, target.base)
    )
    return a, b


def constrained(values: Tensor, numbers: Numbers) -> Tensor:
    """Keep each skew matrix Q within eps / sqrt(blocks) of nothing (COFT); Q holds its values twice."""
    limit = numbers.eps / math.sqrt(values.shape[0])
    norm = math.sqrt(2) * torch.linalg.norm(values.float(), dim=1, keepdim=True)
    return torch.where(norm <= limit, values.float(), limit * values.float() / norm)


def rotations(values: Tensor, numbers: Numbers) -> Tensor:
    """Return the rotations (blocks, b, b) of upper triangles (blocks, b (b - 1) / 2).

    R = (I + Q)^-1 (I - Q) exactly, or the first terms of its series in -Q as peft adds them up:
    I + 2 Q + 2 Q^2 + ... + Q^n.
    """
    size = block_size(values.shape[1]) or 1
    rows, columns = torch.triu_indices(size, size, 1)
    q = torch.zeros(values.shape[0], size, size)
    q[:, rows, columns] = constrained(values, numbers) if numbers.coft else values.float()
    q = q - q.mT
    eye = torch.eye(size).expand_as(q)
    if not numbers.cayley_neumann:
        return torch.linalg.solve(eye + q, eye - q, left=False)
    last = max(3, numbers.terms - 1) if numbers.terms > 2 else numbers.terms - 1
    turned, power = eye.clone(), q
    for exponent in range(1, last + 1):
        # The series' last term counts once, where three terms or more are asked for.
        turned += power if exponent == last and numbers.terms > 2 else 2 * power
        power = power @ q
    return turned
