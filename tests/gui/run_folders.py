"""Run folders for tests of the window: made by the engine's own store and written as a child writes them."""

from __future__ import annotations

import json
import math
import random
import time
from pathlib import Path

from engine import durable
from engine.events import (
    CheckpointSaved,
    Evaluated,
    Failed,
    Finished,
    SampleGenerated,
    Started,
    Step,
    Stopped,
    encode,
)
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs.store import create_run

ENDS = {"finished": Finished, "stopped": Stopped, "failed": Failed}


def make_run(
    name: str,
    state: str = "finished",
    steps: int = 120,
    total: int | None = None,
    *,
    age_hours: float = 1.0,
    base: str = "starter",
    r: int = 16,
    four_bit: bool = False,
    message: str = "",
    seed: int = 1,
) -> Path:
    """Make a run's folder in the present home: its recipe, its events and its closing note.

    A state of "running" writes no closing note; the caller holds the folder's lock.
    """
    recipe = codec.override(
        Recipe.model_validate({"name": name, "data": {"train": ["data/tickets.jsonl"]}}),
        {"model.path": base, "model.load_in_4bit": four_bit, "adapter.r": r, "training.seed": seed},
    )
    folder = create_run(recipe)
    start = time.time() - age_hours * 3600
    job = json.loads((folder / "job.json").read_bytes())
    durable.write_file(folder / "job.json", json.dumps({**job, "created": start}))
    durable.write_file(
        folder / "events.jsonl", b"".join(_events(folder, steps, total or steps, start, state, seed))
    )
    if state in ENDS:
        closing = {"status": state, "code": "", "message": message, "hint": "", "time": start + steps * 1.5}
        durable.write_file(folder / "exit.json", json.dumps(closing))
    return folder


def _events(folder: Path, steps: int, total: int, start: float, state: str, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    lines: list[bytes] = []

    def say(event: object, at: float) -> None:
        stamped = event.model_copy(update={"seq": len(lines), "time": start + at, "mono": at})  # type: ignore[attr-defined]
        lines.append(encode(stamped))

    say(Started(job=folder.name, pid=1, host="here", device="cpu"), 0.0)
    for step in range(1, steps + 1):
        at = step * 1.5
        value = 0.9 + 1.6 * math.exp(-step / 30) + rng.gauss(0, 0.06)
        rate = 2e-4 * min(1.0, step / 10) * (0.5 + 0.5 * math.cos(math.pi * step / total))
        say(
            Step(
                step=step,
                total_steps=total,
                epoch=step / total,
                loss=value,
                learning_rate=rate,
                grad_norm=0.3 + 0.3 * math.exp(-step / 20) + rng.random() * 0.05,
                tokens=900,
                supervised_tokens=240,
                seconds=1.5,
                memory_bytes=1_900_000_000 + rng.randrange(40_000_000),
            ),
            at,
        )
        if step % 20 == 0:
            say(Evaluated(step=step, loss=value + 0.04, perplexity=math.exp(value), is_best=True), at)
            say(SampleGenerated(step=step, prompt="My invoice is wrong.", text='{"queue": "billing"}'), at)
            path = f"checkpoints/step-{step:08d}"
            say(CheckpointSaved(step=step, path=path, bytes=9_000_000, seconds=0.2), at)
    end = steps * 1.5
    if state == "finished":
        say(Finished(steps=steps, seconds=end, peak_memory_bytes=2_000_000_000, adapter="adapter"), end)
    elif state == "stopped":
        say(Stopped(step=steps), end)
    elif state == "failed":
        say(Failed(code="GPU-01", message="Out of memory."), end)
    return lines
