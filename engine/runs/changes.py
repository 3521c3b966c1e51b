"""What may change in a run that has begun, and where such a change is kept: `job-2.json` and on.

`recipe.yaml` and `job.json` stay as they were when the run was made. A resume with other values leaves them
in a new file beside, and what is in force is the recipe with all of these on top, in their order.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import durable
from engine.errors import EngineError, from_os_error
from engine.jobs.lock import FolderLock
from engine.recipe import codec
from engine.recipe.fields import field_specs
from engine.recipe.recipe import Recipe

# These leave the model, its rows, its steps and the optimizer's memory as they are; all others are fixed.
LIVE: frozenset[str] = frozenset(
    {
        "training.learning_rate",
        "training.min_lr_ratio",
        "training.weight_decay",
        "training.max_grad_norm",
        "training.early_stopping_patience",
        "training.early_stopping_threshold",
        "training.load_best_model_at_end",
        "training.on_out_of_memory",
        "evaluation.eval_steps",
        "evaluation.sample_prompts",
        "evaluation.benchmarks",
        "checkpoint.save_steps",
        "checkpoint.save_total_limit",
        "launcher.processes",
        "launcher.threads",
    }
)


def is_live(field: str) -> bool:
    """Return whether a field of the recipe may have another value at a resume."""
    return field in LIVE


def differences(before: Recipe, after: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return field -> (before, after) of every field of two recipes that is not the same."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    found = {}
    for spec in field_specs():
        one, other = (tree[spec.section] if spec.section else tree for tree in (old, new))
        if one[spec.name] != other[spec.name]:
            found[spec.path] = (one[spec.name], other[spec.name])
    return found


def files(folder: Path) -> list[Path]:
    """Return the files of later values, oldest first."""
    numbered = [(p.stem.removeprefix("job-"), p) for p in folder.glob("job-*.json")]
    return [p for number, p in sorted((int(n), p) for n, p in numbered if n.isdigit())]


def in_force(recipe: Recipe, folder: Path) -> Recipe:
    """Return a run's recipe with the values of later attempts.

    Raises EngineError REC-01 for a file of them that cannot be read or has a value that is none.
    """
    for path in files(folder):
        try:
            values = json.loads(path.read_bytes())["changes"]
            if not isinstance(values, dict) or not all(is_live(field) for field in values):
                raise ValueError("no changes")
        except OSError as error:
            raise from_os_error(error, str(path)) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EngineError(
                f"{path.name} cannot be read: it holds no values for a resume.",
                "Move it out of the run's folder to go on without them.",
                "REC-01",
                file=str(path),
            ) from error
        recipe = codec.override(recipe, values)
    return recipe


def record(folder: Path, values: Mapping[str, Any], step: int) -> Path:
    """Keep the values of an attempt that goes on from `step`; recipe.yaml and job.json stay as they are.

    Raises EngineError RUN-02 while a child works in the folder, DISK-* when it cannot be written.
    """
    try:
        with FolderLock(folder):
            before = files(folder)
            number = 2 if not before else int(before[-1].stem.removeprefix("job-")) + 1
            path = folder / f"job-{number}.json"
            told = {"format": 1, "time": time.time(), "from_step": step, "changes": dict(values)}
            durable.write_json(path, told)
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    return path
