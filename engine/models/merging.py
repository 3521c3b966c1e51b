"""Which adapters go together, by which method, and what comes of it: told before anything is loaded.

| method                    | into a base                            | into a new adapter                    |
|---------------------------|----------------------------------------|---------------------------------------|
| linear                    | W + sum of w_i d_i, of any adapters    | peft's: sums A and B apart, one rank  |
| cat                       | the same sum, of products B A          | the same sum, exact; the ranks add up |
| svd                       | what one rank can hold of the sum      | the same                              |
| ties, dare_*, magnitude_* | A and B thinned, then summed apart     | the same, as in peft                  |

d_i is what adapter i adds to the weight W. (B1 + B2) (A1 + A2) is not B1 A1 + B2 A2: a linear adapter is no
linear merge; how far it is from it is measured. Of adapters of one method linear asks for one rank in both:
cat is the same sum at any ranks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import EngineError
from engine.models.adapter_facts import MAX_RANK, AdapterFacts
from engine.models.facts import DTYPE_BYTES, ModelFacts
from engine.models.fit import check_fit, refuse_unready, sizes_of
from engine.models.library import STARTER, resolve_model

METHODS = ("linear", "cat", "svd", "ties", "dare_linear", "dare_ties", "magnitude_prune")
THINNING = ("ties", "dare_linear", "dare_ties", "magnitude_prune")
DRAWN = ("dare_linear", "dare_ties")
DENSITY = 0.5
PROCESS_BYTES = 330 << 20  # Python with torch, measured
BLOCK_BYTES = 96 << 20  # a block of rows as it is read, in float32, its update, and what waits to be written
Why = tuple[str, str]  # what stands against a method, and the way out


@dataclass(frozen=True)
class Mix:
    """How adapters are put together: a weight each, the method, and its numbers.

    `density` is the share of values that ties, dare_* and magnitude_prune keep; `seed` draws those of dare_*;
    `svd_rank` is svd's rank, None for the largest among the adapters. Raises EngineError REC-01.
    """

    weights: tuple[float, ...]
    method: str = "linear"
    density: float = DENSITY
    seed: int = 0
    svd_rank: int | None = None
    adapter_only: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise _wrong("method", f"There is no method {self.method}.", f"Use {', '.join(METHODS)}.")
        if not all(math.isfinite(weight) and abs(weight) <= 1e4 for weight in self.weights):
            raise _wrong("weights", "A weight is no number or beyond 10,000.", "Use numbers such as 1,0.5.")
        if not 0 < self.density <= 1:
            raise _wrong(
                "density", f"A density of {self.density:g} is not allowed.", "Use 0 to 1, such as 0.5."
            )
        if not 0 <= self.seed < 1 << 63:
            raise _wrong("seed", f"The seed {self.seed} is not allowed.", "Use a whole number from 0.")
        if self.svd_rank is not None and not 1 <= self.svd_rank <= MAX_RANK:
            raise _wrong("svd_rank", f"A rank of {self.svd_rank} is not allowed.", f"Use 1 to {MAX_RANK}.")

    @property
    def sums_deltas(self) -> bool:
        """Return whether the result is the weighted sum of what the adapters add."""
        alone = len(self.weights) == 1
        return self.method == "cat" or (self.method == "linear" and (alone or not self.adapter_only))

    def told(self) -> dict[str, object]:
        """Return what a made folder records of it: only the numbers that had a say."""
        found: dict[str, object] = {"method": self.method, "weights": list(self.weights)}
        if self.method in THINNING:
            found["density"] = self.density
        if self.method in DRAWN:
            found["seed"] = self.seed
        if self.method == "svd":
            found["svd_rank"] = self.svd_rank
        if self.adapter_only:
            found["adapter_only"] = True
        return found


def _wrong(field: str, message: str, hint: str) -> EngineError:
    return EngineError(message, hint, "REC-01", field=field)


def make_mix(
    adapters: int, weights: Sequence[float] | None, method: str = "linear", **numbers: object
) -> Mix:
    """Return the Mix of so many adapters; without weights each counts once. Raises EngineError REC-01."""
    if weights is not None and len(weights) != adapters:
        what = f"{adapters} adapter{'s' if adapters > 1 else ''} and {len(weights)} weights were given."
        raise _wrong("weights", what, "Give each adapter one weight, such as 1,0.5.")
    given = tuple(1.0 for _ in range(adapters)) if weights is None else tuple(float(w) for w in weights)
    return Mix(given, method, **numbers)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Part:
    """One adapter of a merge: its name, the base it names, its method, its rank, the rank of each module.

    `factors`: what it adds is a product B A; `whole`: it also holds tensors that were trained whole.
    """

    name: str
    base: str
    method: str = "lora"
    r: int = 0
    label: str = ""
    factors: bool = True
    whole: bool = False
    ranks: Mapping[str, int] = field(default_factory=dict)


def part_of(adapter: AdapterFacts, base: str | None = None) -> Part:
    """Return what of an adapter decides whether it goes together with others."""
    return Part(
        name=adapter.name,
        base=adapter.base if base is None else base,
        method=adapter.method,
        r=adapter.r,
        label=adapter.label,
        factors=adapter.method in ("lora", "adalora", "vera") and not adapter.use_dora,
        whole=bool(adapter.trained_whole) or any(module.bias for module in adapter.modules),
        ranks={module.name: module.r for module in adapter.modules},
    )


def why_not(method: str, parts: Sequence[Part], adapter_only: bool = False) -> Why | None:
    """Return why adapters cannot be put together by a method and what can be done, or None where they can."""
    if len({part.base for part in parts}) > 1:
        return "their bases differ", "Use adapters of one base."
    sums = method == "linear" and not adapter_only
    odd = next((part for part in parts if not part.factors), None)
    if odd is not None and not sums:
        words = f"what {odd.name} ({odd.label or odd.method}) adds is no product of two factors"
        return words, "Merge into the base with linear."
    whole = next((part for part in parts if part.whole), None)
    if whole is not None and (adapter_only or method not in ("linear", "cat")):
        return f"{whole.name} holds tensors that were trained whole", "Merge into the base with linear."
    one_kind = len({(part.method, part.factors) for part in parts}) == 1
    if method in THINNING or (method == "linear" and (adapter_only or one_kind)):
        ranks = _differing_ranks(parts)
        if ranks and any(part.factors for part in parts):
            return f"their ranks are {ranks}", "Use cat, which is the exact sum, or svd."
    return None


def _differing_ranks(parts: Sequence[Part]) -> str:
    """Return the ranks that forbid to sum A and B: the adapters', or those of a shared module."""
    found = {part.r for part in parts}
    if len(found) == 1:
        names = {name for part in parts for name in part.ranks}
        each = [{part.ranks[name] for part in parts if name in part.ranks} for name in names]
        found = next((ranks for ranks in each if len(ranks) > 1), found)
    return ", ".join(str(rank) for rank in sorted(found)) if len(found) > 1 else ""


@dataclass(frozen=True)
class Judgement:
    """What becomes of some adapters by each method.

    `methods`: why a method cannot be used, None where it can; `ranks`: of each adapter; `resulting_rank`: of
    the new adapter, None where there is none; `bytes`: of its file, or of the merged weights;
    `memory_bytes`: to merge; `check_bytes`: for the comparison in float32 that follows.
    """

    methods: dict[str, str | None]
    shared_base: bool
    ranks: tuple[int, ...]
    resulting_rank: dict[str, int | None]
    bytes: dict[str, int]
    memory_bytes: int
    check_bytes: int

    def refuse(self, method: str, file: str) -> None:
        """Raise EngineError MODEL-05 when a method cannot be used, with the reason and the way out."""
        reason = self.methods[method]
        if reason is not None:
            words, _, way_out = reason.rpartition(". ")
            how = "summed directly" if method == "linear" else f"put together by {method}"
            raise EngineError(f"These adapters cannot be {how}: {words}.", way_out, "MODEL-05", file=file)


def judge(
    adapters: Sequence[AdapterFacts],
    base: ModelFacts | None = None,
    *,
    adapter_only: bool = False,
    svd_rank: int | None = None,
    dtype: str | None = None,
    any_base: bool = False,
) -> Judgement:
    """Say what can be made of adapters (and on which base) by each method.

    `any_base` is for a base that a person named: what the adapters name as theirs then counts no more, only
    shapes do. Raises EngineError MODEL-05 for an adapter that cannot be used at all, MODEL-07 for one that
    does not fit the base.
    """
    for adapter in adapters:
        refuse_unready(adapter)
        if base is not None:
            check_fit(adapter, base)
    parts = [part_of(each, "" if any_base else _key(each.base)) for each in adapters]
    found = {method: why_not(method, parts, adapter_only) for method in METHODS}
    ranks = {method: _rank(method, parts, svd_rank) if not found[method] else None for method in METHODS}
    sizes = [sizes_of(each, base) if base is not None else _own_sizes(each) for each in adapters]
    places = {name: size for each in sizes for name, size in each.items() if size is not None}
    wide = sum(inner + outer for inner, outer in places.values())
    width = DTYPE_BYTES.get(dtype or (base.dtype if base else "float32"), 4)
    whole = 0 if base is None else int(base.parameters * width)
    made = {m: int(4 * (ranks[m] or 0) * wide) if adapter_only else whole for m in METHODS}
    factors = sum(4 * each.r * wide for each in adapters if each.method != "full")
    return Judgement(
        methods={method: None if why is None else f"{why[0]}. {why[1]}" for method, why in found.items()},
        shared_base=len({part.base for part in parts}) == 1,
        ranks=tuple(each.r for each in adapters),
        resulting_rank=ranks,
        bytes=made,
        memory_bytes=PROCESS_BYTES + BLOCK_BYTES + 2 * int(factors),
        check_bytes=PROCESS_BYTES + (0 if base is None else int(base.parameters * 4 * 1.2)),
    )


def _key(recorded: str) -> str:
    """Return a base as one name for one folder, whichever way an adapter names it."""
    if Path(recorded).name == STARTER:
        return STARTER
    try:
        return str(resolve_model(recorded).resolve()) if recorded else ""
    except EngineError:
        return recorded


def _rank(method: str, parts: Sequence[Part], svd_rank: int | None) -> int | None:
    """Return the rank of the adapter that a method makes; None where no adapter can hold what it makes."""
    if not all(part.factors for part in parts):
        return None
    names = {name for part in parts for name in part.ranks}
    most = max((part.r for part in parts), default=0)
    added = max((sum(part.ranks.get(name, 0) for part in parts) for name in names), default=most)
    if method == "svd":
        return min(svd_rank or most, added)
    one_rank = method in THINNING or (method == "linear" and len({part.r for part in parts}) == 1)
    return most if one_rank else added


def _own_sizes(adapter: AdapterFacts) -> dict[str, tuple[int, int] | None]:
    return {module.name: (module.in_features, module.out_features) for module in adapter.modules}
