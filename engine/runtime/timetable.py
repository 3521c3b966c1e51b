"""When things happen in a run, a pure function of recipe and data: steps, evaluations, saves, rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from engine.data.order import epoch_order, packed_order, packs_of
from engine.plan import pace
from engine.recipe.recipe import Recipe


@dataclass(frozen=True)
class Timetable:
    """`step` counts from 1; its micro-batches follow from (seed, epoch), so a resume repeats nothing."""

    lengths: tuple[int, ...]
    seed: int
    batch_size: int
    accumulation: int
    shuffle: bool
    steps_per_epoch: int
    total_steps: int
    eval_every: int | None
    save_every: int
    save_seconds: float | None
    pack_tokens: int | None = None
    _orders: dict[int, list[list[int]]] = field(default_factory=dict, repr=False, compare=False)

    def micro_batches(self, step: int) -> list[list[int]]:
        """Return the rows of each micro-batch of optimizer step `step`."""
        epoch, window = divmod(step - 1, self.steps_per_epoch)
        if epoch not in self._orders:  # once an epoch: no work per step that grows with the data
            self._orders.clear()
            self._orders[epoch] = self._order(epoch)
        return self._orders[epoch][window * self.accumulation : (window + 1) * self.accumulation]

    def _order(self, epoch: int) -> list[list[int]]:
        if self.pack_tokens is None:
            return epoch_order(self.lengths, self.seed, epoch, self.batch_size, self.shuffle)
        return packed_order(self.lengths, self.pack_tokens, self.seed, epoch, self.batch_size, self.shuffle)

    def epoch_at(self, step: int) -> float:
        """Return how often the data has been gone through after `step`."""
        return step / self.steps_per_epoch

    def evaluates(self, step: int) -> bool:
        """Return whether an evaluation follows `step`; the last step always has one."""
        return step == self.total_steps or (self.eval_every is not None and step % self.eval_every == 0)

    def saves(self, step: int, seconds_since_save: float) -> bool:
        """Return whether a checkpoint follows `step`."""
        late = self.save_seconds is not None and seconds_since_save >= self.save_seconds
        return step == self.total_steps or step % self.save_every == 0 or late


def make_timetable(recipe: Recipe, lengths: list[int]) -> Timetable:
    """Lay out a run over examples of these lengths (tokens)."""
    training = recipe.training
    pack_tokens = recipe.data.max_length if recipe.data.packing else None
    rows = packs_of(lengths, recipe.data) or len(lengths)
    batch = training.per_device_train_batch_size * recipe.launcher.processes  # shared out over the ranks
    micro = math.ceil(rows / batch)
    per_epoch = math.ceil(micro / training.gradient_accumulation_steps)
    total = max(1, math.ceil(per_epoch * training.num_train_epochs - 1e-9))
    if training.max_steps is not None:
        total = training.max_steps
    return Timetable(
        lengths=tuple(lengths),
        seed=training.seed,
        batch_size=batch,
        accumulation=training.gradient_accumulation_steps,
        shuffle=recipe.data.shuffle,
        steps_per_epoch=per_epoch,
        total_steps=total,
        eval_every=pace.eval_every(recipe, per_epoch, total),
        save_every=pace.save_every(recipe, per_epoch, total),
        save_seconds=pace.save_seconds(recipe),
        pack_tokens=pack_tokens,
    )
