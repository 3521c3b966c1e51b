"""Runs that look as a child left them after its first saves: real files, and no torch to make them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from engine import durable
from engine.data import frozen, row_cache
from engine.data.dataset import Example, Prepared
from engine.data.report import Report
from engine.events import CheckpointSaved, Started
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import file_digests, gate_checks, store
from engine.runs.check import write_manifest
from engine.runs.event_log import EventWriter
from engine.runs.versions import versions

ROW = '{"prompt": "What does the cat say?", "completion": "Meow."}\n'


def base_model(folder: Path) -> Path:
    """Return a folder with the names of a base model; its bytes are only compared, never loaded."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 16384)  # 4 MB: its middle is at no edge
    return folder


def begun(place: Path, steps: tuple[int, ...] = (4, 8), **options: Any) -> Path:
    """Return the folder of a run that saved at some steps and was then cut off."""
    data = place / "rows.jsonl"
    data.write_text(ROW * 20)
    base = base_model(place / "base")
    values = {"model.path": str(base), "data.train": [str(data)], **options}
    folder = store.create_run(codec.override(Recipe(), values), place / "run")
    recipe = store.load_recipe(folder)
    digests = row_cache.digests_of(recipe.data, folder)
    example = Example(np.arange(9, dtype=np.int32), np.ones(9, dtype=np.bool_), 0, 0, 1, None)
    kept = Prepared([example] * 20, [], Report(rows=20))
    frozen.write(kept, folder / gate_checks.ROWS, {"files": digests, "system_prompt": None})
    environment = {
        "versions": versions(),
        "platform": "",
        "device": "CPU",
        "model": {
            "path": str(base),
            "files": file_digests.sha256_of_all(base, gate_checks.base_files(base)),
        },
        "data": digests,
    }
    durable.write_json(folder / "environment.json", environment)
    writer = EventWriter(folder)
    writer.write(Started(job="train", pid=1, host="here"))
    for step in steps:
        save(folder, step)
        path = f"checkpoints/step-{step:08d}"
        writer.write(CheckpointSaved(step=step, path=path, bytes=64, seconds=0.1))
    writer.close()
    return folder


def save(folder: Path, step: int) -> Path:
    """Make a whole checkpoint."""
    place = folder / "checkpoints" / f"step-{step:08d}"
    place.mkdir(parents=True)
    (place / "adapter_model.safetensors").write_bytes(bytes([step]) * 64)
    (place / "state.json").write_text(json.dumps({"step": step}))
    write_manifest(place)
    return place


def environment(folder: Path, **other: Any) -> None:
    """Change what the run noted of its surroundings."""
    path = folder / "environment.json"
    durable.write_json(path, {**json.loads(path.read_bytes()), **other})
