"""What a model's kinds of module are called, and which part of a layer each is."""

from __future__ import annotations

from collections import Counter

from engine.plan.rank_grid import RankGrid, Row
from engine.recipe.targets import in_group

SINGLE = ("query", "key", "value", "output", "gate", "up", "down", "head")
TOGETHER = {("query", "key", "value"): "q k v", ("gate", "up"): "gate up"}
# The places of the block's drawing, from its input to its output.
PLACES = {
    "query": "attention_in",
    "key": "attention_in",
    "value": "attention_in",
    "output": "attention_out",
    "gate": "mlp_in",
    "up": "mlp_in",
    "down": "mlp_out",
    "head": "head",
}


def _groups(row: Row) -> tuple[str, ...]:
    return tuple(group for group in SINGLE if in_group(row.kind, group))


def row_words(model: RankGrid) -> list[str]:
    """Return a short name for each row: its part in the layer where no other row has the same."""
    words = []
    for row in model.rows:
        groups = _groups(row)
        words.append(TOGETHER.get(groups) or (groups[0] if len(groups) == 1 else row.leaf))
    often = Counter(words)
    return [
        word if often[word] == 1 else row.target or row.kind
        for word, row in zip(words, model.rows, strict=True)
    ]


def row_places(model: RankGrid) -> list[str]:
    """Return for each row where it stands in the drawn block; `other` where its part is not known."""
    return [PLACES[groups[0]] if (groups := _groups(row)) else "other" for row in model.rows]
