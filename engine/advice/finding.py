"""One piece of advice: how grave it is, what is the matter, the change that mends it, what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warn", "hint"]
SEVERITIES: tuple[Severity, ...] = ("error", "warn", "hint")
MOST_WORDS = 25


@dataclass(frozen=True)
class Finding:
    """What one rule says of a recipe.

    `fix` are overrides by dotted field for `engine.recipe.codec.override`, empty where no change of the
    recipe mends it; `evidence` are ids of `engine.advice.evidence`; `field` is the option it is about;
    `saves_bytes` is the memory that the fix saves (bytes at the peak), where that is what it is for.
    """

    rule: str
    severity: Severity
    message: str
    fix: Mapping[str, Any] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    field: str | None = None
    saves_bytes: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what `advise --json` tells of it."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "message": self.message,
            "fix": dict(self.fix),
            "evidence": list(self.evidence),
            "field": self.field,
            "saves_bytes": self.saves_bytes,
        }


def gigabytes(size: float) -> str:
    """Return bytes as a figure in GB (1e9), as the plan writes them."""
    return f"{size / 1e9:.2f}" if size < 1e9 else f"{size / 1e9:.1f}"


def in_words(count: float) -> str:
    """Return a large count with three figures: 39,976,960 is 40.0 million."""
    for size, word in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if count >= size:
            return f"{count / size:.3g}{word}"
    return f"{count:.0f}"
