"""Damages to a run's saves, drawn at random, and what `fsck` says of them."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

from engine import durable
from engine.runs import check
from engine.runs.fsck import fsck
from tests.reliability.harness import small_run
from tests.reliability.harness.crash_disk import Unsynced


def flip(path: Path, place: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def sizes(run: Path) -> int:
    """Return how many bytes lie below a folder, links counted as theirs; the lock's own text is no data."""
    found = (p for p in run.rglob("*") if p.is_symlink() or not p.is_dir())
    return sum(os.lstat(p).st_size for p in found if p.name != "lock")


def spoil(folder: Path, draw: random.Random) -> str:
    """Damage a save in one way and say which."""
    path = draw.choice(sorted(p for p in folder.iterdir() if p.is_file()))
    how = draw.choice(("flip", "cut", "remove", "add", "zero", "longer", "empty folder", "rename"))
    data = path.read_bytes()
    if how == "flip" and path.name == check.MANIFEST:
        _falsify(path, draw)
    elif how == "flip":
        flip(path, draw.randrange(len(data)))
    elif how == "cut":
        path.write_bytes(data[: draw.randrange(len(data) - 1)])
    elif how == "remove":
        path.unlink()
    elif how == "add":
        (folder / f"more-{draw.randrange(100)}").write_bytes(b"x" * draw.randrange(3))
    elif how == "zero":
        path.write_bytes(bytes(len(data)))
    elif how == "longer" and path.name != check.MANIFEST:
        path.write_bytes(data + b"\0")
    elif how == "rename":
        path.rename(folder / "renamed")
    else:
        (folder / "empty").mkdir()
    return f"{how} {path.name}"


def _falsify(manifest: Path, draw: random.Random) -> None:
    """Change one figure of a manifest: its spaces may be others without harm."""
    told = json.loads(manifest.read_bytes())
    entry = told["files"][draw.choice(sorted(told["files"]))]
    entry["bytes" if draw.random() < 0.5 else "sha256"] = 7
    manifest.write_text(json.dumps(told))


def missed(sound: Path, place: Path, count: int, seed: int) -> list[str]:
    """Damage `count` copies of a sound run and return the damages that fsck does not name."""
    draw, found = random.Random(seed), []
    for number in range(count):
        run = Path(shutil.copytree(sound, place / f"damaged-{number}"))
        saves = check.checkpoint_folders(run)
        at = draw.randrange(len(saves))
        what = spoil(saves[at], draw)
        report = fsck(run)
        named = [(each.path, each.code) for each in report.findings]
        expected = saves[at - 1] if at == len(saves) - 1 else saves[-1]
        if named != [(f"checkpoints/{saves[at].name}", "RUN-04")] or report.checkpoint != expected:
            found.append(f"{what}: {named}")
        shutil.rmtree(run)
    return found


def false_alarms(place: Path, count: int) -> list[str]:
    """Write `count` sound runs of different lengths and return what fsck says against any."""
    found = []
    with durable.using(Unsynced()):
        for number in range(count):
            run = small_run.make(place / f"sound-{number}")
            small_run.attempt(run, 3 + number % 16)
            found += [f"{each.path}: {each.problem}" for each in fsck(run).findings]
            shutil.rmtree(run)
    return found


def repaired(sound: Path, place: Path, count: int, seed: int) -> tuple[int, list[str]]:
    """Repair `count` runs with several damages; return how much was moved and what did not hold."""
    draw, moved, broken = random.Random(seed), 0, []
    for number in range(count):
        run = Path(shutil.copytree(sound, place / f"repaired-{number}"))
        for folder in draw.sample([*check.checkpoint_folders(run), run / "adapter"], k=draw.randrange(1, 4)):
            spoil(folder, draw)
        for name in draw.sample(("x.part", "adapter.part", "checkpoints/y", "cache.pkl"), k=2):
            (run / name).write_bytes(draw.randbytes(50))
        before = sizes(run)
        moved += len(fsck(run, repair=True).moved)
        again = fsck(run, repair=True)
        if sizes(run) != before or again.moved or not again.ok:
            broken.append(f"run {number}: {before} bytes, then {sizes(run)}; {again.findings}")
        shutil.rmtree(run)
    return moved, broken
