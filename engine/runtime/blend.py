"""What is put together: adapters on one base, each with its weight, found on the disk and found to fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine import durable
from engine.advice.elsewhere import Merging, into_quantised
from engine.errors import EngineError
from engine.models.adapter_facts import WEIGHTS, AdapterFacts
from engine.models.facts import ModelFacts
from engine.models.merging import Judgement, Mix, judge
from engine.runtime.fitted import fingerprint_base
from engine.runtime.target import Target, resolve_target


@dataclass(frozen=True)
class Blend:
    """Adapters of one base and how they are put together; each target has an adapter and the same base."""

    targets: tuple[Target, ...]
    mix: Mix
    judged: Judgement

    @property
    def base(self) -> ModelFacts:
        """Return the base that all share."""
        return self.targets[0].base

    @property
    def adapters(self) -> list[AdapterFacts]:
        """Return the adapters in their order."""
        return [target.adapter for target in self.targets if target.adapter is not None]

    @property
    def name(self) -> str:
        """Return the names of all as one."""
        return " + ".join(target.name for target in self.targets)

    @property
    def is_one_as_trained(self) -> bool:
        """Return whether it is a single adapter that counts once, summed: the base with it, as trained."""
        return len(self.targets) == 1 and self.mix.sums_deltas and self.mix.weights == (1.0,)

    def sources(self) -> dict[str, Any]:
        """Return where base and adapters lie and which they are, for a later comparison."""
        adapters = [
            {
                "name": target.name,
                "path": str(adapter.path),
                "method": adapter.label,
                "r": adapter.r,
                "sha256": durable.sha256_file(adapter.path / WEIGHTS),
                "weight": weight,
            }
            for target, adapter, weight in zip(self.targets, self.adapters, self.mix.weights, strict=True)
        ]
        base = {
            "name": self.base.name,
            "path": str(self.base.path),
            "fingerprint": fingerprint_base(self.base),
        }
        return {"base": base, "adapters": adapters, "mix": self.mix.told()}


def resolve_blend(adapters: Sequence[Path], mix: Mix, base: str | None = None) -> Blend:
    """Find adapters and their base; `base` overrides what they name.

    Raises EngineError MODEL-05 for what cannot be put together so, MODEL-07 for what does not fit.
    """
    if not adapters:
        raise EngineError("No adapter is named.", "Name one or more.", "REC-01", field="adapters")
    targets = [_adapted(resolve_target(str(path), base)) for path in adapters]
    first = targets[0].base
    if len({fingerprint_base(target.base) for target in targets}) > 1:
        raise EngineError(
            "These adapters cannot be summed directly: their bases differ.",
            "Use adapters of one base.",
            "MODEL-05",
            file=str(adapters[0]),
        )
    refuse_quantized(first)
    targets = [replace(target, base=first) for target in targets]
    found = [target.adapter for target in targets if target.adapter is not None]
    judged = judge(
        found, first, adapter_only=mix.adapter_only, svd_rank=mix.svd_rank, any_base=base is not None
    )
    if len(targets) > 1 or mix.adapter_only or not mix.sums_deltas:
        judged.refuse(mix.method, str(adapters[0]))
    return Blend(tuple(targets), mix, judged)


def _adapted(target: Target) -> Target:
    if target.adapter is None:
        raise EngineError(
            f"{target.name} is a whole model: there is nothing to merge.",
            "Use its folder as it is.",
            "MODEL-05",
            file=str(target.base.path),
        )
    return target


def refuse_quantized(base: ModelFacts) -> None:
    """Raise EngineError MODEL-05 for a quantised base (rule R44)."""
    found = into_quantised(Merging(base.quantization, ()))
    if found is not None:
        raise EngineError(
            f"{base.name} is quantised ({base.quantization}); adapters are never merged into it.",
            f"{found.message} Name it with --base.",
            "MODEL-05",
            file=str(base.path),
        )
