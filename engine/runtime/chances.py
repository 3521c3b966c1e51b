"""How likely each token of an answer was, and what else could have stood there.

The answer is read once more behind its prompt, a block at a time: the chances are the model's own, before
temperature, top-k, top-p and penalty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from engine.runtime.generate import TextStream, stepper

BLOCK = 64  # tokens whose scores are held at once
TOP = 5


@dataclass(frozen=True)
class Chance:
    """A token of an answer: the text it added, its chance, its place from 1, and the likeliest tokens."""

    text: str
    chance: float
    place: int
    likeliest: tuple[tuple[str, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as the child sends it."""
        likeliest = [{"text": text, "chance": round(chance, 6)} for text, chance in self.likeliest]
        return {
            "text": self.text,
            "chance": round(self.chance, 6),
            "place": self.place,
            "likeliest": likeliest,
        }


@torch.inference_mode()
def chances_of(
    model: Any,
    prompt: Sequence[int],
    ids: Sequence[int],
    decode: Callable[[list[int]], str],
    top: int = TOP,
) -> list[Chance]:
    """Return the chance of each token `ids` of an answer to `prompt`, with the `top` likeliest beside it."""
    from transformers import DynamicCache

    if not ids:
        return []
    step = stepper(model, DynamicCache(config=model.config.get_text_config()))
    stream, found, read = TextStream(decode), list[Chance](), list(prompt)
    start = 0
    for at in range(0, len(ids), BLOCK):
        block = list(ids[at : at + BLOCK])
        # The scores for a block's first token stand behind what comes before it.
        read += block[:-1]
        scores = step(torch.tensor([read], device=model.device), start, len(block))
        start, read = start + len(read), [block[-1]]
        chances = scores.softmax(-1)
        best = chances.topk(min(top, chances.shape[-1]))
        for row, token in enumerate(block):
            own = chances[row, token]
            likeliest = tuple(
                (decode([int(i)]), float(c)) for i, c in zip(best.indices[row], best.values[row], strict=True)
            )
            place = int((chances[row] > own).sum()) + 1
            found.append(Chance(stream.push(token), float(own), place, likeliest))
    return found
