"""The rows of a run: made once, frozen in its folder, and shared with runs that ask for the same.

On a resume the frozen rows are used, whatever became of the files they were made from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.data import frozen, row_cache
from engine.data.dataset import Prepared, prepare
from engine.data.examples import locate
from engine.data.inspect import common_system_prompt
from engine.errors import EngineError, from_os_error
from engine.events import Log, Warned
from engine.paths import show_name
from engine.recipe.recipe import Recipe
from engine.runs.check import step_of
from engine.runtime.job import Job

FROZEN = Path("cache") / "rows.safetensors"
Progress = Callable[[int, int], None]


def rows_of(job: Job, recipe: Recipe, model_folder: Path, progress: Progress) -> Prepared:
    """Return the rows of a run, with the system message that all of them begin with."""
    digests = row_cache.digests_of(recipe.data, job.folder)
    if job.resume_from is not None:
        kept = frozen.read(job.folder / FROZEN)
        if kept is not None:
            data, about = kept
            _tell_of_changes(job, digests, about["files"])
            job.write(Log(message="The rows kept in the run are used."))
            return replace(data, system_prompt=about["system_prompt"], files=about["files"])
    key = row_cache.key_of(recipe.data, digests, model_folder, recipe.training.seed, job.spec.created)
    place = None if key is None else row_cache.place_of(key)
    found = None if place is None else frozen.read(place)
    if found is not None and place is not None:
        row_cache.used(place)
        data, about = found
        _freeze(job, data, about, place)
        job.write(Log(message="The same rows were tokenised before; they are taken from the cache."))
        return replace(data, system_prompt=about["system_prompt"], files=about["files"])
    data = prepare(recipe.data, model_folder, recipe.training.seed, base_dir=job.folder, progress=progress)
    first = str(locate(recipe.data.train[0], job.folder))
    system = recipe.data.system_prompt or common_system_prompt(first, recipe.data)
    _freeze(job, data, {"files": digests, "system_prompt": system}, None)
    if place is not None and row_cache.digests_of(recipe.data, job.folder) == digests:
        _share(job, place)
    return replace(data, system_prompt=system, files=digests)


def rows_of_rank_0(job: Job) -> Prepared:
    """Return the rows that rank 0 has just frozen; raises EngineError DATA-11 where they cannot be read."""
    kept = frozen.read(job.folder / FROZEN)
    if kept is None:
        raise EngineError(
            "The rows kept in the run cannot be read.", "Check the disk, then resume.", "DATA-11"
        )
    data, about = kept
    return replace(data, system_prompt=about["system_prompt"], files=about["files"])


def _tell_of_changes(job: Job, now: dict[str, str], then: dict[str, str]) -> None:
    step = step_of(job.resume_from) if job.resume_from is not None else 0
    for path, digest in then.items():
        if now.get(path) != digest:
            what = "changed" if now.get(path) else "is gone"
            job.write(
                Warned(
                    code="DATA-11",
                    message=f"{show_name(Path(path).name)} {what} after step {step}.",
                    hint="The run goes on with the rows kept in it; start a new run to train on other rows.",
                )
            )


def _freeze(job: Job, data: Prepared, about: dict[str, object], source: Path | None) -> None:
    """Keep the rows in the run; raises EngineError DISK-* where that fails, for a resume will need them."""
    target = job.folder / FROZEN
    try:
        if source is not None:
            frozen.copy(source, target)
        else:
            frozen.write(data, target, about)
    except OSError as error:
        raise from_os_error(error, str(target)) from error


def _share(job: Job, place: Path) -> None:
    """Give the rows to later runs; a run does not depend on it, so that a disk's refusal is only told."""
    try:
        if row_cache.make_room((job.folder / FROZEN).stat().st_size):
            frozen.copy(job.folder / FROZEN, place)
    except OSError as error:
        job.write(Log(message=f"The tokenised rows are not kept for other runs: {error.strerror}."))
