"""Faults on purpose: named points in the code that do nothing unless a test armed them.

`TUNESMITH_FAULTS="ckpt.file:kill@3;write:ENOSPC@5+;loss:nan@4..6"` names points, what happens there, and at
which passing: `@3` the third, `@5+` from the fifth on, `@4..6` these, without `@` the first. `*` stands for
every point. A child gets the variable only from a test: the list of what is passed on to children lacks it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

VARIABLE = "TUNESMITH_FAULTS"
ERRORS = ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "ENOLCK", "EFBIG")
# What the place itself has to do when it is told so.
TOLD = ("nan", "inf", "spike", "oom", "device-lost", "short-write", "clock+3600", "clock-3600")
ACTIONS = ("kill", "hang", "none", *ERRORS, *TOLD)
HANG_SECONDS = 3600.0
_RULE = re.compile(r"([a-z*][a-z0-9_.\-]*):([A-Za-z0-9+\-]+?)(?:@(\d+)(?:(\+)|\.\.(\d+))?)?")


@dataclass(frozen=True)
class Fault:
    """One rule: what happens at a point from its `first` to its `last` passing (1 is the first)."""

    name: str
    action: str
    first: int
    last: int


def parse(text: str) -> tuple[Fault, ...]:
    """Return the rules of a text; raises ValueError for one that cannot be obeyed."""
    found = []
    for part in filter(None, (p.strip() for p in text.split(";"))):
        match = _RULE.fullmatch(part)
        if match is None or match[2] not in ACTIONS:
            raise ValueError(f"{part!r} is no fault; write point:action@n with one of {', '.join(ACTIONS)}")
        first = int(match[3] or 1)
        last = sys.maxsize if match[4] else int(match[5] or first)
        found.append(Fault(match[1], match[2], first, last))
    return tuple(found)


_armed: tuple[Fault, ...] = parse(os.environ.get(VARIABLE, ""))
_passed: Counter[str] = Counter()
_counting = threading.Lock()
fired: list[tuple[str, str, int]] = []  # point, action, passing


def armed() -> str:
    """Return the rules in force as text, empty in ordinary life."""
    return ";".join(f"{f.name}:{f.action}@{f.first}..{f.last}" for f in _armed)


def passed() -> dict[str, int]:
    """Return how often each point was passed since faults were armed."""
    return dict(_passed)


@contextlib.contextmanager
def arm(text: str) -> Iterator[None]:
    """Put rules in force in this process for a while; counting begins anew."""
    global _armed
    before, _armed = _armed, parse(text)
    _passed.clear()
    fired.clear()
    try:
        yield
    finally:
        _armed = before


def point(name: str) -> str:
    """Pass a point: die, hang or raise OSError here, or return what the caller is to do (else "").

    An armed process that has nothing to do still counts, so that a test can fail each passing in turn.
    """
    if not _armed or not name:
        return ""
    with _counting:
        _passed[name] += 1
        _passed["*"] += 1
        due = next(
            (f for f in _armed if f.name in (name, "*") and f.first <= _passed[f.name] <= f.last), None
        )
        if due is None:
            return ""
        fired.append((name, due.action, _passed[due.name]))
    return _do(name, due.action)


def _do(name: str, action: str) -> str:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
    elif action == "hang":
        time.sleep(HANG_SECONDS)
    elif action in ERRORS:
        number = getattr(errno, action)
        raise OSError(number, f"{os.strerror(number)} (fault armed at {name})")
    return action if action in TOLD else ""
