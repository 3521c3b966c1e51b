"""One job a GPU: a lock for each GPU's UUID in the user's state folder, whatever home a job is of.

The child of a run holds it for as long as it lives, paused or not; an evaluation and a trial do so, too. A
chat looks and holds none: it may stand open for days. Who looks before a start only looks: two that start at
once are told apart here.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from engine.errors import EngineError, from_os_error
from engine.hardware.devices import probe
from engine.jobs import lock
from engine.paths import show_name

# From whoever starts a child to that child: the GPUs it is given, and whether it may share them.
GIVEN, BESIDE = "TUNESMITH_GPUS", "TUNESMITH_BESIDE"
SECONDS = 1.0


def folder() -> Path:
    """Return where the locks lie; they are of the user, not of a home."""
    place = Path(platformdirs.user_state_dir("tunesmith", appauthor=False)) / "gpus"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    return place


def _name(uuid: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", "_", uuid)[:80] + ".lock"


def is_held(uuid: str) -> bool:
    """Return whether a training holds a GPU."""
    try:
        return lock.is_held(folder(), _name(uuid))
    except OSError:
        return False


def holder(uuid: str) -> Path | None:
    """Return the run that holds a GPU, as it says itself; None when none does."""
    if not is_held(uuid):
        return None
    try:
        told: Any = json.loads((folder() / _name(uuid)).read_bytes()[:4096])
        return Path(str(told["run"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Path("another training")


def taken(uuid: str) -> EngineError:
    """Return what is said to whoever wants a GPU that a training holds (GPU-04)."""
    run = holder(uuid)
    who = "Another training" if run is None else f"The run {show_name(run.name)}"
    return EngineError(
        f"{who} uses this GPU.", "Wait until it ends, stop it first, or start anyway.", "GPU-04"
    )


class _GpuLock(lock.FileLock):
    """Holds one GPU; the text inside says which run does, for others to read."""

    def __init__(self, uuid: str, run: Path) -> None:
        super().__init__(folder() / _name(uuid), taken(uuid), SECONDS)
        self._told = {"run": str(run), "pid": os.getpid(), "time": time.time()}

    def __enter__(self) -> _GpuLock:
        super().__enter__()
        if sys.platform != "win32":  # there a locked file can be read by nobody else
            os.ftruncate(self._fd, 0)
            os.write(self._fd, json.dumps(self._told).encode())
        return self


@contextmanager
def held(run: Path, processes: int) -> Iterator[Sequence[str]]:
    """Hold the GPUs of a job: those it was given, else as many as it has processes; gives their UUIDs.

    Raises EngineError GPU-04 where another has one of them and this one was not started beside it.
    """
    given = os.environ.get(GIVEN) if processes else ""
    uuids = [gpu.uuid for gpu in probe().devices[:processes]] if given is None else given.split(",")
    with ExitStack() as stack:
        mine = []
        for uuid in sorted({uuid for uuid in uuids if uuid}):
            try:
                stack.enter_context(_GpuLock(uuid, run))
                mine.append(uuid)
            except EngineError:
                if os.environ.get(BESIDE) != "1":
                    raise
            except OSError as error:
                raise from_os_error(error, str(error.filename or uuid)) from error
        yield mine
