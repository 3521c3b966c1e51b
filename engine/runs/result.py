"""Whether the result of a finished run is whole: read to its last byte where asked, else as last found.

A verdict is kept for as long as the operating system tells of the same files (size and times); bits that
rot move none of these, so whoever opens a run or uses its result reads it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import durable, paths
from engine.errors import EngineError
from engine.runs import check, fsck_papers

MOST_KEPT = 2048
# Up to here a result is read each time that it is used; reading a larger one takes seconds.
SMALL_BYTES = 1 << 30


@dataclass(frozen=True)
class Verdict:
    """What was found: the folder's name, why it is not whole (or nothing), the step of the newest whole save.

    `step` is looked for in what is damaged only; 0 says that there is none.
    """

    name: str
    problem: str = ""
    step: int = 0

    @property
    def way_on(self) -> str:
        """Return what is still sound, and what to do."""
        if self.step:
            return (
                f"The save of step {self.step} is sound: make the result again from it, on the run's page or "
                "with `runs repair` and `resume`. What is damaged is kept in quarantine."
            )
        return "No save of it is whole: start again with the same recipe."


def verify(run: Path) -> Verdict | None:
    """Read a run's result whole and say what was found; None where there is none. Takes 1 s per 500 MB."""
    name = _name(run)
    if name is None:
        return None
    before = _key(run / name)
    problem = _outside(run, name) or check.problem_of(run / name)
    found = Verdict(name, problem, _sound_step(run) if problem else 0)
    if before and _key(run / name) == before:  # else it is being written just now
        _keep(before, found)
    return found


def known(run: Path) -> Verdict | None:
    """Return what is known of a run's result without reading it: names, sizes and what was found before.

    None where there is no result, or one that was never read.
    """
    name = _name(run)
    if name is None:
        return None
    problem = _outside(run, name) or check.problem_of(run / name, whole=False)
    return Verdict(name, problem) if problem else _kept().get(_key(run / name))


def to_be_read(run: Path, most: int = SMALL_BYTES) -> bool:
    """Return whether a run has a result of at most so many bytes of which nothing is known."""
    name = _name(run)
    return name is not None and known(run) is None and _bytes(run / name) <= most


def refuse_damaged(run: Path) -> None:
    """Raise EngineError MODEL-02 where the result of a run is not whole; without one nothing is said."""
    name = _name(run)
    if name is None:
        return
    key = _key(run / name)
    found = known(run) if key in _READ_HERE or _bytes(run / name) > SMALL_BYTES else None
    found = found or verify(run)
    _READ_HERE.add(key)
    if found is not None and found.problem:
        if not found.step:
            found = Verdict(found.name, found.problem, _sound_step(run))
        raise as_error(run, found)


def as_error(run: Path, found: Verdict) -> EngineError:
    """Return a damaged result as an error."""
    return EngineError(
        f"The result of {paths.show_name(run.name)} is damaged: {paths.show_name(found.problem, 200)}.",
        found.way_on,
        "MODEL-02",
        file=str(run / found.name),
    )


_READ_HERE: set[str] = set()  # what this process has read itself, by key
_LOCK = threading.Lock()
_MEMORY: dict[Path, tuple[tuple[int, int], dict[str, Verdict]]] = {}


def _name(run: Path) -> str | None:
    """Return which result a run has: the one its closing note tells of, else one that has a manifest."""
    told = fsck_papers.result_told(run)
    if told is not None:
        return told[0]
    return next((name for name in check.RESULTS if (run / name / check.MANIFEST).is_file()), None)


def _outside(run: Path, name: str) -> str:
    """Return why a result is not the one that its run tells of."""
    told = fsck_papers.result_told(run)
    if not (run / name).is_dir():
        return f"the folder {name} is missing"
    if told is None:
        return ""
    try:
        same = durable.sha256_file(run / name / check.MANIFEST) == told[1]
    except OSError:
        return "its manifest cannot be read"
    return "" if same else "it is not the one that the closing note tells of"


def _sound_step(run: Path) -> int:
    found, _ = check.last_checkpoint(run)
    return 0 if found is None else check.step_of(found)


def _files(folder: Path) -> list[os.stat_result]:
    return [os.lstat(path) for path in sorted(folder.rglob("*"))]


def _bytes(folder: Path) -> int:
    try:
        return sum(facts.st_size for facts in _files(folder))
    except OSError:
        return 0


def _key(folder: Path) -> str:
    """Return what stands for the state of a folder's files, an empty text where it cannot be told."""
    try:
        facts = [(f.st_dev, f.st_ino, f.st_size, f.st_mtime_ns, f.st_ctime_ns) for f in _files(folder)]
    except OSError:
        return ""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _place() -> Path:
    return paths.cache_dir() / "results.json"


def _kept() -> dict[str, Verdict]:
    """Return the verdicts of before by key; the file is read again when it is another."""
    place = _place()
    try:
        facts = place.stat()
        mark = (facts.st_mtime_ns, facts.st_size)
        with _LOCK:
            before, found = _MEMORY.get(place, ((0, 0), {}))
            if mark != before:
                value: Any = json.loads(place.read_bytes())
                found = {str(k): Verdict(str(v[0]), str(v[1]), int(v[2])) for k, v in value.items()}
                _MEMORY[place] = mark, found
            return found
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}


def _keep(key: str, found: Verdict) -> None:
    others = [item for item in _kept().items() if item[0] != key]
    newest = [*others, (key, found)][-MOST_KEPT:]
    with contextlib.suppress(OSError):  # a cache: without it the files are read again
        durable.write_json(_place(), {k: [v.name, v.problem, v.step] for k, v in newest})
