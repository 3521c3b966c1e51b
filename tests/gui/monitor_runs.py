"""Runs for tests of thread, queue and monitor: recipes for a tiny model, folders written at once."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

from engine import durable
from engine.events import (
    CheckpointSaved,
    DataPrepared,
    Device,
    Evaluated,
    Failed,
    Finished,
    Hardware,
    ModelLoaded,
    Planned,
    SampleGenerated,
    Started,
    Step,
    Stopped,
    encode,
)
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import store

PROMPTS = ("My invoice was charged twice this month.", "The app closes when I open a photo.")
BASE_ANSWER = "I'm sorry to hear that. Invoices are documents that list what you bought and what it costs."
ANSWER = '{"queue": "billing", "priority": "high",\n "summary": "Duplicate charge on invoice"}'


def tiny_recipe(model: Path, folder: Path, **options: object) -> Recipe:
    """Return a recipe that trains in seconds; its rows are written into `folder`."""
    rows = folder / "rows.jsonl"
    lines = []
    for number in range(40):
        messages = [
            {"role": "user", "content": f"What does animal number {number} say?"},
            {"role": "assistant", "content": f"Animal {number % 7} says yes. " * (1 + number % 3)},
        ]
        lines.append(json.dumps({"messages": messages}))
    rows.write_text("\n".join(lines) + "\n")
    values = {
        "name": "tiny",
        "model.path": str(model),
        "data.train": [str(rows)],
        "data.validation_split": 0.2,
        "training.learning_rate": 5e-3,
        "training.per_device_train_batch_size": 4,
        "training.max_steps": 12,
        "evaluation.eval_steps": 4,
        "evaluation.sample_prompts": ["What does animal number 3 say?"],  # answers are half of a tiny run
        "checkpoint.save_steps": 4,
    }
    values.update({name.replace("__", "."): value for name, value in options.items()})
    return codec.override(Recipe(), values)


class Script:
    """Events with a clock of their own, written into a run's folder as a child writes them."""

    def __init__(self, folder: Path, *, gpu: bool = True, total: int = 302) -> None:
        self.folder, self.gpu, self.total = folder, gpu, total
        self.lines: list[bytes] = []
        self.mono, self.attempt = 50.0, 1
        self.start_time = 1_763_900_000.0
        self._random = random.Random(4)

    def say(self, event: object, after: float = 0.0) -> None:
        """Append an event `after` seconds after the one before."""
        self.mono += after
        stamp = {"time": self.start_time + self.mono, "mono": self.mono, "attempt": self.attempt}
        event = event.model_copy(update={**stamp, "seq": len(self.lines)})  # type: ignore[attr-defined]
        self.lines.append(encode(event))

    def begin(self) -> None:
        """Say everything before the first step."""
        self.say(Started(job="train", pid=1, host="workstation"))
        self.say(Planned(memory_bytes=14.2e9, seconds=9900.0, terms={"base": 3.9e9}), 2)
        counts = {"tokens": 1_204_000, "supervised_tokens": 391_000, "truncated": 3, "dropped": 0}
        self.say(DataPrepared(train_examples=4812, validation_examples=534, seconds=12.0, **counts), 10)
        sizes = {"parameters": 6_738_415_616, "trainable_parameters": 39_976_960}
        self.say(ModelLoaded(dtype="bfloat16", quantization="nf4", seconds=41.0, **sizes), 41)
        self.measure()
        for prompt in PROMPTS:
            self.say(SampleGenerated(step=0, prompt=prompt, text=BASE_ANSWER), 4)

    def measure(self) -> None:
        """Say what the hardware does."""
        card = Device(name="RTX 4090", used_bytes=15 * 10**9, total_bytes=24 * 10**9, utilization=97)
        devices = [card] if self.gpu else []
        self.say(
            Hardware(devices=devices, cpu_percent=34, ram_used_bytes=12 * 10**9, process_bytes=4 * 10**9)
        )

    def steps(self, first: int, last: int, every: int = 50) -> None:
        """Say steps with evaluations, answers and saves between them."""
        noise = self._random.gauss
        for step in range(first, last + 1):
            loss = 0.9 + 1.35 * math.exp(-step / 60) + noise(0, 0.07)
            rate = 2e-4 * min(1.0, step / 9) * (0.5 + 0.5 * math.cos(math.pi * step / self.total))
            memory = (14.1e9 if step > 8 else 9.1e9) + abs(noise(0, 1e8))
            facts = {"tokens": int(3412 * 32 + noise(0, 4000)), "supervised_tokens": 11_000, "seconds": 32.0}
            self.say(
                Step(
                    step=step,
                    total_steps=self.total,
                    epoch=step / self.total,
                    loss=loss,
                    learning_rate=rate,
                    grad_norm=0.2 + 0.35 * math.exp(-step / 50) + abs(noise(0, 0.04)),
                    memory_bytes=int(memory),
                    **facts,
                ),
                32,
            )
            if step % every == 0:
                self.evaluate(step)

    def evaluate(self, step: int) -> None:
        """Say an evaluation, its answers and a save."""
        loss = 0.93 + 1.3 * math.exp(-step / 58) + (0.0006 * (step - 200) if step > 200 else 0.0)
        best = step <= 200
        self.say(Evaluated(step=step, loss=loss, perplexity=math.exp(loss), is_best=best), 20)
        for prompt in PROMPTS:
            text = ANSWER if step >= 100 else '{"queue": "bill'
            self.say(SampleGenerated(step=step, prompt=prompt, text=text), 3)
        path = f"checkpoints/step-{step:08d}"
        self.say(CheckpointSaved(step=step, path=path, bytes=160_000_000, seconds=1.4), 2)
        self.measure()

    def write(self) -> None:
        """Put the events into the folder."""
        durable.write_file(self.folder / "events.jsonl", b"".join(self.lines))

    def end(self, status: str, **fields: object) -> None:
        """Say the end and leave the closing note."""
        made = {
            "finished": Finished(
                steps=self.total, seconds=self.mono, peak_memory_bytes=14_300_000_000, adapter="adapter"
            ),
            "stopped": Stopped(step=self.total),
            "failed": Failed(code="GPU-01", message="The GPU ran out of memory.", hint="Use 4 bits."),
        }[status]
        self.say(made, 5)
        self.write()
        note = {"status": status, "code": "", "message": "", "hint": "", "time": self.start_time, **fields}
        durable.write_json(self.folder / "exit.json", note)


def made_run(name: str = "tickets-qlora-r16", **options: object) -> Path:
    """Make a run's folder in the present home without events."""
    values = {
        "name": name,
        "model.path": "meta-llama/Llama-2-7b-hf",
        "model.load_in_4bit": True,
        "data.train": ["data/tickets.jsonl"],
        "training.seed": 1,
        "training.gradient_accumulation_steps": 16,
        "training.per_device_train_batch_size": 1,
    }
    return store.create_run(codec.override(Recipe(), {**values, **options}))


def finished_run(name: str = "tickets-qlora-r16", *, gpu: bool = True, steps: int = 302) -> Path:
    """Make a run that came to its end."""
    script = Script(made_run(name), gpu=gpu, total=steps)
    script.begin()
    script.steps(1, steps)
    script.end("finished")
    return script.folder


def crashed_run(name: str = "tickets-crashed", steps: int = 130) -> Path:
    """Make a run whose child died without a word."""
    script = Script(made_run(name))
    script.begin()
    script.steps(1, steps)
    script.write()
    (script.folder / "child.log").write_text("loading\nTraceback (most recent call last):\nKilled\n")
    return script.folder
