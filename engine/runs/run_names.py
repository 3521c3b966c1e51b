"""What a run's folder may hold, and what nothing in it may be: a link, a program, an unfinished write."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from engine.links import is_link

QUARANTINE = "quarantine"
PART = ".part"
SNIFFED_BYTES = 4
# How files begin that a computer, or a library that reads them, would run.
PROGRAMS = {
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"#!": "a program",
    b"\xca\xfe\xba\xbe": "a program",
    b"PK\x03\x04": "an archive, which can hold programs",
    b"\x80\x02": "a pickle, which can run programs when opened",
    b"\x80\x03": "a pickle, which can run programs when opened",
    b"\x80\x04": "a pickle, which can run programs when opened",
    b"\x80\x05": "a pickle, which can run programs when opened",
}
SUFFIXES = frozenset(
    ".py .pyc .pyd .pyw .pth .so .dll .dylib .exe .com .bat .cmd .ps1 .sh .js .jar .lnk .desktop "
    ".pkl .pickle .pt .ckpt .joblib .npy .npz".split()
)
# Text of ours that may begin with anything a person or a library wrote.
TEXTS = frozenset("child.log child-1.log name.txt events.jsonl".split())


def entries(run: Path) -> Iterator[os.DirEntry[str]]:
    """Yield everything below a run, without what lies in quarantine; links are yielded and not followed."""
    waiting = [run]
    while waiting:
        folder = waiting.pop()
        try:
            found = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue  # it went while we looked, or is not ours to read: whoever needs it will say so
        for entry in found:
            if folder == run and is_quarantine(entry):
                continue
            yield entry
            if entry.is_dir(follow_symlinks=False) and not is_link(entry):
                waiting.append(Path(entry.path))


def is_quarantine(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry of a run's folder is a quarantine of its own, no link to somewhere else."""
    name, _, number = entry.name.partition("-")
    known = name == QUARANTINE and (not number or number.isdigit())
    return known and entry.is_dir(follow_symlinks=False) and not is_link(entry)


def foreign(entry: os.DirEntry[str], keeps_modes: bool) -> tuple[str, str]:
    """Return (why it may not be in a run, code) for an entry, two empty texts for one that may.

    `keeps_modes` says whether the permission to be executed means anything on this disk.
    """
    if is_link(entry):
        return f"is a link to {_target(entry)}", "MODEL-03"
    if entry.is_dir(follow_symlinks=False):
        return "", ""
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
        if not stat.S_ISREG(mode):
            return "is no plain file", "MODEL-03"
        if entry.name in TEXTS:
            return "", ""
        with open(entry.path, "rb") as file:
            head = file.read(SNIFFED_BYTES)
    except OSError:
        return "", ""  # gone, or refused: a file that matters is missed elsewhere
    kind = next((what for magic, what in PROGRAMS.items() if head.startswith(magic)), "")
    if not kind and os.path.splitext(entry.name)[1].lower() in SUFFIXES:
        kind = "a kind of file that can run programs"
    if not kind and keeps_modes and mode & 0o111:
        kind = "marked as a program"
    return (f"is {kind}", "MODEL-01") if kind else ("", "")


def keeps_modes(run: Path) -> bool:
    """Say whether files here are executable only where somebody made them so (not on FAT or some shares)."""
    try:
        return os.name == "posix" and not os.stat(run / "job.json").st_mode & 0o111
    except OSError:
        return False


def _target(entry: os.DirEntry[str]) -> str:
    try:
        return os.readlink(entry.path)
    except OSError:
        return "another place"
