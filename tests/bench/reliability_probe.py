"""Long forms of the rows about the probe child: each returns its figure, or raises AssertionError."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import EngineError
from engine.models.gguf_header import read_gguf
from engine.models.library import starter_folder
from engine.probes import proof, verdicts
from tests.reliability.probe.mutations import SOUND, mutated
from tests.reliability.probe.test_templates import BOMBS, REACHING, asked

GGUF_MUTATIONS = 20_000
BOMBS_SECONDS = 5.0
FIRST_SECONDS = 1.0


class Clock:
    """Wall time, and processor time of children: only that is the same on a busy computer."""

    def __init__(self) -> None:
        self._wall, self._worked = time.perf_counter(), self._children()

    def _children(self) -> float:
        times = os.times()
        return times.children_user + times.children_system

    @property
    def wall(self) -> float:
        """Return seconds since it was made."""
        return time.perf_counter() - self._wall

    @property
    def worked(self) -> float:
        """Return seconds of processor time that children took since then."""
        return self._children() - self._worked


def first_probe() -> str:
    """The first look at the starter's tokenizer, the child's start included; the remembered one after it."""
    question = proof.file_question("tokenizer", starter_folder() / "tokenizer.json")
    clock = Clock()
    assert proof.ask([question])[0][0].sound
    first, worked = clock.wall, clock.worked
    verdicts.remember(question.key, verdicts.Verdict())
    began = time.perf_counter()
    proof.proven(question)
    again = time.perf_counter() - began
    assert worked < FIRST_SECONDS, worked
    return f"first {worked:.2f} s of processor time ({first:.2f} s here), remembered {again * 1e3:.2f} ms"


def bombs() -> str:
    """M23, M24: every payload and bomb through the probe."""
    clock = Clock()
    found = asked(*BOMBS.values())
    seconds, wall = clock.worked, clock.wall
    assert all(verdict.code == "MODEL-06" for verdict in found)
    assert seconds < BOMBS_SECONDS, seconds
    reached = [v for v in asked(*REACHING) if v.sound and "class" in str(v.facts)]
    assert not reached
    told = f"{len(BOMBS)} bombs refused in {seconds:.1f} s of processor time ({wall:.1f} s here)"
    return f"{told}; {len(REACHING)} payloads reached nothing"


def gguf_mutations() -> str:
    """M30: mutations of a GGUF head; each is read or refused with MODEL-02."""
    chance, refused, slowest = random.Random(30), 0, 0.0
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "m.gguf"
        for _ in range(GGUF_MUTATIONS):
            path.write_bytes(mutated(SOUND, chance))
            began = time.perf_counter()
            try:
                read_gguf(path)
            except EngineError as error:
                assert error.code == "MODEL-02", error
                refused += 1
            slowest = max(slowest, time.perf_counter() - began)
    return f"{GGUF_MUTATIONS:,} mutations, {refused:,} refused, slowest {slowest * 1e3:.0f} ms"


MEASURES: dict[str, Callable[[], str]] = {"M26": first_probe, "M24": bombs, "M30": gguf_mutations}
