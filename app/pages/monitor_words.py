"""What the monitor says: states, figures, phases and log lines in words."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from app.i18n import clock, duration, loss, number, size
from app.widgets.label import set_tip
from app.widgets.phase_view import COMING, DONE, NOW
from app.widgets.run_strip import RunStrip
from app.widgets.samples_view import Answers
from engine.paths import show_name
from engine.recipe.method_names import method_label
from engine.recipe.recipe import Recipe
from engine.runs.eta import spoken_band, spoken_eta
from engine.runs.history import LogLine, RunHistory

# state: (word, kind of pill, icon or None for the kind's own)
STATES: dict[str, tuple[str, str, str | None]] = {
    "": ("", "dim", None),
    "queued": ("Waiting", "dim", "clock"),
    "idle": ("Not started", "dim", ""),
    "running": ("Training", "accent", None),
    "paused": ("Paused", "warn", "pause"),
    "finished": ("Finished", "ok", None),
    "stopped": ("Stopped", "warn", "stop"),
    "failed": ("Failed", "bad", None),
    "crashed": ("Crashed", "bad", None),
    "damaged": ("Result damaged", "bad", None),
    "gone": ("Gone", "bad", None),
    "waits": ("Waits for room", "warn", "pause"),
}
PREPARING = {"queued": "Waiting for its device", "idle": "Not started"}
BAR_TOKENS = {
    "finished": "ok",
    "failed": "bad",
    "crashed": "bad",
    "gone": "bad",
    "paused": "warn",
    "stopped": "warn",
    "waits": "warn",
}


def state_words(state: str, history: RunHistory) -> tuple[str, str, str | None]:
    """Return word, kind and icon of the pill."""
    if state == "running" and history.preparing:
        return ("Preparing", "accent", None)
    return STATES[state]


def facts(recipe: Recipe | None, history: RunHistory) -> str:
    """Return base, method, seed and device in one line."""
    if recipe is None:
        return ""
    base = show_name(Path(recipe.model.path).name, 60)
    words = [base, method_label(recipe), f"seed {recipe.training.seed}"]
    words += [history.device] if history.device else []
    awake = history.awake is not None and history.awake.kept and history.state == "running"
    return " · ".join([*words, *(["kept awake"] if awake else [])])


def show_strip(strip: RunStrip, state: str, history: RunHistory) -> None:
    """Fill the strip with where the run stands."""
    figures = strip.figures
    total = number(history.total_steps) if history.total_steps else "–"
    figures["step"].show_figure(f"{number(history.step)} / {total}")
    figures["loss"].show_figure(loss(history.loss))
    best = history.best
    figures["best"].show_figure(loss(best.loss if best else None), f"@ {number(best.step)}" if best else "")
    figures["speed"].show_figure(number(history.tokens_per_second))
    _show_memory(strip, history)
    _show_time(strip, state, history)
    share = history.step / history.total_steps if history.total_steps else 0.0
    share = 1.0 if state == "finished" else share  # also where it ended early
    strip.show_progress(share, BAR_TOKENS.get(state, "accent"))


def _show_memory(strip: RunStrip, history: RunHistory) -> None:
    figure, plan = strip.figures["memory"], history.planned_memory_bytes
    figure.set_caption("Peak VRAM" if history.capacity_bytes else "Peak memory")
    token = "ok" if plan and history.peak_memory_bytes <= 1.1 * plan else "warn"
    figure.show_figure(size(history.peak_memory_bytes or None), f"plan {size(plan)}" if plan else "", token)


def _show_time(strip: RunStrip, state: str, history: RunHistory) -> None:
    figure, elapsed = strip.figures["left"], duration(history.elapsed_seconds)
    if state in ("finished", "stopped", "failed", "crashed", "gone"):
        plan = history.planned.seconds if history.planned else None
        figure.set_caption(f"Took, plan {duration(plan)}" if plan and state == "finished" else "Took")
        figure.show_figure(elapsed)
        return
    figure.set_caption(f"Elapsed {elapsed}")
    left = history.eta_seconds()
    figure.show_figure(
        {"paused": "paused", "queued": "waiting", "waits": "waiting", "idle": "–"}.get(state)
        or spoken_eta(left)
    )
    set_tip(figure, _time_tip(history, left))


def _time_tip(history: RunHistory, left: float | None) -> str:
    """Return when the run ends, and within which bounds; before that is known, what the plan says."""
    planned = history.planned
    if left is not None:
        band = spoken_band(history.eta_band())
        return f"Ends at about {clock(time.time() + left)}" + (f", {band}" if band else "")
    if planned is None or planned.seconds is None or planned.seconds_band is None:
        return ""
    low, high = planned.seconds_band
    return f"The plan says {duration(planned.seconds)}, between {duration(low)} and {duration(high)}"


def phases(history: RunHistory) -> list[tuple[str, str, str]]:
    """Return the stages before the first step as (label, time, done | now | coming)."""
    found = []
    for phase in history.phases:
        state = DONE if phase.done else COMING if phase.seconds is None else NOW
        found.append((phase.label, "" if phase.seconds is None else minutes(phase.seconds), state))
    return found


def minutes(seconds: float) -> str:
    """Return a short time as 0:41."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def resuming_words(state: str, history: RunHistory) -> str:
    """Return what a resumed run does before its next step, an empty text otherwise."""
    if state != "running" or not history.preparing or not history.has_stepped:
        return ""
    now = next((label.lower() for label, _, mark in phases(history) if mark == NOW), "")
    words = f"Going on from step {number(history.step)}"
    return f"{words}: {now}" if now else words


def waiting_words(queue: Any, folder: Path) -> str:
    """Return what a run waits for; `queue` is the run queue of the window."""
    waiting = queue.queued() if queue is not None else []
    if folder not in waiting or queue.held:
        return ""
    before = waiting.index(folder)
    places = {0: "It is the next one", 1: "One run is before it"}.get(
        before, f"{number(before)} runs are before it"
    )
    going = [watch.name for watch in queue.active()]
    return f"{places}. Going on: {', '.join(going)}." if going else f"{places}."


def stage_progress(history: RunHistory) -> tuple[float | None, str]:
    """Return the share and the words of the stage that is measured."""
    progress = history.progress
    if progress is None or not progress.total or progress.done >= progress.total:
        return None, ""
    words = f"{number(progress.done)} of {number(progress.total)} {progress.unit}".strip()
    return progress.done / progress.total, words


def answers(history: RunHistory) -> list[Answers]:
    """Return the sample answers by prompt."""
    by_prompt: dict[str, dict[int, str]] = {}
    for sample in history.samples:
        by_prompt.setdefault(sample.prompt, {})[sample.step] = sample.text
    return [Answers(prompt, by_step) for prompt, by_step in by_prompt.items()]


def log_lines(history: RunHistory) -> list[str]:
    """Return the log as lines with their time of day."""
    return [_log_line(line) for line in history.log]


def _log_line(line: LogLine) -> str:
    mark = {"warning": "warning  ", "error": "error  "}.get(line.level, "")
    return f"{datetime.fromtimestamp(line.time):%H:%M:%S}  {mark}{show_name(line.text, 2000)}"
