"""Long forms of the goals on crashes: kills, power cuts, torn logs, damages, signals.

usage: python -m tests.bench.reliability R1 R2 ...
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import durable  # noqa: E402
from engine.jobs import process  # noqa: E402
from engine.runs import check, store  # noqa: E402
from engine.runs.event_log import EventReader  # noqa: E402
from engine.runs.fsck import fsck  # noqa: E402
from tests.reliability.harness import damages, power_cut, small_run, torn_logs  # noqa: E402
from tests.reliability.harness.crash_disk import Unsynced  # noqa: E402
from tests.reliability.harness.killed_runs import POINTS, Runs  # noqa: E402
from tests.reliability.harness.tiny_runs import Place  # noqa: E402

KILLS, REAL_KILLS, IMAGES, LOGS, DAMAGES = 200, 20, 2000, 5000, 500
SPEED_BYTES, SPEED_SECONDS = 500 * 10**6, 1.0
PATIENCE_SECONDS = 600.0
EVALUATED = {"data__validation_split": 0.2, "evaluation__eval_steps": 8}


def _sound(broken: list[str]) -> None:
    assert not broken, f"{len(broken)} did not hold, first: {broken[:3]}"


def kills(place: Path) -> str:
    """R1: kills at random moments, of the small writer and of the real trainer."""
    runs = Runs(place / "small")
    found = runs.kill_anywhere(KILLS // 2, seed=1)
    timed = runs.kill_after(KILLS - KILLS // 2, seed=2)
    _sound(found.broken + timed.broken)
    real, count = _real_kills(Place(place), REAL_KILLS), found.kills + timed.kills
    return f"{count} kills and {real} of the real trainer: 0 announced saves lost, 0 wrecks believed"


def _wait_for(folder: Path, child: process.JobProcess, wanted: Callable[[Any], bool]) -> bool:
    """Wait until an event comes for which `wanted` holds; return whether it came before the child's end."""
    reader, deadline = EventReader(folder), time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        over = child.poll() is not None
        if any(wanted(event) for event in reader.read_new()):
            return True
        if over:
            return False
        time.sleep(0.005)
    raise AssertionError(f"nothing came of {folder.name}: {process.last_words(folder)}")


def _real_kills(place: Place, count: int) -> int:
    """Kill children that train, each at the nth event of its attempt, until so many were killed."""
    draw, done = random.Random(3), 0
    while done < count:
        run = place.make(**EVALUATED)
        while done < count:
            left, child = draw.randrange(2, 60), process.start(run)
            known = len(EventReader(run).read_new())
            came = _wait_for(run, child, lambda event, at=known + left: event.seq >= at)
            child.kill()
            child.wait(60)
            if not came:
                break  # it had finished before
            done += 1
            told = [e.step for e in EventReader(run).read_new() if e.type == "checkpoint_saved"]
            kept, _ = check.last_checkpoint(run)
            newest = 0 if kept is None else check.step_of(kept)
            assert newest >= max(told, default=0), f"step {max(told)} was announced, {newest} is there"
        assert process.start(run).wait(600) == 0 or store.state_of(run) == "finished"
        assert store.state_of(run) == "finished"
        _sound([each.path for each in fsck(run).findings if each.code != "RUN-09"])
    return done


def cuts(place: Path) -> str:
    """R2: images of power cuts of a run in one attempt, of one that went on, of one that was repaired."""
    shares = {power_cut.ONCE: IMAGES // 2, power_cut.GONE_ON: IMAGES // 4, power_cut.REPAIRED: IMAGES // 4}
    found = [
        power_cut.look(place / str(number), count, number, resume_every=4, story=story)
        for number, (story, count) in enumerate(shares.items())
    ]
    _sound([fault for each in found for fault in each.broken])
    assert sum(each.images for each in found) == IMAGES
    kinds = ", ".join(
        f"{code} {n}" for code, n in sum((each.kinds for each in found), Counter()).most_common()
    )
    calls, resumed = sum(each.calls for each in found), sum(each.resumed for each in found)
    return f"{IMAGES} images of {calls} calls, {resumed} gone on: 0 without a usable state ({kinds})"


def logs(place: Path) -> str:
    """R14: torn, zeroed, overwritten and shortened logs."""
    place.mkdir()
    _sound(torn_logs.spoil(place, LOGS, seed=1) + torn_logs.cut_everywhere(place))
    return f"{LOGS} spoilt logs and cuts behind every byte: all whole lines read"


def checks(place: Path) -> str:
    """R16: damages found, false alarms, and the time for 500 MB."""
    place.mkdir()
    with durable.using(Unsynced()):
        sound = small_run.make(place / "run")
        small_run.attempt(sound)
    _sound(damages.missed(sound, place, DAMAGES, seed=1))
    _sound(damages.false_alarms(place, DAMAGES))
    seconds, waited = _speed(place)
    assert seconds < SPEED_SECONDS, f"{seconds:.2f} s of a processor for 500 MB"
    told = f"{DAMAGES} damages found, 0 false alarms on {DAMAGES} sound runs"
    return f"{told}, 500 MB in {seconds:.2f} s of a processor ({waited:.2f} s by the clock)"


def _speed(place: Path) -> tuple[float, float]:
    """Return the seconds of a processor and of the clock that fsck takes over 500 MB, the best of three.

    Other programs make the clock's longer, not the processor's.
    """
    run = small_run.make(place / "large")
    block = random.Random(0).randbytes(1 << 20)
    for step in range(1, 5):
        folder = run / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        with open(folder / "optimizer.safetensors", "wb") as file:
            for _ in range(SPEED_BYTES // 4 // len(block)):
                file.write(block)
        check.write_manifest(folder)
    took = []
    for _ in range(3):
        began = time.process_time(), time.monotonic()
        assert fsck(run).checkpoint is not None
        took.append((time.process_time() - began[0], time.monotonic() - began[1]))
    return min(each[0] for each in took), min(each[1] for each in took)


def repairs(place: Path) -> str:
    """R24: repairs of runs with several damages keep every byte, and a second one moves nothing."""
    place.mkdir()
    with durable.using(Unsynced()):
        sound = small_run.make(place / "run")
        small_run.attempt(sound)
        moved, broken = damages.repaired(sound, place, DAMAGES, seed=2)
    _sound(broken)
    return f"{DAMAGES} repairs moved {moved} files and folders: 0 bytes lost, 0 moved twice"


def points(place: Path) -> str:
    """F2-F4: a kill at every passing of every named point."""
    runs = Runs(place)
    found = {row: runs.kill_at_each(names) for row, names in POINTS.items()}
    _sound([fault for each in found.values() for fault in each.broken])
    told = ", ".join(f"{row.upper()} {each.kills}" for row, each in found.items())
    return f"kills at every passing of every point: {told}; 0 saves lost, all went on"


PHASES: dict[str, Callable[[Any], bool]] = {
    "started": lambda e: e.type == "started",
    "data": lambda e: e.type == "data_prepared",
    "model": lambda e: e.type == "model_loaded",
    "step": lambda e: e.type == "step" and e.step == 3,
    "save": lambda e: e.type == "checkpoint_saved",
    "evaluation": lambda e: e.type == "evaluated" and e.step >= 8,
}


def signals(place: Path) -> str:
    """F6: INT and TERM in every phase are a stop with a save, HUP is ignored in all of them."""
    home, sent = Place(place), 0
    for name, reached in PHASES.items():
        for number in (signal.SIGINT, signal.SIGTERM):
            run = home.make(training__num_train_epochs=40, **EVALUATED)
            child = process.start(run)
            assert _wait_for(run, child, reached), f"{name} never came"
            os.kill(child.pid, signal.SIGHUP)
            os.kill(child.pid, number)
            sent += 2
            status, state = child.wait(600), store.state_of(run)
            assert (status, state) == (0, "stopped"), f"{number.name} in {name}: {status}, {state}"
            kept, damaged = check.last_checkpoint(run)
            steps = [e.step for e in EventReader(run).read_new() if e.type == "step"]
            newest = 0 if kept is None else check.step_of(kept)
            assert not damaged and newest == max(steps, default=0), f"{number.name} in {name}: {newest}"
    return f"{sent} signals in {len(PHASES)} phases: every INT and TERM a stop with a save, every HUP ignored"


def _below(work: Callable[[Path], str]) -> Callable[[], str]:
    def measure() -> str:
        with tempfile.TemporaryDirectory() as place:
            return work(Path(place) / "work")

    return measure


def _made(work: Callable[[Path], str]) -> Callable[[Path], str]:
    def begin(place: Path) -> str:
        place.mkdir()
        return work(place)

    return begin


MEASURES: dict[str, Callable[[], str]] = {
    "R1": _below(_made(kills)),
    "R2": _below(_made(cuts)),
    "R14": _below(logs),
    "R16": _below(checks),
    "R24": _below(repairs),
    "F2-F4": _below(_made(points)),
    "F6": _below(_made(signals)),
}
