"""What has to hold of a run after a power cut at any moment: nothing promised is lost, no wreck believed."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from engine import durable, faults
from engine.errors import EngineError
from engine.jobs.spec import read_job
from engine.runs import check, store
from engine.runs.event_log import EventReader
from engine.runs.fsck import fsck
from tests.reliability.harness import damages, small_run
from tests.reliability.harness.crash_disk import Image, Recorder, Unsynced, images

RUN = "run"


@dataclass
class Found:
    """What was looked at, and what did not hold; `kinds` counts what the images were like."""

    images: int = 0
    calls: int = 0
    resumed: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Story:
    """What is recorded: attempts that go to these steps; the first may meet faults and break off."""

    attempts: tuple[int, ...] = (small_run.STEPS,)
    fault: str = ""


ONCE = Story()
GONE_ON = Story((7, small_run.STEPS))
REPAIRED = Story((small_run.STEPS, small_run.STEPS), "ckpt.file:EIO@10;unlink:EIO@1+")


def record(home: Path, story: Story) -> Recorder:
    """Write a run below `home` with every call noted."""
    home.mkdir()
    recorder = Recorder(home)
    with durable.using(recorder):
        run = small_run.make(home / RUN)
        recorder.mark("made")
        for number, steps in enumerate(story.attempts):
            with faults.arm("" if number else story.fault), contextlib.suppress(OSError):
                assert small_run.attempt(run, steps) == 0
                recorder.mark("closed")
    assert store.state_of(run) == "finished" and (run / "quarantine").is_dir() == bool(story.fault)
    return recorder


def look(place: Path, count: int, seed: int = 0, *, resume_every: int = 1, story: Story = ONCE) -> Found:
    """Rebuild `count` different images of a recorded run and judge each; resume every so many of them."""
    place.mkdir(exist_ok=True)
    with durable.using(Unsynced()):
        truth = small_run.truth(place / "truth")
    recorder = record(place / "recorded", story)
    found = Found(calls=len(recorder.calls))
    with durable.using(Unsynced()):
        for number, image in enumerate(images(recorder, count, seed)):
            home = image.build(place / "image")
            found.images += 1
            for fault in _judge(home / RUN, image, truth, found, number % resume_every == 0):
                found.broken.append(f"image {number} after call {image.after}: {fault}")
            shutil.rmtree(home)
    return found


def _judge(
    run: Path, image: Image, truth: dict[str, dict[str, bytes]], found: Found, resume: bool
) -> list[str]:
    """Return what does not hold of one image."""
    if "made" not in image.promised:
        return []  # nobody has been told that there is a run
    try:
        read_job(run)
        store.load_recipe(run)
    except EngineError as error:
        return [f"the papers are not whole: {error.message}"]
    report = fsck(run)
    found.kinds.update({each.code for each in report.findings} or {"sound"})
    broken = [*_saves(run, report.checkpoint, image, truth), *_log(run), *_ending(run, image, truth)]
    before = damages.sizes(run)
    moved = fsck(run, repair=True).moved
    if damages.sizes(run) != before:
        broken.append(f"the repair lost bytes, moving {moved}")
    if (again := fsck(run, repair=True)).moved:
        broken.append(f"a second repair moved {again.moved}")
    if resume:
        found.resumed += 1
        broken += _resume(run, truth)
    return broken


def _saves(run: Path, newest: Path | None, image: Image, truth: dict[str, dict[str, bytes]]) -> list[str]:
    broken = []
    for folder in check.checkpoint_folders(run):
        if not check.problem_of(folder) and small_run.contents(folder) != truth[folder.name]:
            broken.append(f"{folder.name} is believed and is not what was saved")
    promised = [int(label.split()[1]) for label in image.promised if label.startswith("saved")]
    step = 0 if newest is None else check.step_of(newest)
    if promised and step < promised[-1]:
        broken.append(f"step {promised[-1]} was promised, {step} is the newest")
    if len(promised) > 1 and sum(not check.problem_of(f) for f in check.checkpoint_folders(run)) < 2:
        broken.append("fewer than two saves are left")
    return broken


def _log(run: Path) -> list[str]:
    """No line tells of a save that is neither whole nor replaced by a newer one, and none lags behind one."""
    events = EventReader(run).read_new()
    whole = [check.step_of(f) for f in check.checkpoint_folders(run) if not check.problem_of(f)]
    told = [e.step for e in events if e.type == "checkpoint_saved"]
    logged = max((e.step for e in events if e.type == "step"), default=0)
    broken = []
    if told and max(told) > max(whole, default=0):
        broken.append(f"the log tells of the save of step {max(told)}, whole are {whole}")
    if whole and logged < max(whole):
        broken.append(f"the log ends at step {logged}, before the save of {max(whole)}")
    return broken


def _ending(run: Path, image: Image, truth: dict[str, dict[str, bytes]]) -> list[str]:
    broken = []
    whole = not check.problem_of(run / "adapter")
    if whole and small_run.contents(run / "adapter").keys() != truth["adapter"].keys():
        broken.append("the result is believed and lacks files")
    state = store.state_of(run)
    if image.promised[-1] == "closed" and state != "finished":
        broken.append(f"a finished run is {state}")
    if state == "finished" and not whole:
        broken.append("the run is finished without its result")
    return broken


def _resume(run: Path, truth: dict[str, dict[str, bytes]]) -> list[str]:
    """Go on from what is left: it ends, and ends with the result of a run that nothing disturbed."""
    if store.state_of(run) == "finished":
        return []
    try:
        status = small_run.attempt(run)
    except (OSError, EngineError) as error:
        return [f"it cannot go on: {error}"]
    made = _bare(small_run.contents(run / "adapter"))
    if status or store.state_of(run) != "finished" or made != _bare(truth["adapter"]):
        return [f"it went on and is {store.state_of(run)} with status {status}"]
    saves = check.checkpoint_folders(run)
    wrong = [f.name for f in saves if small_run.contents(f) != truth[f.name]]
    return [f"after going on {wrong} are not what was to be saved"] if wrong else []


def _bare(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return a result's files without what names the moment or the run."""
    return {
        name: json.dumps(sorted(json.loads(data)["files"])).encode() if name == check.MANIFEST else data
        for name, data in files.items()
    }
