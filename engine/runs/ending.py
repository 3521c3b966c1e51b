"""The words for a job that ended without a closing note (RUN-01): at which step, why, and what is left.

Where its disk takes nothing any more, that is what is told: the job could not write it (DISK-01 to -03).
"""

from __future__ import annotations

import contextlib
import signal
import uuid
from pathlib import Path
from typing import Any

import psutil

from engine import durable
from engine.errors import EngineError, from_os_error
from engine.jobs.spec import read_job
from engine.runs.check import RESULTS, checkpoint_folders, problem_of, step_of
from engine.runs.event_log import preview
from engine.runs.interruptions import number_of

PROCESS_SHARE = 0.9  # of what it may have: the system ends a process that asks for more
MACHINE_SHARE = 0.97
TRY_BYTES = 64 * 1024
UNKNOWN = "its process was killed or died"


def without_note(folder: Path, status: int | None = None, words: str = "") -> EngineError:
    """Return RUN-01 or DISK-* for a job whose child is gone; `status` is its exit status.

    `words` are what it said last.
    """
    events: list[Any] = list(preview(folder, points=0))
    step = 0
    for event in events:
        if event.type == "started":
            step = int(number_of(event, "resumed_from_step") or 0)
        elif event.type == "step":
            step = event.step
    where = f"at step {step} " if step else ""
    refusal = None if status is not None and status < 0 else disk_refusal(folder)
    if refusal is not None:
        words = f"{_what(folder)} ended {where}and could not say why. {refusal.message}"
        return EngineError(words, f"{refusal.hint} {_way_on(folder, step)}", refusal.code, file=str(folder))
    cause = memory_cause(events) or _signal(status) or words or UNKNOWN
    return EngineError(
        f"{_what(folder)} ended {where}without a closing note ({cause}).", _way_on(folder, step), "RUN-01"
    )


def disk_refusal(folder: Path) -> EngineError | None:
    """Return what the disk of a job says to somebody who writes there now, None where it takes what is given.

    Tried on a file in `control/`: there everybody may make one.
    """
    place = folder / "control" / f"{uuid.uuid4().hex}.try"
    try:
        fd = durable.disk.open(place, durable.WRITE, 0o600)
        try:
            durable.write_all(fd, bytes(TRY_BYTES))
        finally:
            durable.disk.close(fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        return from_os_error(error, str(folder))
    finally:
        durable.discard(place)
    return None


def memory_cause(events: list[Any]) -> str:
    """Return that memory ran out where the last sign of life was near the limit, else nothing."""
    beat = next((e for e in reversed(events) if e.type == "heartbeat"), None)
    held = number_of(beat, "memory_bytes") or 0.0
    limit = number_of(beat, "limit_bytes") or 0.0
    if limit <= 0:
        return ""
    if held > PROCESS_SHARE * limit:
        return f"memory ran out: it held {held / 1e9:.1f} of {limit / 1e9:.1f} GB"
    hardware = next((e for e in reversed(events) if e.type == "hardware"), None)
    used = number_of(hardware, "ram_used_bytes") or 0.0
    if limit >= psutil.virtual_memory().total and used > MACHINE_SHARE * limit:
        return f"memory ran out: {used / 1e9:.1f} of {limit / 1e9:.1f} GB of this computer were in use"
    return ""


def _signal(status: int | None) -> str:
    if status is None or status >= 0:
        return ""
    with contextlib.suppress(ValueError):
        return f"its process was killed, {signal.Signals(-status).name}"
    return f"its process was killed, signal {-status}"


def _what(folder: Path) -> str:
    try:
        kind = read_job(folder).kind
    except EngineError:
        kind = "train"
    return "Training" if kind == "train" else "The job"


def _way_on(folder: Path, step: int) -> str:
    sound = [f for f in checkpoint_folders(folder) if not problem_of(f, whole=False)]
    if not sound:
        return "Nothing was saved yet; start it again."
    if any((folder / name).is_dir() and not problem_of(folder / name) for name in RESULTS):
        return (
            "The result is complete; only its closing note is missing. Resume makes it once more and closes."
        )
    saved = step_of(sound[-1])
    lost = max(0, step - saved)
    repeated = {0: "", 1: "; 1 step is repeated"}.get(lost, f"; {lost} steps are repeated")
    return f"Everything up to the last save is sound. Resume goes on from step {saved}{repeated}."
