"""One card over a run, as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Action = tuple[str, Callable[[], object]]


@dataclass(frozen=True)
class Told:
    """Its kind, words and buttons. One with a `key` can be put away for good."""

    kind: str
    title: str
    hint: str = ""
    actions: Sequence[Action] = ()
    details: str = ""
    code: str = ""
    key: str = ""

    def looks(self) -> tuple[str, ...]:
        """Return all that is seen of it, to know whether another card has to be drawn."""
        words = (word for word, _ in self.actions)
        return (self.kind, self.title, self.hint, self.details, self.code, *words)
