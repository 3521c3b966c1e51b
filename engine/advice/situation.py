"""What a rule may look at: the recipe, the model, figures of the data, the plan, the machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from engine.advice.skills import Fall
from engine.data.practice import Practice
from engine.errors import EngineError
from engine.hardware.devices import Machine
from engine.models.facts import Linear, ModelFacts
from engine.plan.adapter_size import adapted_linears, trainable_parameters
from engine.plan.planner import TIGHT, DataFacts, Plan
from engine.plan.planner import plan as make_plan
from engine.recipe.codec import override
from engine.recipe.combinations import WITH_B
from engine.recipe.data_options import DataOptions
from engine.recipe.recipe import Recipe

if TYPE_CHECKING:  # the report's module imports numpy, which the window does without at its start
    from engine.data.report import Lengths, Report

Replan = Callable[[Mapping[str, Any]], Plan]
PACKED = 0.95  # of a pack is filled, where the packs were not counted


@dataclass(frozen=True)
class Statistics:
    """Figures of prepared data, all from its report: nothing is read a second time.

    `counts` are those of the plan; `lengths` (tokens) are of examples before any cut; `truncated` of `rows`
    were cut at `max_length`. `chat`: the rows have questions and answers, and are no plain text. `practice`
    is what they practise, None where nobody looked.
    """

    counts: DataFacts
    lengths: Lengths
    max_length: int
    rows: int
    truncated: int = 0
    duplicates: int = 0
    overlap: int = 0
    answer_tokens: float = 0.0  # trained tokens of an example, the mean
    chat: bool = True
    practice: Practice | None = None

    @staticmethod
    def of(
        report: Report,
        counts: DataFacts,
        options: DataOptions,
        chat: bool = True,
        practice: Practice | None = None,
    ) -> Statistics:
        """Return the figures of a preparation under the data section `options`."""
        examples = max(1, report.train_examples)
        return Statistics(
            counts=counts,
            lengths=report.lengths,
            max_length=options.max_length,
            rows=report.train_examples + report.validation_examples,
            truncated=report.truncated,
            duplicates=report.duplicates,
            overlap=report.overlap,
            answer_tokens=report.train_supervised_tokens / examples,
            chat=chat,
            practice=practice,
        )

    @property
    def mean_tokens(self) -> float:
        """Return the tokens of a training example after the cut, the mean."""
        return self.counts.total_tokens / max(1, self.counts.train_examples)

    def longer_than(self, limit: int) -> int:
        """Return how many rows are longer than `limit` tokens: exact at the present limit, else about."""
        if limit == self.max_length:
            return self.truncated
        if limit >= self.lengths.longest:
            return 0
        known = self.lengths
        places = ((0, 1.0), (known.median, 0.5), (known.p95, 0.05), (known.p99, 0.01), (known.longest, 0.0))
        for (low, above), (high, below) in zip(places, places[1:], strict=False):
            if low <= limit < high:
                return round(self.rows * (above - (above - below) * (limit - low) / (high - low)))
        return 0

    def counts_for(self, options: DataOptions) -> DataFacts:
        """Return what the plan needs of this data under another data section, as far as it can be told."""
        counts, limit = self.counts, options.max_length
        longest = counts.longest_tokens
        if limit != self.max_length and self.lengths.longest:
            longest = max(1, min(limit, self.lengths.longest))
        packs = counts.packs
        if not options.packing:
            packs = None
        elif packs is None or limit != self.max_length:
            packs = max(1, math.ceil(counts.total_tokens / (PACKED * limit)))
        return replace(counts, longest_tokens=longest, packs=packs)


@dataclass(frozen=True)
class Situation:
    """A recipe and all that is known around it; what is not known is None, and its rules are silent.

    `replan` plans the recipe with some overrides. `falls` are the benchmarks that earlier runs on this base
    lost at, see `engine.runs.falls`.
    """

    recipe: Recipe
    facts: ModelFacts | None = None
    data: Statistics | None = None
    plan: Plan | None = None
    machine: Machine | None = None
    replan: Replan | None = None
    falls: tuple[Fall, ...] = ()

    @property
    def has_gpu(self) -> bool | None:
        """Return whether training would run on a GPU, None where the machine is not known."""
        return None if self.machine is None else bool(self.machine.devices)

    @property
    def lora(self) -> bool:
        """Return whether a pair of low-rank matrices is trained."""
        return self.recipe.adapter.method in WITH_B

    @property
    def scale(self) -> float:
        """Return what the low-rank update is multiplied with."""
        adapter = self.recipe.adapter
        return adapter.lora_alpha / (math.sqrt(adapter.r) if adapter.use_rslora else adapter.r)

    @cached_property
    def modules(self) -> list[tuple[Linear, int]]:
        """Return the adapted modules, each with its rank."""
        return [] if self.facts is None else adapted_linears(self.facts, self.recipe.adapter)

    @cached_property
    def trained(self) -> int | None:
        """Return how many values are trained."""
        if self.plan is not None:
            return self.plan.trainable_parameters
        return None if self.facts is None else trainable_parameters(self.facts, self.recipe.adapter)

    @property
    def batch(self) -> int:
        """Return the examples of an optimizer step."""
        training = self.recipe.training
        per_device = training.per_device_train_batch_size * training.gradient_accumulation_steps
        return per_device * self.recipe.launcher.processes

    @property
    def passes(self) -> float | None:
        """Return how often the data is gone through, None where that is not known."""
        training = self.recipe.training
        if training.max_steps is None:
            return training.num_train_epochs
        if self.data is None or not self.data.counts.rows:
            return None
        return training.max_steps * self.batch / self.data.counts.rows

    @property
    def free(self) -> float | None:
        """Return the memory (bytes) that a run may fill."""
        return None if self.plan is None else self.plan.device_memory_bytes

    @property
    def tight(self) -> bool:
        """Return whether the plan leaves little memory or none."""
        return self.plan is not None and self.plan.verdict in ("tight", "too_large")

    def memory_with(self, changes: Mapping[str, Any]) -> float | None:
        """Return the peak (bytes) with some overrides, None where there is no plan or they cannot be had."""
        if self.plan is None or self.replan is None:
            return None
        try:
            return self.replan(changes).memory_bytes
        except EngineError:
            return None

    def fits_with(self, changes: Mapping[str, Any], share: float = TIGHT) -> bool | None:
        """Return whether the peak with some overrides is within a share of the memory, None if not known."""
        needed, free = self.memory_with(changes), self.free
        return None if needed is None or free is None else needed <= share * free

    def changed(self, fix: Mapping[str, Any]) -> Situation:
        """Return the situation after a fix; raises EngineError for one that cannot be had."""
        before = self.replan
        return replace(
            self,
            recipe=override(self.recipe, dict(fix)),
            plan=before(fix) if before is not None else None,
            replan=None if before is None else lambda more: before({**fix, **more}),
        )


def situation_of(
    recipe: Recipe,
    facts: ModelFacts | None,
    data: Statistics | None = None,
    machine: Machine | None = None,
    device_memory: float | None = None,
    falls: tuple[Fall, ...] = (),
    **known: Any,
) -> Situation:
    """Return the situation of a recipe; it is planned here and, where a rule asks, with changes.

    `known` goes to `engine.plan.planner.plan` as it is: profile, ledger.
    """
    if facts is None:
        return Situation(recipe, None, data, None, machine, None, falls)
    model = facts
    made: dict[str, Plan] = {}  # several rules ask for the same change

    def replan(changes: Mapping[str, Any]) -> Plan:
        key = repr(sorted(changes.items(), key=lambda item: item[0]))
        if key not in made:
            asked = override(recipe, dict(changes)) if changes else recipe
            counts = None if data is None else data.counts_for(asked.data)
            made[key] = make_plan(asked, model, counts, device_memory, machine, **known)
        return made[key]

    return Situation(recipe, facts, data, replan({}), machine, replan, falls)
