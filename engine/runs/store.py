"""Run folders: made with the frozen recipe, found by id, listed with their derived state."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine import durable, paths
from engine.benchmarks.spec import refuse_unknown
from engine.errors import EngineError, from_os_error
from engine.event_lines import MAX_LINE_BYTES
from engine.events import Seal
from engine.jobs import lock
from engine.jobs.process import exit_of
from engine.jobs.spec import FORMAT, create_job, newer
from engine.recipe import codec
from engine.recipe.method_names import has_rank, method_key, method_label
from engine.recipe.recipe import Recipe
from engine.runs import changes, fsck_papers, queue, result, seals
from engine.runs.series import LARGEST

TAIL_BYTES = 64 * 1024
MOST_NAME_BYTES = 4096
WHOLE_BYTES = 1 << 20
CURVE_POINTS = 120
LATEST = 4e9  # Unix seconds: a clock of the year 2096


@dataclass(frozen=True)
class RunSummary:
    """One line of the library; every value is derived from the folder."""

    id: str
    name: str
    folder: Path
    state: str
    created: float
    base: str = ""
    data: str = ""
    method: str = ""
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    best_validation: float | None = None
    best_step: int | None = None
    seconds: float | None = None
    message: str = ""
    curve: tuple[float, ...] = ()
    seed: int | None = None
    seals: tuple[Seal, ...] = ()
    problem: str = field(default="")
    newer: bool = False  # made by a later version: to be looked at only
    place: int | None = None  # in the queue, 1 is the next one
    damage: str = ""  # why its result is not whole, as far as is known without reading it


def readable_name(recipe: Recipe) -> str:
    """Return the recipe's own name, or one made of data, method and rank."""
    if recipe.name.strip():
        return recipe.name.strip()
    data = Path(recipe.data.train[0]).stem if recipe.data.train else "run"
    if data in ("train", "data") and len(Path(recipe.data.train[0]).parts) > 1:
        data = Path(recipe.data.train[0]).parent.name
    rank = f"-r{recipe.adapter.r}" if has_rank(recipe) else ""
    return f"{paths.slug(data)}-{method_key(recipe)}{rank}"


def create_run(recipe: Recipe, run_dir: Path | None = None) -> Path:
    """Make a run's folder with its frozen recipe and return it.

    Raises EngineError REC-01 for options this version does not obey, RUN-02 when the folder holds a run,
    MODEL-* for an adapter that it cannot begin from.
    """
    codec.refuse_unsupported(recipe)
    refuse_unknown(recipe.evaluation.benchmarks)
    recipe, begun = _with_beginning(recipe)
    name = readable_name(recipe)
    recipe = recipe.model_copy(update={"name": name})
    folder = run_dir if run_dir is not None else _free_folder(paths.slug(name))
    if (folder / "job.json").exists():
        raise EngineError(
            f"{folder} already holds a run.",
            "Resume it, or choose another folder.",
            "RUN-02",
            file=str(folder),
        )
    try:
        durable.make_folder(folder, mode=0o700)
        durable.write_file(folder / "recipe.yaml", codec.dumps(recipe))
        (folder / "recipe.yaml").chmod(0o444)
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    create_job(
        "train",
        {"recipe": recipe.model_dump(mode="json"), **begun},
        folder,
        name=name,
        launcher=recipe.launcher.model_dump(),
    )
    return folder


def _with_beginning(recipe: Recipe) -> tuple[Recipe, dict[str, Any]]:
    """Return the recipe with what the adapter settles that it begins from, and what job.json keeps of it."""
    if recipe.adapter.path is None:
        return recipe, {}
    from engine.runs import beginnings  # it reads headers: most runs begin from nothing

    recipe = beginnings.settled(recipe)
    codec.refuse_unsupported(recipe)
    return recipe, beginnings.record(recipe)


def _free_folder(name: str) -> Path:
    while True:
        folder = paths.runs_dir() / f"{name}-{uuid.uuid4().hex[:6]}"
        if not folder.exists():
            return folder


def load_recipe(folder: Path) -> Recipe:
    """Return the recipe of a run, with the values that later attempts were given."""
    return changes.in_force(codec.load(folder / "recipe.yaml"), folder)


def state_of(folder: Path) -> str:
    """Return queued, running, paused, finished, stopped, failed or crashed, from the folder alone."""
    state = _state_by_lock_or_note(folder)
    if state:
        return state
    try:
        begun = (folder / "events.jsonl").stat().st_size > 0
    except OSError:
        begun = False
    if not begun:
        return "queued"
    # A child that began between the looks at its lock and at its events holds the lock by now.
    return _state_by_lock_or_note(folder) or "crashed"


def _state_by_lock_or_note(folder: Path) -> str:
    """Return the state that a held lock or a closing note tells, empty where there is neither."""
    if lock.is_held(folder):
        return "paused" if _last_state(folder) == "paused" else "running"
    closing = exit_of(folder)
    if closing is None:
        return ""
    status = str(closing.get("status", "failed"))
    if status == "finished" and not fsck_papers.has_its_result(folder):
        return ""  # its closing note alone does not make a run finished
    return status if status in ("finished", "stopped", "failed") else "failed"


def _last_state(folder: Path) -> str:
    for event in reversed(_tail(folder / "events.jsonl")):
        if event.get("type") in ("started", "paused", "resumed"):
            return str(event["type"])
    return ""


def _parse(block: bytes) -> list[dict[str, Any]]:
    found = []
    for line in block.split(b"\n"):
        try:
            value = json.loads(line) if len(line) < MAX_LINE_BYTES else None
        except (ValueError, RecursionError):
            continue  # a torn line is no event
        if isinstance(value, dict):
            found.append(value)
    return found


def _tail(path: Path) -> list[dict[str, Any]]:
    try:
        with paths.open_plain(path) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            return _parse(file.read())
    except OSError:
        return []


def _sampled(path: Path) -> list[dict[str, Any]]:
    """Return all events of a small file, else its head, its tail and some between, in order."""
    try:
        with paths.open_plain(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size <= WHOLE_BYTES:
                return _parse(file.read())
            events = _parse(file.read(TAIL_BYTES))
            for i in range(1, CURVE_POINTS):
                file.seek(max(TAIL_BYTES, size * i // CURVE_POINTS))
                events += _parse(file.read(4096))
            file.seek(size - TAIL_BYTES)
            return events + _parse(file.read())
    except OSError:
        return []


def summary(folder: Path) -> RunSummary:
    """Return what the library shows of a run; a damaged folder is described by what can be read."""
    name, created, problem, later = folder.name, 0.0, "", False
    try:
        job = json.loads(paths.read_head(folder / "job.json"))
        name, created = str(job["name"]), float(job["created"])
        if not 0 <= created <= LATEST:
            raise ValueError("made at no time")
        if isinstance(job.get("format"), int) and job["format"] > FORMAT:
            later, problem = True, newer(folder, job["format"]).message
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        problem = "job.json cannot be read"
        created = folder.stat().st_mtime if folder.exists() else 0.0
    override = folder / "name.txt"
    if override.is_file():
        with override.open("rb") as file:
            given = file.read(MOST_NAME_BYTES).decode("utf-8", "replace").strip()
        name = paths.mark_name(given) if given else name
    about: dict[str, Any] = {}
    try:
        recipe = load_recipe(folder)
        about = {
            "base": paths.mark_name(Path(recipe.model.path).name),
            "data": ", ".join(paths.mark_name(Path(p).name) for p in recipe.data.train),
            "method": method_label(recipe),
            "seed": recipe.training.seed,
        }
    except EngineError as error:
        problem = problem or error.message
    closing = exit_of(folder) or {}
    events, state = folder / "events.jsonl", state_of(folder)
    progress = _progress(_sampled(events))
    return RunSummary(
        id=folder.name,
        name=paths.show_name(name),
        folder=folder,
        state=state,
        created=created,
        message=paths.show_name(str(closing.get("message", "")), 300),
        problem=problem,
        newer=later,
        damage=_damage(folder) if state in ("finished", "crashed") else "",
        **about,
        **progress | ({} if progress["seals"] else {"seals": _last_seals(events)}),
    )


def _damage(folder: Path) -> str:
    found = result.known(folder)
    return paths.show_name(found.problem, 200) if found is not None else ""


def _last_seals(path: Path) -> tuple[Seal, ...]:
    """Return the newest seals of a log whose samples held none: those of a long run that is still going."""
    try:
        with paths.open_plain(path) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - WHOLE_BYTES))
            block = file.read()
    except OSError:
        return ()
    start = block.rfind(b'\n{"type":"sealed"')
    end = block.find(b"\n", start + 1)
    found = _parse(block[start + 1 : end]) if 0 <= start < end else []
    return seals.told(found[0]) if found else ()


def _progress(events: list[dict[str, Any]]) -> dict[str, Any]:
    steps: dict[int, float | None] = {}
    validation: dict[int, float] = {}
    judged: tuple[Seal, ...] = ()
    total, spans = 0, dict[str, tuple[float, float]]()
    for event in events:
        kind, step = event.get("type"), _whole(event.get("step"))
        if (mono := _real(event.get("mono"))) is not None:  # the wall's clock may be set meanwhile
            attempt = str(event.get("attempt"))
            spans[attempt] = (spans.get(attempt, (mono, mono))[0], mono)
        if kind == "started" and (kept := _whole(event.get("resumed_from_step"))) is not None:
            steps = {s: v for s, v in steps.items() if s <= kept}
            validation = {s: v for s, v in validation.items() if s <= kept}
        elif kind == "step" and step is not None:
            steps[step] = _real(event.get("loss"))
            total = _whole(event.get("total_steps")) or total
        elif kind == "evaluated" and step is not None and (loss := _real(event.get("loss"))) is not None:
            validation[step] = loss
        elif kind == "sealed":
            judged = seals.told(event) or judged
    losses = [v for _, v in sorted(steps.items()) if v is not None]
    best = min(validation, key=lambda s: validation[s], default=None)
    stride = max(1, len(losses) // CURVE_POINTS)
    return {
        "step": max(steps, default=0),
        "total_steps": total,
        "loss": losses[-1] if losses else None,
        "best_validation": None if best is None else validation[best],
        "best_step": best,
        "seconds": sum(max(0.0, last - first) for first, last in spans.values()) if spans else None,
        "curve": tuple(losses[::stride]),
        "seals": judged,
    }


def _real(value: Any) -> float | None:
    """Return a number of a log that may come from anybody, None for what cannot be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= LARGEST else None


def _whole(value: Any) -> int | None:
    """Return a count of a log that may come from anybody, None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**53 else None


def list_runs() -> list[RunSummary]:
    """Return all runs of the home: those going on, those that wait in their order, then the newest first."""
    folders = [p for p in paths.runs_dir().iterdir() if p.is_dir() and not p.name.startswith(".")]
    places = {folder: place for place, folder in enumerate(queue.read().queued, 1)}
    found = [replace(summary(folder), place=places.get(folder.resolve())) for folder in folders]
    going = ("running", "paused")
    return sorted(found, key=lambda r: (r.state not in going, r.place is None, r.place or 0, -r.created))


def find_run(text: str) -> Path:
    """Return the folder of a run given by path, id, unique beginning of an id, or name.

    Raises EngineError RUN-03 when there is none or more than one.
    """
    direct = Path(text).expanduser()
    if (direct / "job.json").exists():
        return direct.resolve()
    folders = [p for p in paths.runs_dir().iterdir() if (p / "job.json").exists()]
    matches = [p for p in folders if p.name == text] or [p for p in folders if p.name.startswith(text)]
    if not matches:
        matches = [p for p in folders if summary(p).name == text]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(sorted(p.name for p in matches)[:5])
        raise EngineError(f"{text} may be several runs: {names}.", "Write more of the id.", "RUN-03")
    raise EngineError(
        f"There is no run {paths.show_name(text)}.", "`tunesmith runs list` names them.", "RUN-03"
    )


def rename_run(folder: Path, name: str) -> None:
    """Give a run another name to be shown by; its recipe and id stay as they were."""
    durable.write_file(folder / "name.txt", paths.show_name(name.strip()) + "\n")


def trash_dir() -> Path:
    """Return the folder deleted runs wait in."""
    folder = paths.runs_dir() / ".trash"
    durable.make_folder(folder)
    return folder


def delete_run(folder: Path) -> Path:
    """Move a run to the trash and return its place there; raises EngineError RUN-02 while it is going."""
    if lock.is_held(folder):
        raise EngineError("This run is going.", "Stop it first.", "RUN-02", file=str(folder))
    target = trash_dir() / f"{folder.name}.{int(time.time())}"
    try:
        durable.move(folder, target)
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    return target


def restore_run(trashed: Path) -> Path:
    """Bring a run back from the trash and return its folder."""
    target = paths.runs_dir() / trashed.name.rsplit(".", 1)[0]
    if target.exists():
        raise EngineError(
            f"{target.name} is there already.", "Rename that run first.", "RUN-02", file=str(target)
        )
    durable.move(trashed, target)
    return target
