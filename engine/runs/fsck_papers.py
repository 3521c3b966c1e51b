"""The papers of a run: what was asked (recipe, job), how it ended (exit.json), and whose id it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine import durable
from engine.errors import EngineError
from engine.jobs.spec import FORMAT
from engine.recipe import codec
from engine.runs.check import MANIFEST, Damage, problem_of
from engine.runs.whereabouts import original_of

MAX_BYTES = 4 << 20
RECIPE, JOB, EXIT = "recipe.yaml", "job.json", "exit.json"


def look(run: Path, damaged: list[str]) -> Iterator[Damage]:
    """Yield what is wrong with the papers; `damaged` are the results that are not whole."""
    job = _read(run / JOB)
    if not isinstance(job, dict):
        missing = not (run / JOB).exists()
        yield Damage(JOB, "is missing" if missing else "cannot be read", "RUN-03")
        job = {}
    if isinstance(job.get("format"), int) and job["format"] > FORMAT:
        yield Damage(JOB, f"was made by a newer version (format {job['format']})", "RUN-12")
    if job.get("kind") == "train":
        yield from _recipe(run, job)
    yield from _note(run, damaged)
    original = original_of(run)
    if original is not None:
        yield Damage(JOB, f"has the same id as the run in {original.name}: one is a copy", "RUN-02")


def _recipe(run: Path, job: dict[str, Any]) -> Iterator[Damage]:
    path = run / RECIPE
    if not path.exists():
        yield Damage(RECIPE, "is missing", "RUN-03")
        return
    try:
        recipe = codec.load(path).model_dump(mode="json")
    except EngineError as error:
        yield Damage(RECIPE, f"cannot be read: {error.message}", error.code)
        return
    arguments = job.get("arguments")
    begun_with = arguments.get("recipe") if isinstance(arguments, dict) else None
    if isinstance(begun_with, dict) and not _holds(recipe, begun_with):
        yield Damage(RECIPE, "is not what the run was started with", "RUN-10")


def _holds(recipe: dict[str, Any], begun_with: dict[str, Any]) -> bool:
    """Return whether a recipe says all that it said then; an earlier version knew fewer options."""
    for section, value in begun_with.items():
        now = recipe.get(section)
        if isinstance(now, dict) and isinstance(value, dict):
            now = {name: now[name] for name in value if name in now}
        if now != value:
            return False
    return True


def _note(run: Path, damaged: list[str]) -> Iterator[Damage]:
    if not (run / EXIT).exists():
        return
    if not isinstance(_read(run / EXIT), dict):
        yield Damage(EXIT, "cannot be read", "RUN-01", moves=True)
        return
    told = result_told(run)
    if told is not None and (told[0] in damaged or not (run / told[0]).is_dir()):
        # With it the run would stay finished and could not make its result again.
        yield Damage(EXIT, f"tells of {told[0]}, which is not whole here", "RUN-05", moves=True)


def has_its_result(run: Path) -> bool:
    """Return whether the result that the closing note tells of is there, by its manifest and all sizes."""
    told = result_told(run)
    if told is None:
        return True  # other jobs than a training, and notes of earlier versions, tell of none
    folder = run / told[0]
    try:
        same = durable.sha256_file(folder / MANIFEST) == told[1]
    except OSError:
        return False
    return same and not problem_of(folder, whole=False)


def result_told(run: Path) -> tuple[str, str] | None:
    """Return (name, digest of its manifest) of the result that the closing note of a run tells of."""
    note = _read(run / EXIT)
    if not isinstance(note, dict) or note.get("status") != "finished":
        return None
    name, digest = note.get("result"), note.get("result_sha256")
    if not (isinstance(name, str) and isinstance(digest, str)) or Path(name).name != name:
        return None
    return name, digest


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
