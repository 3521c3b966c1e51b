"""Where things lie: the home of Tunesmith, its resources, and names that are safe to show."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

import platformdirs


def home() -> Path:
    """Return `$TUNESMITH_HOME`, else the platform's user data folder (not created here)."""
    chosen = os.environ.get("TUNESMITH_HOME")
    return (
        Path(chosen).expanduser()
        if chosen
        else Path(platformdirs.user_data_dir("tunesmith", appauthor=False))
    )


def _made(name: str) -> Path:
    folder = home() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def runs_dir() -> Path:
    """Return the folder that holds one folder a run."""
    return _made("runs")


def models_dir() -> Path:
    """Return the folder of models brought to disk by the application."""
    return _made("models")


def datasets_dir() -> Path:
    """Return the folder of data sets brought to disk by the application."""
    return _made("datasets")


def adapters_dir() -> Path:
    """Return the folder of adapters made here that belong to no run."""
    return _made("adapters")


def exports_dir() -> Path:
    """Return the folder where merged and exported models go by default."""
    return _made("exports")


def cache_dir() -> Path:
    """Return the folder of derived files, which may be deleted at any time."""
    return _made("cache")


def jobs_dir() -> Path:
    """Return the folder of jobs that are no training runs (merge, convert)."""
    return _made("jobs")


def settings_file() -> Path:
    """Return the path of settings.json."""
    return home() / "settings.json"


def resources(*parts: str) -> Path:
    """Return a path inside the shipped data: beside the packages, or inside an installed wheel."""
    root = Path(__file__).resolve().parent
    beside = root.parent / "resources"
    return (beside if beside.is_dir() else root / "_resources").joinpath(*parts)


def neutral_folder() -> Path:
    """Return an empty folder, the working directory of every child (nothing can be imported from it)."""
    return _made("empty")


def show_name(text: str, limit: int = 128) -> str:
    """Return `text` fit to be shown: control and direction characters become marks, length bounded."""
    marked = "".join(_mark(c) for c in text[: limit * 2])
    return marked if len(marked) <= limit else marked[: limit - 1] + "…"


def _mark(char: str) -> str:
    category = unicodedata.category(char)
    if category in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return f"<U+{ord(char):04X}>" if char not in "\t" else " "
    return char


def slug(text: str, fallback: str = "run") -> str:
    """Return `text` as a folder name: lower case letters, digits and hyphens, at most 48 characters."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:48].strip("-")
    return name or fallback
