"""The process that advances the queue while no window is open; it ends when nothing waits any more."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from engine import durable, paths
from engine.errors import EngineError
from engine.jobs import lock, process
from engine.runs import queue
from engine.runs.advance import Started, advance, is_going

RUNNER_LOCK = "queue-runner.lock"
LOOK_SECONDS = 1.0
LOG_BYTES = 1_000_000
VERB = "queue-runner"


def ensure_running() -> bool:
    """Start the process when something waits and none is there; return whether one was started.

    It stands in a session of its own: closing or killing whoever started it does not touch it.
    """
    now = queue.read()
    if not now.queued or now.held or lock.is_held(paths.home(), RUNNER_LOCK):
        return False
    log = paths.home() / "logs" / "queue.log"
    durable.make_folder(log.parent)
    mode = "wb" if log.exists() and log.stat().st_size > LOG_BYTES else "ab"
    with open(log, mode) as output:
        subprocess.Popen(
            process.child_command([VERB]),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=paths.neutral_folder(),
            env=process.child_environment(),
            start_new_session=True,
            close_fds=True,
        )
    return True


def run_queue(tell: Callable[[Started], None] | None = None, *, alone: bool = True) -> None:
    """Advance the queue until nothing waits; `alone` leaves at once when another process does that already.

    A queue on hold is nobody's work: whoever lets it go on starts the process again.
    """
    if not alone:
        _until_empty(tell)
        return
    taken = EngineError("The queue is being run already.", "`tunesmith queue list` shows it.", "RUN-02")
    durable.make_folder(paths.home())
    with lock.FileLock(paths.home() / RUNNER_LOCK, taken, seconds=0.0):
        _until_empty(tell)


def _until_empty(tell: Callable[[Started], None] | None) -> None:
    children: list[process.JobProcess] = []
    while True:
        for started in advance():
            children.append(started.child)
            if tell is not None:
                tell(started)
        children = [child for child in children if child.poll() is None]  # poll collects those that ended
        now = queue.read()
        # The last ones are waited for, so that a failure is noticed and what is begun is never forgotten.
        if now.held or not (now.queued or any(is_going(begun) for begun in now.begun)):
            return
        time.sleep(LOOK_SECONDS)
