"""A child from its first line to exit.json: lock, events, signs of life, the work, the closing note.

One of the three places where errors are caught: a traceback goes to child.log, a person gets an event.
"""

from __future__ import annotations

import contextlib
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import durable, faults
from engine.errors import EngineError, from_os_error
from engine.events import Failed, Finished, Started, Stopped, Unknown, Warned
from engine.jobs import gpu_lock, process, room
from engine.jobs.lock import FolderLock
from engine.jobs.spec import JobSpec, read_job, refuse_newer
from engine.runs import calibration, fsck_papers
from engine.runs.check import checkpoint_folders, step_of
from engine.runs.event_log import EventWriter
from engine.runs.fsck import fsck
from engine.runs.store import load_recipe
from engine.runs.versions import refuse_old, versions
from engine.runtime import crew, imports, no_memory
from engine.runtime import lost as lost_device
from engine.runtime.awake import KeepAwake
from engine.runtime.control import Control
from engine.runtime.folder_watch import FolderWatch
from engine.runtime.job import Job, Requests
from engine.runtime.vitals import Vitals

NICENESS = 5
ON_GPU = ("evaluate", "answers", "probe")  # besides trainings: each has its GPU to itself


def run_job(folder: Path, *, alone: bool = False) -> int:
    """Do the job of `folder`; return 0 when it finished or stopped, 1 when it failed.

    `alone` says that this process will do nothing else.
    Raises EngineError RUN-02 when another child works there, RUN-03 when it is no job, RUN-10 when it is a
    run that is finished, RUN-12 when a later version made it.
    """
    imports.forbid_kernels()
    spec = read_job(folder)
    refuse_newer(folder, spec)
    place = crew.place_of_this_process()
    if place is not None and place.rank > 0:
        return _help(folder, spec, place, alone)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    with FolderLock(folder):
        _refuse_finished(folder, spec)
        _set_aside_exit(folder)
        control = Control(folder)
        control.clear()
        control.listen_to_signals()
        writer = EventWriter(folder)
        vitals = Vitals(writer)
        job = Job(
            folder, spec, writer, Requests(control), vitals, versions=versions(), place=place, alone=alone
        )
        if faults.armed():
            writer.write(Unknown.model_validate({"type": "faults_armed", "faults": faults.armed()}))
        _say_started(job)
        awake = _begin_watching(job, control)
        closing = _work(job)
        if job.crew is not None:
            job.crew.end()
        awake.release()
        vitals.end()
        status = _close(job, closing)
        if alone and getattr(closing, "code", "") == lost_device.CODE:
            os._exit(status)  # what a driver does at the end may never end on a device that is gone
        return status


def _say_started(job: Job) -> None:
    """Say from where the attempt goes on, and what of the one before was put away."""
    # Saves are believed without their log: it may have been lost.
    begun = job.spec.kind == "train" and (job.writer.attempt > 1 or checkpoint_folders(job.folder))
    resumed = _find_checkpoint(job) if begun else None
    job.writer.write(
        Started(
            job=job.spec.kind,
            pid=os.getpid(),
            host=socket.gethostname(),
            versions=job.versions,
            resumed_from_step=resumed,
            job_sha256=durable.sha256_file(job.folder / "job.json"),
        )
    )
    for code, message, hint in job.put_away:
        job.writer.write(Warned(code=code, message=message, hint=hint))


def _begin_watching(job: Job, control: Control) -> KeepAwake:
    """Let the threads look after the job's folder, and keep the computer awake."""
    job.watch = FolderWatch(job, control)
    job.vitals.also.append(job.watch.glance)
    job.vitals.start()
    job.awake = KeepAwake(job.writer, f"{job.spec.kind}: {job.spec.name}")
    job.awake.hold()
    return job.awake


def _help(folder: Path, spec: JobSpec, place: crew.Place, alone: bool) -> int:
    """Be another rank of the run: no lock, no events, no files; what goes wrong is left for rank 0 to say."""
    crew.hold_on(place)
    writer: Any = crew.Mute()
    requests, vitals = Requests(Control(folder)), Vitals(writer)
    job = Job(folder, spec, writer, requests, vitals, versions=versions(), place=place, alone=alone)
    closing = _work(job)
    if isinstance(closing, Failed):
        crew.leave_word(place, closing)
        return 1
    return 0


def _gather(job: Job) -> None:
    """Start the other ranks that the run asks for, unless this one was itself started among them."""
    launcher = load_recipe(job.folder).launcher.model_dump()  # a later attempt may ask for another number
    world, remark = crew.wanted_processes(launcher, resumed=job.writer.attempt > 1)
    if job.place is not None or (world == 1 and launcher.get("kind") != "torchrun"):
        return

    def stuck(error: EngineError | None) -> None:
        """Close the attempt from the watching thread: the loop waits for a rank that is gone."""
        if job.crew is not None:
            job.crew.end()
        with contextlib.suppress(OSError):
            _close(job, _unexpected(RuntimeError()) if error is None else _told(error))
        os._exit(1)

    job.crew = crew.Crew(job.folder, world)
    job.place = job.crew.start()
    job.crew.watch(stuck)
    job.vitals.others = job.crew.pids
    if remark:
        job.write(Warned(code="RUN-06", message=remark, hint="The steps are the same up to rounding."))


def _refuse_finished(folder: Path, spec: JobSpec) -> None:
    """Leave a finished run as it is: another attempt would close it with its refusal."""
    closing = process.exit_of(folder) or {}
    if spec.kind == "train" and closing.get("status") == "finished" and fsck_papers.has_its_result(folder):
        raise EngineError("This run is finished.", "Start a new run to go further.", "RUN-10")


def _set_aside_exit(folder: Path) -> None:
    closing = folder / "exit.json"
    if closing.exists():
        number = 1 + len(list(folder.glob("exit-*.json")))
        durable.replace(closing, folder / f"exit-{number}.json")
        durable.fsync_folder(folder)


def _find_checkpoint(job: Job) -> int:
    """Put away what the attempt before left unfinished or what is damaged, and take the newest whole save."""
    report = fsck(job.folder, repair=True, holding=True, thorough=False)
    job.resume_from = report.checkpoint
    job.put_away = report.warnings()
    return _resumed_step(job)


def _resumed_step(job: Job) -> int:
    return 0 if job.resume_from is None else step_of(job.resume_from)


def _work(job: Job) -> Finished | Stopped | Failed:
    try:
        refuse_old()
        no_memory.refuse_too_little()
        if job.spec.kind == "train":
            return _train(job)
        if job.spec.kind == "probe":
            imports.hold_collector(job.alone)
        with gpu_lock.held(job.folder, 1 if job.spec.kind in ON_GPU else 0):
            closing: Finished | Stopped = _kinds()[job.spec.kind](job)
        return closing
    except EngineError as error:
        traceback.print_exc()
        return _told(error)
    except OSError as error:
        traceback.print_exc()
        if no_memory.is_lack(error):
            return no_memory.failed(error)
        told = from_os_error(error, str(error.filename or job.folder))
        return Failed(code=told.code, message=told.message, hint=told.hint)
    except Exception as error:
        traceback.print_exc()
        if lost_device.is_lost(error):
            saved = max((c.step for c in job.history.checkpoints), default=_resumed_step(job))
            return lost_device.failed_at(job.history.step, saved)
        lost = None if job.crew is None else job.crew.loss()
        return _unexpected(error) if lost is None else _told(lost)


def _train(job: Job) -> Finished | Stopped:
    first = job.place is None or job.place.rank == 0  # it holds the GPUs for all of them
    with gpu_lock.held(job.folder, load_recipe(job.folder).launcher.processes if first else 0):
        _gather(job)
        imports.hold_collector(job.alone)
        closing: Finished | Stopped = _kinds()["train"](job)
        return closing


def _told(error: EngineError) -> Failed:
    return Failed(**{name: getattr(error, name) for name in crew.WORDS})


def _unexpected(error: Exception) -> Failed:
    if no_memory.is_lack(error):
        return no_memory.failed(error)
    return Failed(
        code="APP-01",
        message=f"Something unexpected happened ({type(error).__name__}).",
        hint="What was saved is sound; the details are in child.log.",
    )


def _close(job: Job, closing: Finished | Stopped | Failed) -> int:
    """Write the last event and exit.json; where the disk refuses, their absence is the answer."""
    try:
        if job.spec.kind == "train":
            job.seal(closing)
        if job.spec.kind in ("train", "probe"):
            _remember(job, closing)
        job.write(closing)
        if job.writer.full is not None:
            durable.discard(job.folder / room.RESERVE)
        if not job.writer.lost:
            job.sync()
        faults.point("exit.before")
        _write_exit(job, closing)
        faults.point("exit.after")
    except OSError:
        traceback.print_exc()
        return 1
    return 0 if closing.type != "failed" else 1


def _write_exit(job: Job, closing: Finished | Stopped | Failed) -> None:
    """Write exit.json; where the disk is full, as a new file in the room that was held for it."""
    words = job.outcome(closing)
    try:
        durable.write_json(job.folder / "exit.json", words)
    except OSError as error:
        if not durable.is_full(error):
            raise
        durable.discard(job.folder / room.RESERVE)
        durable.write_json(job.folder / "exit.json", words)


def _remember(job: Job, closing: Finished | Stopped | Failed) -> None:
    """Keep what the attempt took for the plans to come; where that cannot be written, no run is worse."""
    if isinstance(closing, Failed):
        return
    source = "probe" if job.spec.kind == "probe" else "run"
    entry = job.tally.entry(job.folder, job.writer.attempt, getattr(closing, "seconds", None), source)
    if entry is None:
        return
    try:
        damage = calibration.record(entry)
    except EngineError as error:
        damage = error.message
    if damage:
        job.write(Warned(code="DISK-03", message=damage, hint="Later plans rest on other runs."))


def _kinds() -> dict[str, Callable[[Job], Any]]:
    """Return the work of each kind; imported only now, since torch is behind it."""
    from engine.runtime import benchmark, certify_job, dry_job, export_job, probe, start

    return {
        "train": start.train_job,
        "probe": probe.probe_job,
        "dry_run": dry_job.dry_run_job,
        "merge": start.merge_job,
        "answers": start.answer_job,
        "evaluate": benchmark.evaluate_job,
        "export": export_job.export_job,
        "certify": certify_job.certify_job,
    }
