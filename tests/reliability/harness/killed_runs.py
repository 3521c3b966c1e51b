"""Runs whose child is killed, at each named point or anywhere, and what is left of them."""

from __future__ import annotations

import json
import random
import shutil
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from engine import durable
from engine.runs import check, store
from engine.runs.event_log import EventReader
from engine.runs.fsck import fsck
from tests.reliability.harness import damages, killing, small_run
from tests.reliability.harness.crash_disk import Unsynced

POINTS = {
    "f02": ("ckpt.file",),
    "f03": ("ckpt.manifest.before", "ckpt.manifest.mid", "ckpt.manifest.after"),
    "f04": ("prune.unlink", "publish.file", "exit.before", "exit.after"),
}


@dataclass
class Killed:
    """How many attempts were killed, and what did not hold afterwards."""

    kills: int = 0
    states: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)


class Runs:
    """Makes runs below a folder, kills their attempts and judges what is left; syncs are left out.

    What was written is there for the next process whether it was synced or not: only the power takes it.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        with durable.using(Unsynced()):
            self.passed = small_run.passings(place / "counted")
            self.truth = small_run.truth(place / "truth")
            self._fresh = small_run.make(place / "fresh")

    def kill_at(self, armed: str, found: Killed, *, resume: bool = True) -> None:
        """Let an attempt meet a fault that kills it, and judge its folder; then let another one go on."""
        run = Path(shutil.copytree(self._fresh, self._place / "run"))
        with durable.using(Unsynced()):
            status = killing.in_process(lambda: small_run.attempt(run), armed=armed)
            if status != -9:
                found.broken.append(f"{armed}: the attempt ended with {status}")
            self._take(run, armed, found, resume)

    def kill_after(self, count: int, seed: int) -> Killed:
        """Kill `count` attempts, syncs and all, after times drawn at random; one may have ended before."""
        draw, found = random.Random(seed), Killed()
        began = time.monotonic()
        killing.in_process(lambda: small_run.attempt(small_run.make(self._place / "timed")))
        longest = time.monotonic() - began
        for number in range(count):
            run = Path(shutil.copytree(self._fresh, self._place / "run"))
            after = draw.uniform(0.0, longest)
            killing.in_process(partial(small_run.attempt, run), after=after)
            self._take(run, f"after {after:.3f} s", found, number % 4 == 0)
        return found

    def _take(self, run: Path, how: str, found: Killed, resume: bool) -> None:
        with durable.using(Unsynced()):
            found.kills += 1
            found.states.add(store.state_of(run))
            found.broken += [f"{how}: {fault}" for fault in self._judge(run, resume)]
        shutil.rmtree(run)

    def kill_anywhere(self, count: int, seed: int) -> Killed:
        """Kill `count` attempts at as many calls drawn at random."""
        draw, found = random.Random(seed), Killed()
        for number in range(count):
            armed = f"*:kill@{draw.randrange(1, self.passed['*'] + 1)}"
            self.kill_at(armed, found, resume=number % 4 == 0)
        return found

    def kill_at_each(self, points: tuple[str, ...], most: int | None = None) -> Killed:
        """Kill an attempt at each passing of some points, or at the first, last and some between."""
        found = Killed()
        for name in points:
            last = self.passed[name]
            chosen = range(1, last + 1)
            if most is not None and last > most:
                chosen = sorted({1 + (last - 1) * i // (most - 1) for i in range(most)})
            for number in chosen:
                self.kill_at(f"{name}:kill@{number}", found)
        return found

    def _judge(self, run: Path, resume: bool) -> list[str]:
        broken = self._saves(run)
        state = store.state_of(run)
        whole = not check.problem_of(run / "adapter")
        if (
            state not in ("crashed", "finished", "queued")
            or (state == "finished") != (run / "exit.json").exists()
        ):
            broken.append(f"it is {state}")
        if state == "finished" and not whole:
            broken.append("finished without a result")
        before = damages.sizes(run)
        fsck(run, repair=True)
        if fsck(run, repair=True).moved or damages.sizes(run) != before:
            broken.append("the repair is not idempotent, or lost bytes")
        if resume and state != "finished":
            status = small_run.attempt(run)
            if status or store.state_of(run) != "finished" or fsck(run).findings not in ((), self._torn(run)):
                broken.append(f"it went on with {status} and is {store.state_of(run)}: {fsck(run).findings}")
            if _bare(run / "adapter") != _bare(self._place / "truth" / "adapter"):
                broken.append("it went on to another result")
        return broken

    def _saves(self, run: Path) -> list[str]:
        broken = []
        told = [e.step for e in EventReader(run).read_new() if e.type == "checkpoint_saved"]
        whole = [f for f in check.checkpoint_folders(run) if not check.problem_of(f)]
        for folder in whole:
            if small_run.contents(folder) != self.truth[folder.name]:
                broken.append(f"{folder.name} is believed and is not what was saved")
        if told and (not whole or check.step_of(whole[-1]) < told[-1]):
            broken.append(f"the save of step {told[-1]} was announced and is lost")
        if len(told) > 1 and len(whole) < 2:
            broken.append("fewer than two saves are left")
        return broken

    def _torn(self, run: Path) -> tuple[check.Damage, ...]:
        """Return the one thing that stays to be said: a line the kill cut in two."""
        return tuple(each for each in fsck(run).findings if each.code == "RUN-09")


def _bare(result: Path) -> dict[str, bytes]:
    """Return a result's files; of its manifest the names, since its card may tell of the run."""
    files = small_run.contents(result)
    files[check.MANIFEST] = json.dumps(sorted(json.loads(files[check.MANIFEST])["files"])).encode()
    return files
