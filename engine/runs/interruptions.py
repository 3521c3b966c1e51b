"""What a history makes of events that no step explains: sleep, a process not let run, a clock set, a jump.

The fields come from a file that may be anybody's: what is no number is left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.runs.history import RunHistory

MINUTE, HOUR = 60.0, 3600.0


def number_of(event: Any, name: str) -> float | None:
    """Return a field of an event as a finite number, None where it is none."""
    value = getattr(event, name, None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def suspended(history: RunHistory, event: Any) -> None:
    """The computer slept, or the process was not let run: time that the run did not have."""
    seconds = number_of(event, "seconds")
    if seconds is None or seconds <= 0:
        return
    by = "Paused by the computer" if event.type == "suspended" else "The process was not let run"
    history._say(event, "info", f"{by} for {span(seconds)}")
    if getattr(event, "in_mono", False) is True:
        history.elapsed_seconds = max(0.0, history.elapsed_seconds - seconds)
        history._pace.forget_gap()
        history._held = None if _was_in_last_step(history, seconds) else seconds


def _was_in_last_step(history: RunHistory, seconds: float) -> bool:
    """Take the speed of the last step back where it held the whole gap; else the next step will."""
    if history._last_seconds < seconds or not history.has_stepped:
        return False
    history.series["tokens_per_second"].append(history.step, None)
    return True


def clock_jump(history: RunHistory, event: Any) -> None:
    """The wall's clock was set: nothing that is shown hangs on it but the times in the log."""
    seconds = number_of(event, "seconds")
    if seconds is not None:
        way = "forward" if seconds > 0 else "back"
        history._say(event, "info", f"The computer's clock was set {way} by {span(abs(seconds))}")


def note_spike(history: RunHistory, event: Any) -> None:
    """Keep the step that a warning of a jump is about (RUN-08): it is marked on the curve."""
    step = number_of(event, "step")
    if event.code == "RUN-08" and step is not None:
        history.spikes.append(int(step))


def span(seconds: float) -> str:
    """Return a length of time in words: 45 s, 12 min, 3 h."""
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.0f} h"


ACTS = {"suspended": suspended, "held": suspended, "clock_jump": clock_jump}
