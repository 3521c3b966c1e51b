"""Real runs: a data file, a recipe and a child for each test that needs one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.events import Event
from engine.jobs import process
from engine.jobs.spec import read_job
from engine.models.library import resolve_model
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import store
from engine.runs.event_log import EventReader, EventWriter
from engine.runtime import keep, start
from engine.runtime.control import Control
from engine.runtime.job import Job, Requests
from engine.runtime.training import Training
from engine.runtime.vitals import Vitals

ANIMALS = ["cat", "dog", "owl", "fox", "hen", "bee", "ant", "cow", "pig", "rat"]


@pytest.fixture(scope="session")
def sound_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a JSONL file of 60 short conversations that a tiny model can learn."""
    path = tmp_path_factory.mktemp("data") / "sounds.jsonl"
    lines = []
    for i in range(60):
        animal = ANIMALS[i % len(ANIMALS)]
        messages = [
            {"role": "user", "content": f"What does the {animal} number {i} say?"},
            {"role": "assistant", "content": f"The {animal} says {animal} {animal}." + " Again." * (i % 3)},
        ]
        lines.append(json.dumps({"messages": messages}))
    path.write_text("\n".join(lines) + "\n")
    return path


MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, tiny_model: Path, sound_rows: Path) -> MakeRun:
    """Return a function that makes a run's folder; options as dotted fields.

    One question is asked at each evaluation, where a recipe would ask three: answers are half of a tiny run.
    """
    made = 0

    def make(**options: Any) -> Path:
        nonlocal made
        made += 1
        values: dict[str, Any] = {
            "model.path": str(tiny_model),
            "data.train": [str(sound_rows)],
            "data.validation_split": 0.2,
            "training.learning_rate": 5e-3,
            "training.per_device_train_batch_size": 4,
            "training.num_train_epochs": 2,
            "evaluation.eval_steps": 8,
            "evaluation.sample_prompts": ["What does the cat number 3 say?"],
            "checkpoint.save_steps": 6,
        }
        values.update({name.replace("__", "."): value for name, value in options.items()})
        return store.create_run(codec.override(Recipe(), values), tmp_path / f"run-{made}")

    return make


MakeTraining = Callable[..., Training]


@pytest.fixture
def make_training(make_run: MakeRun) -> MakeTraining:
    """Return a function that loads a run in this process, ready to take steps."""

    def make(**options: Any) -> Training:
        folder = make_run(**{"adapter__lora_dropout": 0.0, **options})
        writer = EventWriter(folder)
        job = Job(folder, read_job(folder), writer, Requests(Control(folder)), Vitals(writer))
        recipe = store.load_recipe(folder)
        model = resolve_model(recipe.model.path)
        data = start.read_data(job, recipe, model)
        run = start.load_model(job, start.settle(job, recipe, model, data), model, data)
        keep.ready(run, None)
        run.model.train()
        return run

    return make


def run_to_end(folder: Path, timeout: float = 120) -> str:
    """Start the child and wait for its end; return the state."""
    child = process.start(folder)
    child.wait(timeout)
    return store.state_of(folder)


def events_of(folder: Path) -> list[Event]:
    """Return all events of a run so far."""
    return EventReader(folder).read_new()


def wait_for(folder: Path, wanted: Callable[[Event], bool], timeout: float = 120) -> Event:
    """Wait until an event comes for which `wanted` holds."""
    reader, deadline = EventReader(folder), time.monotonic() + timeout
    while time.monotonic() < deadline:
        for event in reader.read_new():
            if wanted(event):
                return event
        time.sleep(0.01)
    raise AssertionError(f"no such event; child.log: {process.last_words(folder)}")


def losses(folder: Path) -> dict[int, float | None]:
    """Return the loss of each step, later attempts over earlier ones."""
    found: dict[int, float | None] = {}
    for event in events_of(folder):
        if event.type == "started" and event.resumed_from_step is not None:
            found = {s: v for s, v in found.items() if s <= event.resumed_from_step}
        elif event.type == "step":
            found[event.step] = event.loss
    return found
