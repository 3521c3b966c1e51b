"""Runs of the tiny model outside pytest: a place with a model, some rows, and a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import store

SCRIPT = Path(__file__).parents[2] / "data" / "make_tiny_model.py"
ROWS = 48


class Place:
    """A folder to make runs in; `TUNESMITH_HOME` is in it from now on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = 0
        os.environ["TUNESMITH_HOME"] = str(folder / "home")
        os.environ["HF_HUB_OFFLINE"] = "1"
        self.model = folder / "tiny"
        subprocess.run([sys.executable, str(SCRIPT), str(self.model)], check=True, capture_output=True)
        self.rows = folder / "rows.jsonl"
        lines = []
        for i in range(ROWS):
            said = [("user", f"What does animal {i} say?"), ("assistant", f"It says {'moo ' * (1 + i % 4)}.")]
            lines.append(json.dumps({"messages": [{"role": r, "content": c} for r, c in said]}))
        self.rows.write_text("\n".join(lines) + "\n")

    def make(self, **options: Any) -> Path:
        """Make the folder of a run; options as dotted fields with __ for the dot."""
        self._made += 1
        values: dict[str, Any] = {
            "model.path": str(self.model),
            "data.train": [str(self.rows)],
            "data.validation_split": 0.0,
            "training.learning_rate": 5e-3,
            "training.per_device_train_batch_size": 4,
            "training.num_train_epochs": 2,
            "checkpoint.save_steps": 6,
        }
        values |= {name.replace("__", "."): value for name, value in options.items()}
        return store.create_run(codec.override(Recipe(), values), self.folder / f"run-{self._made}")
