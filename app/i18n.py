"""Words and figures as the chosen language writes them."""

from __future__ import annotations

import json
import math
import time
from datetime import datetime
from functools import lru_cache

from PySide6.QtCore import QLocale

from engine.paths import resources

MOST_WRITTEN_OUT = 1e15
_chosen = {"language": "en"}


def set_language(code: str) -> None:
    """Use a language from now on: `en`, `de`, ..., or `system`."""
    _chosen["language"] = QLocale.system().name() if code == "system" else code


def language() -> str:
    """Return the code of the language in use."""
    return _chosen["language"]


def tr(text: str) -> str:
    """Return `text` in the chosen language; English where no translation is kept."""
    return _catalogue(_chosen["language"].split("_")[0]).get(text, text)


@lru_cache(maxsize=8)
def _catalogue(code: str) -> dict[str, str]:
    file = resources("translations", f"{code}.json")
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _locale() -> QLocale:
    return QLocale(_chosen["language"])


def number(value: float | None, decimals: int = 0) -> str:
    """Return 4812 as 4,812 (or as the language groups it); a missing value is a dash."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= MOST_WRITTEN_OUT:
        return f"{value:.1e}"
    text = _locale().toString(float(value), "f", decimals)
    # The monospaced font has neither the narrow nor the figure space that some languages group by.
    return text.replace("\u202f", "\u00a0").replace("\u2009", "\u00a0")


def short_number(value: float | None) -> str:
    """Return 6738415616 as 6.74 B, 134515008 as 135 M."""
    if value is None or not math.isfinite(value):
        return "–"
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            scaled = value / size
            return f"{number(scaled, 2 if scaled < 10 else 1 if scaled < 100 else 0)}\u00a0{unit}"
    return number(value)


def size(value: float | None) -> str:
    """Return bytes as 14.2 GB, 840 MB, 12 kB (powers of ten)."""
    if value is None or not math.isfinite(value):
        return "–"
    for unit, scale, decimals in (("TB", 1e12, 2), ("GB", 1e9, 1), ("MB", 1e6, 0), ("kB", 1e3, 0)):
        if abs(value) >= scale * (0.9995 if unit != "kB" else 1):
            scaled = value / scale
            places = 1 if unit == "MB" and scaled < 10 else decimals if scaled < 100 else 0
            return f"{number(scaled, places)}\u00a0{unit}"
    return f"{number(value)}\u00a0B"


def loss(value: float | None) -> str:
    """Return a loss with three figures after the point; two from 10 on."""
    return number(value, 2 if value is not None and abs(value) >= 10 else 3)


def small(value: float | None) -> str:
    """Return a learning rate or another small number as 4.1e-05."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.1e}" if value and abs(value) < 1e-3 else f"{value:.3g}"


def duration(seconds: float | None) -> str:
    """Return a length of time as 2 h 47 min, 4 min 20 s, 12 s."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    space = "\u00a0"
    if hours:
        return f"{number(hours)}{space}h {minutes:02d}{space}min"
    if minutes >= 10:
        return f"{minutes}{space}min"
    return f"{minutes}{space}min {rest:02d}{space}s" if minutes else f"{rest}{space}s"


def clock(stamp: float) -> str:
    """Return the time of day of a Unix time, as 17:40."""
    return datetime.fromtimestamp(stamp).strftime("%H:%M")


def when(stamp: float | None, now: float | None = None) -> str:
    """Return a moment as a person would say it: today 03:12, yesterday, Fri, 4 Nov, 4 Nov 2025."""
    if not stamp:
        return "–"
    moment, today = datetime.fromtimestamp(stamp), datetime.fromtimestamp(now or time.time())
    days = (today.date() - moment.date()).days
    if days == 0:
        return f"today {moment:%H:%M}"
    if days == 1:
        return f"yesterday {moment:%H:%M}"
    if 1 < days < 7:
        return f"{moment:%a %H:%M}"
    return f"{moment.day} {moment:%b}" if moment.year == today.year else f"{moment.day} {moment:%b %Y}"
