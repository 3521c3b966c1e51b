"""End a process wherever a test wants it: at a named point, at the nth call to the disk, or after a while."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable

from engine import faults


def in_process(work: Callable[[], object], *, armed: str = "", after: float | None = None) -> int:
    """Do `work` in a process of its own and return how it ended: 0, an exit status, or minus its signal.

    `armed` are faults it is to meet; `after` so many seconds it is killed.
    """
    child = os.fork()
    if child == 0:
        _work(work, armed)
    if after is not None:
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status)


def _work(work: Callable[[], object], armed: str) -> None:
    """Be the other process, and leave without what the first one would do at its end."""
    status = 1
    try:
        with faults.arm(armed):
            work()
        status = 0
    except BaseException:  # noqa: BLE001 - nothing of this process may go on in the tests' own code
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(status)
