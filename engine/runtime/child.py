"""A child from its first line to exit.json: lock, events, signs of life, the work, the closing note.

One of the three places where errors are caught: a traceback goes to child.log, a person gets an event.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engine import durable
from engine.errors import EngineError, from_os_error
from engine.events import Failed, Finished, Started, Stopped
from engine.jobs.lock import FolderLock
from engine.jobs.spec import read_job
from engine.runs.check import last_checkpoint, step_of
from engine.runs.event_log import EventWriter
from engine.runtime.control import Control
from engine.runtime.job import Job, Requests
from engine.runtime.vitals import Vitals

NICENESS = 5
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "safetensors", "tokenizers")


def versions() -> dict[str, str]:
    """Return the versions that a result depends on, without importing anything heavy."""
    found = {"python": platform.python_version(), "tunesmith": _version("tunesmith")}
    return found | {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def run_job(folder: Path) -> int:
    """Do the job of `folder`; return 0 when it finished or stopped, 1 when it failed.

    Raises EngineError RUN-02 when another child works there, RUN-03 when it is no job.
    """
    spec = read_job(folder)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    with FolderLock(folder):
        _set_aside_exit(folder)
        control = Control(folder)
        control.clear()
        control.listen_to_signals()
        writer = EventWriter(folder)
        vitals = Vitals(writer)
        job = Job(folder, spec, writer, Requests(control), vitals, versions=versions())
        resumed = _find_checkpoint(job) if spec.kind == "train" and writer.attempt > 1 else None
        writer.write(
            Started(
                job=spec.kind,
                pid=os.getpid(),
                host=socket.gethostname(),
                versions=job.versions,
                resumed_from_step=resumed,
            )
        )
        vitals.start()
        closing = _work(job)
        vitals.end()
        return _close(job, closing)


def _set_aside_exit(folder: Path) -> None:
    closing = folder / "exit.json"
    if closing.exists():
        number = 1 + len(list(folder.glob("exit-*.json")))
        closing.rename(folder / f"exit-{number}.json")


def _find_checkpoint(job: Job) -> int:
    found, damaged = last_checkpoint(job.folder)
    job.resume_from = found
    for damage in damaged:
        print(f"{damage.path}: {damage.problem}", file=sys.stderr)
    return 0 if found is None else step_of(found)


def _work(job: Job) -> Finished | Stopped | Failed:
    try:
        closing: Finished | Stopped = _kinds()[job.spec.kind](job)
        return closing
    except EngineError as error:
        traceback.print_exc()
        return Failed(
            code=error.code,
            message=error.message,
            hint=error.hint,
            file=error.file,
            line=error.line,
            field=error.field,
        )
    except OSError as error:
        traceback.print_exc()
        told = from_os_error(error, str(error.filename or job.folder))
        return Failed(code=told.code, message=told.message, hint=told.hint)
    except MemoryError:
        traceback.print_exc()
        return Failed(
            code="GPU-01", message="Memory ran out.", hint="Use a smaller model or a shorter max_length."
        )
    except Exception as error:
        traceback.print_exc()
        return _unexpected(error)


def _unexpected(error: Exception) -> Failed:
    if type(error).__name__ == "OutOfMemoryError":
        return Failed(
            code="GPU-01",
            message="The GPU ran out of memory.",
            hint="Use load_in_4bit, or a smaller model; then resume.",
        )
    return Failed(
        code="APP-01",
        message=f"Something unexpected happened ({type(error).__name__}).",
        hint="What was saved is sound; the details are in child.log.",
    )


def _close(job: Job, closing: Finished | Stopped | Failed) -> int:
    """Write the last event and exit.json; where the disk refuses, their absence is the answer."""
    try:
        job.write(closing)
        job.sync()
        durable.write_json(job.folder / "exit.json", job.outcome(closing))
    except OSError:
        traceback.print_exc()
        return 1
    return 0 if closing.type != "failed" else 1


def _kinds() -> dict[str, Callable[[Job], Any]]:
    """Return the work of each kind; imported only now, since torch is behind it."""
    from engine.runtime import start

    return {
        "train": start.train_job,
        "merge": start.merge_job,
        "answers": start.answer_job,
    }
        if job.spec.kind == "train":
            job.seal(closing)
