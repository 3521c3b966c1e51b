"""Which checkpoints of a run are whole, and what in its folder is damaged; only `repair_run` changes it."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine import durable, faults
from engine.errors import EngineError
from engine.events import decode
from engine.jobs import lock

MANIFEST = "MANIFEST.json"
RESULTS = ("adapter", "model")  # what a finished run leaves: an adapter, or a model that was trained whole


@dataclass(frozen=True)
class Damage:
    """One thing that is not whole: where it is and why it is not believed."""

    path: str
    problem: str
    code: str


def write_manifest(folder: Path) -> int:
    """Write MANIFEST.json over every file in `folder` and below, last, and return the bytes they hold.

    Points: ckpt.manifest.before, .mid (written, without its name yet), .after.
    """
    files: dict[str, dict[str, Any]] = {}
    for path in _files_in(folder):
        durable.fsync_file(path)
        name = path.relative_to(folder).as_posix()
        files[name] = {"bytes": path.stat().st_size, "sha256": durable.sha256_file(path)}
    for inner in [p for p in folder.iterdir() if p.is_dir()]:
        durable.fsync_folder(inner)
    durable.fsync_folder(folder)
    faults.point("ckpt.manifest.before")
    durable.write_json(folder / MANIFEST, {"files": files}, settling="ckpt.manifest.mid")
    durable.fsync_folder(folder.parent)
    faults.point("ckpt.manifest.after")
    return sum(int(entry["bytes"]) for entry in files.values())


def _files_in(folder: Path) -> list[Path]:
    """Return the files of a checkpoint, those of a model folder in it included; a link is a foreign one."""
    return sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())


def problem_of(folder: Path, *, whole: bool = True) -> str:
    """Return why `folder` does not match its manifest, an empty text when it does.

    With `whole` false only names and sizes are compared, not the digests.
    """
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["files"]
        expected = {str(name): (int(e["bytes"]), str(e["sha256"])) for name, e in listed.items()}
    except FileNotFoundError:
        return "the manifest is missing: the save was cut off"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "the manifest cannot be read"
    present = {p.relative_to(folder).as_posix() for p in _files_in(folder)} - {MANIFEST}
    if present != set(expected):
        odd = sorted(present ^ set(expected))[0]
        return f"{odd} is {'not listed' if odd in present else 'missing'}"
    for name, (size, digest) in expected.items():
        path = folder / name
        if path.is_symlink() or path.stat().st_size != size:
            return f"{name} has another size"
        if whole and durable.sha256_file(path) != digest:
            return f"{name} has other contents"
    return ""


def checkpoint_folders(run: Path) -> list[Path]:
    """Return all checkpoint folders, oldest first, whole or not."""
    root = run / "checkpoints"
    if not root.is_dir():
        return []
    return sorted(
        p for p in root.iterdir() if p.is_dir() and p.name.startswith("step-") and p.name[5:].isdigit()
    )


def step_of(checkpoint: Path) -> int:
    """Return the step in a checkpoint's name."""
    return int(checkpoint.name[5:])


def last_checkpoint(run: Path) -> tuple[Path | None, list[Damage]]:
    """Return the newest whole checkpoint, and the damaged ones that are newer."""
    passed: list[Damage] = []
    for folder in reversed(checkpoint_folders(run)):
        problem = problem_of(folder)
        if not problem:
            return folder, passed
        passed.append(Damage(f"checkpoints/{folder.name}", problem, "RUN-04"))
    return None, passed


def _event_damage(run: Path) -> list[Damage]:
    path = run / "events.jsonl"
    if not path.exists():
        return []
    unreadable, last = 0, b"\n"
    with open(path, "rb") as file:
        for line in file:
            last = line
            if line.strip(b"\x00\n"):
                try:
                    decode(line)
                except ValueError:
                    unreadable += 1
            elif b"\x00" in line:
                unreadable += 1
    found = []
    if unreadable:
        found.append(Damage("events.jsonl", f"{unreadable} lines cannot be read", "RUN-09"))
    elif not last.endswith(b"\n"):
        found.append(Damage("events.jsonl", "the last line was cut off", "RUN-09"))
    return found


def check_run(run: Path) -> list[Damage]:
    """Return everything in a run's folder that is not whole; an empty list for a sound run."""
    found = [Damage(n, "is missing", "RUN-03") for n in ("job.json",) if not (run / n).exists()]
    for folder in checkpoint_folders(run):
        problem = problem_of(folder)
        if problem:
            found.append(Damage(f"checkpoints/{folder.name}", problem, "RUN-04"))
    for result in RESULTS:
        if (run / result).exists() and (problem := problem_of(run / result)):
            found.append(Damage(result, problem, "RUN-05"))
    return found + _event_damage(run)


def repair_run(run: Path) -> list[Damage]:
    """Move damaged saves into `quarantine/` (nothing is deleted) and return what was found.

    Raises EngineError RUN-02 while a child works in the folder.
    """
    if lock.is_held(run):
        raise EngineError("This run is going.", "Stop it first.", "RUN-02", file=str(run))
    found = check_run(run)
    for damage in found:
        source = run / damage.path
        if source.is_dir():
            target = run / "quarantine" / source.name
            target.parent.mkdir(exist_ok=True)
            while target.exists():
                target = target.with_name(target.name + "-again")
            shutil.move(source, target)
    return found


def report(run: Path, *, repair: bool = False) -> dict[str, Any]:
    """Return the answer of `runs check` and `runs repair`."""
    found = repair_run(run) if repair else check_run(run)
    return {"ok": not found, "findings": [asdict(damage) for damage in found]}
