"""Where things lie: the home of Tunesmith, its resources, and names that are safe to show."""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import BinaryIO

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
    """Return a name fit to be shown: what cannot be seen becomes marks, bounded, its direction its own.

    A name with letters that run from right to left is held apart (U+2068 to U+2069), so that it turns nothing
    of the sentence around it.
    """
    held = _HELD_APART.fullmatch(text)
    shown = mark_name(held[1] if held and _runs_left(held[1]) else text, limit)
    return f"\u2068{shown}\u2069" if not shown.isascii() and _runs_left(shown) else shown


def mark_name(text: str, limit: int = 128) -> str:
    """Return a name to be kept: what cannot be seen becomes marks, length bounded."""
    cut = text[: limit * 2]
    marked = cut if cut.isprintable() else "".join(_mark(c) for c in cut)
    return marked if len(marked) <= limit else marked[: limit - 1] + "…"


def show_text(text: str, limit: int = 4000) -> str:
    """Return words fit to be shown or printed: line ends stay, what steers a screen becomes marks."""
    kept = text if len(text) <= limit else text[: limit - 1] + "…"
    return _STEERS.sub(lambda found: f"<U+{ord(found[0]):04X}>", kept)


# Control characters but tab and line end, lone surrogates, line separators, and what turns the direction.
_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066\u2067\ud800-\udfff]")
_HELD_APART = re.compile("\u2068([^\u2066-\u2069]*)\u2069")


def _runs_left(text: str) -> bool:
    return any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in text)


def _mark(char: str) -> str:
    category = unicodedata.category(char)
    if category in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return f"<U+{ord(char):04X}>" if char not in "\t" else " "
    return char


# Names of devices, whatever stands behind a dot: files of these names cannot be made on Windows.
RESERVED = frozenset(
    ["con", "prn", "aux", "nul"] + [f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)]
)
FOREIGN = '<>:"|?*\\/' if os.name == "nt" else "/"
LONGEST_NAME = 240  # bytes; a little is added where something is written beside it


def slug(text: str, fallback: str = "run") -> str:
    """Return `text` as a folder name: lower case letters, digits and hyphens, at most 48 characters."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:48].strip("-")
    if name in RESERVED:
        name = f"{name}-{fallback}"
    return name or fallback


def why_unsafe(name: str) -> str:
    """Return why a name of a file or folder cannot be had on every system, an empty text where it can."""
    if len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        return f"it is longer than {LONGEST_NAME} characters"
    if name.split(".")[0].strip().lower() in RESERVED:
        return "Windows keeps it for itself"
    if name != name.rstrip(". ") or name in ("", ".", ".."):
        return "it ends in a dot or a space"
    wrong = next((c for c in name if c in FOREIGN or c == "\0"), None)
    return "" if wrong is None else f"it holds {show_name(wrong)}"


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading; what is no plain file raises OSError and never waits.

    A folder may come from anybody: a pipe or a device in it must not hold up who looks at it.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = open(path, "rb", opener=lambda name, _: os.open(name, flags))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "no plain file", str(path))
    return file


def read_head(path: Path, most: int = 1 << 20) -> bytes:
    """Return at most `most` bytes of a plain file; raises OSError."""
    with open_plain(path) as file:
        return file.read(most)
