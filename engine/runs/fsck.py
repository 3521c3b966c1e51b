"""One look over a run's whole folder, for the window, a resume, the command line and tests alike.

`fsck` reads. With `repair` it moves what cannot be believed or does not belong there into `quarantine/`,
under the lock of the run; it deletes nothing, and doing it twice changes nothing more. What stays damaged in
its place is said and left there: the log only grows, and what was asked of the run is not ours to change.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import durable, paths
from engine.errors import from_os_error
from engine.jobs import lock
from engine.links import is_link
from engine.runs import check, fsck_log, fsck_papers, run_names
from engine.runs.check import Damage
from engine.runs.run_names import PART, QUARANTINE


@dataclass(frozen=True)
class Report:
    """What was found in a run's folder, what was moved (from, to) and the newest save that is whole.

    `passed_over` are the damaged saves that are newer than that one.
    """

    findings: tuple[Damage, ...]
    checkpoint: Path | None = None
    passed_over: tuple[Damage, ...] = ()
    moved: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Return whether nothing was found that is still in its place."""
        return all(each.path in self.moved for each in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the answer of `runs check` and `runs repair`."""
        found = [
            {
                "path": paths.show_name(each.path, 300),
                "problem": paths.show_name(each.problem, 300),
                "code": each.code,
                "moved_to": self.moved.get(each.path),
            }
            for each in self.findings
        ]
        step = None if self.checkpoint is None else check.step_of(self.checkpoint)
        return {"ok": self.ok, "findings": found, "checkpoint_step": step}

    def as_text(self) -> str:
        """Return one line for each finding, for the details of a message; empty where nothing was found."""
        return "\n".join(paths.show_name(f"{e.path} {e.problem} ({e.code})", 400) for e in self.findings)

    def warnings(self) -> list[tuple[str, str, str]]:
        """Return (code, message, hint) for what a resume passes over or has moved away."""
        return [_told(damage, self.checkpoint) for damage in self.findings if damage.path in self.moved]


def fsck(run: Path, *, repair: bool = False, holding: bool = False, thorough: bool = True) -> Report:
    """Look over a run's folder and say what is not whole in it.

    `holding` says that the caller holds the run's lock. Without `thorough` digests are taken of the newest
    saves only, until one is whole, and the log is not read: quick enough to be done before each start.
    Raises EngineError RUN-02 when `repair` is asked for while a child works there, DISK-* when a move fails.
    """
    if not repair:
        return _look(run, lock.is_held(run) and not holding, thorough)
    with contextlib.nullcontext() if holding else lock.FolderLock(run, links_too=True):
        found = _look(run, False, thorough)
        if any(each.code == "RUN-12" for each in found.findings):
            return found  # a newer version may keep what this one does not know
        moved = _quarantine(run, [each for each in found.findings if each.moves])
        return Report(found.findings, found.checkpoint, found.passed_over, moved)


def _look(run: Path, going: bool, thorough: bool) -> Report:
    foreign = list(_foreign(run))
    away = {each.path for each in foreign}
    checkpoint, damaged, newer = _checkpoints(run, away, going, thorough)
    whole_results = [name for name in check.RESULTS if (run / name).exists() and name not in away]
    results = [] if going else list(_results(run, whole_results, thorough))
    litter = [] if going else list(_litter(run, away | {each.path for each in [*damaged, *results]}))
    papers = list(fsck_papers.look(run, [each.path for each in results]))
    log = list(fsck_log.look(run, going)) if thorough else []
    findings = [*papers, *damaged, *results, *litter, *_outermost(foreign, damaged + results), *log]
    return Report(tuple(findings), checkpoint, tuple(newer))


def _checkpoints(
    run: Path, away: set[str], going: bool, thorough: bool
) -> tuple[Path | None, list[Damage], list[Damage]]:
    """Return the newest whole save, all damaged ones, and those of them that are newer than it."""
    newest: Path | None = None
    damaged: list[Damage] = []
    newer: list[Damage] = []
    for folder in reversed(check.checkpoint_folders(run)):
        name = f"checkpoints/{folder.name}"
        if name in away or (going and not (folder / check.MANIFEST).exists()):
            continue  # a link; or one that is being written or pruned just now
        problem = check.problem_of(folder, whole=thorough or newest is None)
        if not problem:
            newest = newest or folder
            continue
        damaged.insert(0, Damage(name, problem, "RUN-04", moves=True))
        if newest is None:
            newer.insert(0, damaged[0])
    return newest, damaged, newer


def _results(run: Path, names: list[str], thorough: bool) -> Iterator[Damage]:
    told = fsck_papers.result_told(run)
    for name in names:
        problem = check.problem_of(run / name, whole=thorough)
        if not problem and told is not None and told[0] == name:
            found = durable.sha256_file(run / name / check.MANIFEST)
            problem = "" if found == told[1] else "it is not the one that the closing note tells of"
        if problem:
            yield Damage(name, problem, "RUN-05", moves=True)


def _litter(run: Path, away: set[str]) -> Iterator[Damage]:
    """Yield what a write left behind that never came to its end, and what lies loose among the saves."""
    loose = {f"checkpoints/{folder.name}" for folder in check.checkpoint_folders(run)}
    for entry in run_names.entries(run):
        path = Path(entry.path).relative_to(run).as_posix()
        if any(path == each or path.startswith(each + "/") for each in away):
            continue
        above = path.rpartition("/")[0]
        if entry.name.endswith(PART):
            if not above.endswith(PART):
                yield Damage(path, "was not written to its end", "RUN-01", moves=True)
        elif above == "checkpoints" and path not in loose:
            yield Damage(path, "is no save", "RUN-01", moves=True)


def _foreign(run: Path) -> Iterator[Damage]:
    keeps = run_names.keeps_modes(run)
    for entry in run_names.entries(run):
        why, code = run_names.foreign(entry, keeps)
        if why:
            yield Damage(Path(entry.path).relative_to(run).as_posix(), why, code, moves=True)


def _outermost(foreign: list[Damage], folders: list[Damage]) -> list[Damage]:
    """Return what does not already go away with a damaged folder that it lies in."""
    roots = tuple(f"{each.path}/" for each in folders)
    return [each for each in foreign if not each.path.startswith(roots)]


def _quarantine(run: Path, found: list[Damage]) -> dict[str, str]:
    """Move what was found out of the way, under the names it had, and return where each lies now."""
    if not found:
        return {}
    moved: dict[str, str] = {}
    try:
        place = _own_folder(run, QUARANTINE)
        for damage in found:
            source = run / damage.path
            if not os.path.lexists(source):
                continue
            target = _free(place / damage.path)
            durable.make_folder(target.parent)
            durable.disk.replace(source, target)
            durable.fsync_folder(target.parent)
            durable.fsync_folder(source.parent)
            moved[damage.path] = target.relative_to(run).as_posix()
    except OSError as error:
        raise from_os_error(error, str(run)) from error
    return moved


def _own_folder(run: Path, name: str) -> Path:
    """Return a real folder of this name in the run, or of the next one that nobody has put a link at."""
    place, number = run / name, 2
    while os.path.lexists(place) and (is_link(place) or not place.is_dir()):
        place, number = run / f"{name}-{number}", number + 1
    durable.make_folder(place)
    return place


def _free(target: Path) -> Path:
    place, number = target, 2
    while os.path.lexists(place):
        place, number = target.with_name(f"{target.name}.{number}"), number + 1
    return place


def _save_words(damage: Damage, sound: Path | None) -> tuple[str, str]:
    step = int(damage.path.rpartition("-")[2])
    if sound is None:
        return f"The save of step {step} is damaged ({damage.problem}).", "It is kept in quarantine."
    words = f"The save of step {step} is damaged ({damage.problem}); step {check.step_of(sound)} is sound."
    return words, f"The run goes on from {check.step_of(sound)}; the damaged one is kept in quarantine."


_WORDS: dict[str, Callable[[Damage, Path | None], tuple[str, str]]] = {"RUN-04": _save_words}


def _told(damage: Damage, sound: Path | None) -> tuple[str, str, str]:
    words = _WORDS.get(damage.code)
    if words is not None:
        message, hint = words(damage, sound)
    else:
        message = f"{paths.show_name(damage.path, 200)} {damage.problem}."
        hint = "It is kept in quarantine; nothing of the run's saves is lost with it."
    return damage.code, paths.show_name(message, 400), hint
