"""What a made model is asked when it is checked: rows of validation, the run's questions, else others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from engine.data import frozen
from engine.data.dataset import Example
from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.events import SampleGenerated
from engine.paths import show_name
from engine.runs.event_log import EventReader
from engine.runtime.prepared import FROZEN
from engine.runtime.target import Target

PROMPTS = 8
LONGEST = 768  # tokens of a prompt, its end; a certificate should take seconds
SHOWN = 160
BUILT_IN = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Explain in simple words why the sky is blue.",
    "Translate into German: Good morning, how are you?",
    "List three fruits.",
    "What is 17 plus 25?",
    "Name a colour and an animal.",
    "How many days are in a week?",
)


@dataclass(frozen=True)
class Asked:
    """A prompt: how it begins as a person reads it, its tokens, and whence: validation, samples, built in."""

    text: str
    ids: tuple[int, ...]
    source: str


def prompts_of(targets: Sequence[Target], answer_tokens: int) -> list[Asked]:
    """Return the prompts for adapters of one base, each adapter's in turn, with room for the answer."""
    tokenizer = ModelTokenizer(targets[0].base.path)
    each = [_of_target(target, tokenizer) for target in targets]
    turns = chain.from_iterable(zip_longest(*each))
    room = min(LONGEST, targets[0].base.max_positions - answer_tokens - 1)
    found: dict[tuple[int, ...], Asked] = {}
    for asked in turns:
        if asked is not None and len(found) < PROMPTS:
            ids = asked.ids[-room:]
            found.setdefault(ids, Asked(show_name(asked.text, SHOWN), ids, asked.source))
    return list(found.values())


def _of_target(target: Target, tokenizer: ModelTokenizer) -> Iterator[Asked]:
    if target.run is not None:
        yield from _of_validation(target.run, tokenizer)
        for event in EventReader(target.run).read_new():
            if isinstance(event, SampleGenerated):
                yield _typed(target, tokenizer, event.prompt, "samples")
    for text in BUILT_IN:
        yield _typed(target, tokenizer, text, "built in")


def _of_validation(run: Path, tokenizer: ModelTokenizer) -> Iterator[Asked]:
    """Yield what stands before the first learnt token of the held-out rows that are kept in the run."""
    kept = frozen.read(run / FROZEN)
    for example in (kept[0].validation if kept is not None else [])[:PROMPTS]:
        ids = _question(example)
        if ids:
            yield Asked(example.prompt or tokenizer.decode(ids), tuple(ids), "validation")


def _question(example: Example) -> list[int]:
    """Return the tokens up to the answer; the first half of a text that is learnt from its beginning."""
    trained = np.flatnonzero(np.asarray(example.trained))
    start = int(trained[0]) if len(trained) else 0
    return [int(i) for i in example.ids[: start if start > 1 else len(example.ids) // 2]]


def _typed(target: Target, tokenizer: ModelTokenizer, text: str, source: str) -> Asked:
    messages = [{"role": "system", "content": target.system_prompt}] if target.system_prompt else []
    messages.append({"role": "user", "content": text})
    template = load_template(target.base.path, target.chat_template)
    ids = tokenizer.encode(template.render(messages, add_generation_prompt=True))
    return Asked(text, tuple(ids), source)
