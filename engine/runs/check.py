"""Which saves and results of a run are whole; `fsck` looks over the rest of its folder."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import durable, faults
from engine.links import is_link
from engine.models.adapter_facts import CONFIG

MANIFEST = "MANIFEST.json"
MANIFEST_BYTES = 16 << 20  # of a manifest of 100,000 files; a longer one is none
RESULTS = ("adapter", "model")  # what a finished run leaves: an adapter, or a model that was trained whole


@dataclass(frozen=True)
class Damage:
    """One thing that is not whole: where it is and why it is not believed; a repair `moves` it away."""

    path: str
    problem: str
    code: str
    moves: bool = False


def write_manifest(folder: Path) -> int:
    """Write MANIFEST.json over every file in `folder` and below, last, and return the bytes they hold.

    Points: ckpt.manifest.before, .mid (written, without its name yet), .after.
    """
    files: dict[str, dict[str, Any]] = {}
    for path in (p for p in _files_in(folder) if p != folder / MANIFEST):
        durable.fsync_file(path)
        name = path.relative_to(folder).as_posix()
        files[name] = {
            "bytes": path.stat().st_size,
            "sha256": durable.noted_sha256(path) or durable.sha256_file(path),
        }
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
    return sorted(p for p in folder.rglob("*") if is_link(p) or not p.is_dir())


def problem_of(folder: Path, *, whole: bool = True) -> str:
    """Return why `folder` does not match its manifest, an empty text when it does.

    With `whole` false only names and sizes are compared, not the digests.
    """
    if is_link(folder):
        return "it is a link to another place"
    try:
        return _unlike_manifest(folder, whole)
    except OSError as error:
        return f"it cannot be read: {error.strerror or type(error).__name__}"


def _unlike_manifest(folder: Path, whole: bool) -> str:
    try:
        expected = _listed(folder / MANIFEST)
    except FileNotFoundError:
        return "the manifest is missing: the save was cut off"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "the manifest cannot be read"
    present = {p.relative_to(folder).as_posix() for p in _files_in(folder)} - {MANIFEST}
    if present != set(expected):
        odd = sorted(present ^ set(expected))[0]
        return f"{odd} is {'not listed' if odd in present else 'missing'}"
    for name, (size, digest) in expected.items():
        facts = os.lstat(folder / name)
        if not stat.S_ISREG(facts.st_mode):
            return f"{name} is no plain file"
        if facts.st_size != size:
            return f"{name} has another size"
        if whole and durable.sha256_file(folder / name) != digest:
            return f"{name} has other contents"
    return next((f"{name} is not listed" for name in _empty_folders(folder)), "")


def _listed(manifest: Path) -> dict[str, tuple[int, str]]:
    """Return (bytes, digest) of each file that a manifest vouches for."""
    facts = os.lstat(manifest)
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > MANIFEST_BYTES:
        raise ValueError("no manifest")
    listed = json.loads(manifest.read_bytes())["files"]
    return {str(name): (int(e["bytes"]), str(e["sha256"])) for name, e in listed.items()}


def _empty_folders(folder: Path) -> list[str]:
    inner = [p for p in folder.rglob("*") if p.is_dir() and not is_link(p)]
    return [p.relative_to(folder).as_posix() for p in inner if not any(p.iterdir())]


def checkpoint_folders(run: Path) -> list[Path]:
    """Return all checkpoint folders, oldest first, whole or not."""
    root = run / "checkpoints"
    if is_link(root) or not root.is_dir():
        return []
    found = [p for p in root.iterdir() if p.is_dir() and p.name.startswith("step-")]
    return sorted((p for p in found if p.name.isascii() and p.name[5:].isdigit()), key=step_of)


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
        passed.append(Damage(f"checkpoints/{folder.name}", problem, "RUN-04", moves=True))
    return None, passed


def has_adapter(run: Path) -> bool:
    """Return whether a run has an adapter to go on from: its result, or a save."""
    return (run / "adapter" / CONFIG).is_file() or any(run.glob(f"checkpoints/*/{CONFIG}"))
