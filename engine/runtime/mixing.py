"""Several adapters as one change of the base: their weighted sum, or factors put together as peft does it.

What sums deltas (linear, cat) stays a sum of each adapter's own change, exact for every method. Everything
else makes new factors A and B of the adapters' for each module, in float32:

| method | A, B from A_i, B_i, where c_i is the weight w_i times the adapter's own scaling                |
|--------|-------------------------------------------------------------------------------------------|
| cat    | A = [c_1 A_1; c_2 A_2 ...], B = [B_1, B_2 ...]                                            |
| svd    | A, B = the largest singular values of the sum of c_i B_i A_i                              |
| linear | A = sum of sign(c_i) sqrt|c_i| A_i, B = sum of sqrt|c_i| B_i                              |
| others | the same of thinned A_i, B_i: the smallest values left out (magnitude_prune, ties), or    |
|        | drawn ones (dare_*); ties and dare_ties also leave out what is against the majority's sign |

huggingface/peft src/peft/tuners/lora/model.py, src/peft/utils/merge_utils.py
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.models.adapter_facts import AdapterFacts
from engine.models.facts import ModelFacts, is_embedding, is_head
from engine.models.merging import DRAWN, Mix
from engine.runtime.changes import Change, Cut, Sum, Weighted, changes_of
from engine.runtime.target import Target

Parts = list[tuple[float, Change]]
Held = list[dict[str, Tensor]]


def changes_of_mix(targets: Sequence[Target], held: Held, mix: Mix) -> dict[str, Change]:
    """Return what a mix of adapters makes of each parameter of the base; `held` are the adapters' tensors."""
    parts = parts_of(targets, held, mix.weights)
    if mix.adapter_only or not mix.sums_deltas:
        return {name: mixed_sum(name, found, mix) for name, found in parts.items()}
    return {name: _summed(found) for name, found in parts.items() if any(times for times, _ in found)}


def parts_of(targets: Sequence[Target], held: Held, weights: Sequence[float]) -> dict[str, Parts]:
    """Return each parameter's changes with their weights, of the adapters that change it."""
    changes = [changes_of(target, tensors) for target, tensors in zip(targets, held, strict=True)]
    _part_head(targets[0].base, [t.adapter for t in targets if t.adapter is not None], changes)
    found: dict[str, Parts] = {}
    for times, each in zip(weights, changes, strict=True):
        for name, change in each.items():
            found.setdefault(name, []).append((times, change))
    return found


def keeps_tied(adapters: Sequence[AdapterFacts]) -> bool:
    """Return whether every adapter that may change the embedding means the head that shares it too."""
    moving = [each for each in adapters if _moves(each, is_embedding) or _moves(each, is_head)]
    return bool(moving) and all(each.numbers.weight_tying for each in moving)


def _moves(adapter: AdapterFacts, kind: Callable[[str], bool]) -> bool:
    names = [*(module.name for module in adapter.modules), *adapter.trained_whole]
    return any(kind(name) for name in names)


def _part_head(
    base: ModelFacts, adapters: Sequence[AdapterFacts], changes: Sequence[dict[str, Change]]
) -> None:
    """Name the head's change where an adapter means it with the embedding's and another does not.

    Both are stored alike, (words, hidden), so that the same change fits both.
    """
    if not base.tied or keeps_tied(adapters):
        return
    head = next((name for each in changes for name in each if is_head(name)), "lm_head.weight")
    for adapter, each in zip(adapters, changes, strict=True):
        table = next((name for name in each if is_embedding(name)), None)
        if adapter.numbers.weight_tying and table is not None:
            meant = each[table]
            each[head] = _unturned(meant) if isinstance(meant, Sum) else meant


def _unturned(embedding: Sum) -> Sum:
    """Return an embedding's change as that of a linear layer which is stored as the embedding is."""
    return Sum(embedding.b.T, embedding.a.T, embedding.scaling, turned=False)


def _summed(parts: Parts) -> Change:
    counted = tuple((times, change) for times, change in parts if times != 0.0)
    if len(counted) == 1 and counted[0][0] == 1.0:
        return counted[0][1]
    return Weighted(counted)


def mixed_sum(name: str, parts: Parts, mix: Mix) -> Sum:
    """Return one product of two factors that a method makes of an adapter's, or several adapters'."""
    sums = [(times, _as_sum(change)) for times, change in parts]
    turned = sums[0][1].turned
    if mix.method == "cat":
        return Sum(*_side_by_side(sums), 1.0, turned)
    if mix.method == "svd":
        # The rank of an adapter is that of its largest module; this one may have less.
        most = mix.svd_rank or max(len(each.a) for _, each in sums)
        return Sum(*_truncated(*_side_by_side(sums), most), 1.0, turned)
    scales = [times * each.scaling for times, each in sums]
    a_times = torch.tensor([math.copysign(math.sqrt(abs(c)), c) for c in scales])
    b_times = torch.tensor([math.sqrt(abs(c)) for c in scales])
    a = _put_together([each.a.float() for _, each in sums], a_times, mix, f"{name} A")
    b = _put_together([each.b.float() for _, each in sums], b_times, mix, f"{name} B")
    return Sum(a, b, 1.0, turned)


def _as_sum(change: Change) -> Sum:
    found = change.sum() if isinstance(change, Cut) else change
    assert isinstance(found, Sum)  # `judge` has refused what is none
    return found


def _side_by_side(sums: Sequence[tuple[float, Sum]]) -> tuple[Tensor, Tensor]:
    a = torch.cat([each.a.float() * (times * each.scaling) for times, each in sums])
    return a, torch.cat([each.b.float() for _, each in sums], 1)


def _truncated(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return factors of the given rank nearest to B A, from the small core between two orthonormal bases."""
    q_b, r_b = torch.linalg.qr(b.double())
    q_a, r_a = torch.linalg.qr(a.double().T)
    u, s, vh = torch.linalg.svd(r_b @ r_a.T, full_matrices=False)
    left, right = q_b @ (u[:, :rank] * s[:rank]), vh[:rank] @ q_a.T
    return right.float(), left.float()


def _put_together(tensors: list[Tensor], times: Tensor, mix: Mix, name: str) -> Tensor:
    """Return a weighted sum of one factor of all adapters, thinned as the method says, by peft's functions.

    dare_* draw from the mix's seed and the factor's name: the same whatever comes before it.
    """
    if mix.method == "linear":
        return (torch.stack(tensors) * times[:, None, None]).sum(0)
    from peft.utils import merge_utils

    thin = getattr(merge_utils, mix.method)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # a density of 1 keeps all: that is meant
        if mix.method in DRAWN:
            torch.manual_seed(seed_of(mix.seed, name))
        mixed: Tensor = thin(tensors, times, mix.density)
    return mixed.to(torch.float32)


def seed_of(seed: int, name: str) -> int:
    """Return the seed of one factor, such as `model.layers.0.mlp.up_proj.weight A`."""
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7], "big")


@dataclass(frozen=True)
class Loss:
    """How far a mix is from the weighted sum of what the adapters add: shares of its length, 0 for equal."""

    relative_error: float
    worst_module: str
    worst_error: float

    def told(self) -> dict[str, object]:
        """Return it as an answer carries it."""
        return {
            "relative_error": self.relative_error,
            "worst_module": self.worst_module,
            "worst_error": self.worst_error,
        }


def loss_of(parts: dict[str, Parts], made: dict[str, Change]) -> Loss:
    """Compare the factors of a mix with the sum they stand for: the norm of the difference over the sum's."""
    total = apart = 0.0
    worst = ("", 0.0)
    for name, found in parts.items():
        a, b = _side_by_side([(times, _as_sum(change)) for times, change in found])
        mixed = _as_sum(made[name])
        whole = _squared(a, b)
        away = _squared(torch.cat([a, mixed.a.float() * -mixed.scaling]), torch.cat([b, mixed.b.float()], 1))
        total, apart = total + whole, apart + away
        share = math.sqrt(away / whole) if whole > 0 else 0.0
        worst = max(worst, (name.removesuffix(".weight"), share), key=lambda pair: pair[1])
    return Loss(math.sqrt(apart / total) if total > 0 else 0.0, *worst)


def _squared(a: Tensor, b: Tensor) -> float:
    """Return the squared Frobenius norm of B A, (out, in), without making it."""
    wide, tall = a.double(), b.double()
    return max(0.0, float(((tall.T @ tall) * (wide @ wide.T)).sum()))
