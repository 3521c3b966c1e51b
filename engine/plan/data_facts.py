"""What a plan needs to know of prepared data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class DataFacts:
    """What the plan needs to know of prepared data."""

    train_examples: int
    validation_examples: int
    median_tokens: int
    longest_tokens: int
    total_tokens: int
    supervised_tokens: int
    packs: int | None = None

    @staticmethod
    def of(
        lengths: Sequence[int],
        validation_examples: int,
        supervised_tokens: int,
        packs: int | None = None,
    ) -> DataFacts:
        """Return the facts of prepared training examples with these lengths (tokens).

        `packs` is into how many packs they go, where the recipe packs.
        """
        ordered = sorted(lengths)
        return DataFacts(
            train_examples=len(ordered),
            validation_examples=validation_examples,
            median_tokens=ordered[len(ordered) // 2],
            longest_tokens=ordered[-1],
            total_tokens=sum(ordered),
            supervised_tokens=supervised_tokens,
            packs=packs,
        )

    @property
    def rows(self) -> int:
        """Return how many rows the batches are made of: packs, or examples."""
        return self.packs or self.train_examples
