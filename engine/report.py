"""What a person may send: versions, hardware and checks, or one unexpected error, without names or tokens.

Everything that is written here goes through `scrub`: tokens, the names of the person and of the computer, and
every path outside the program leave it.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import sys
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engine import paths
from engine.error_catalogue import CODES
from engine.errors import EngineError

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "safetensors",
    "bitsandbytes",
    "accelerate",
    "PySide6-Essentials",
    "pyqtgraph",
    "numpy",
)
MOST_REPORTS = 20
MOST_CHARACTERS = 60_000
TOKEN, PATH, PERSON, COMPUTER = "<token>", "<path>", "<person>", "<computer>"
_TOKENS = re.compile(
    r"\b(?:hf|api_org|sk|ghp|gho|github_pat|glpat|xox[abp])[_-][A-Za-z0-9_\-]{8,}"
    r"|(?i:\b(?:bearer|token|password|secret|authorization|api[_-]?key)\b[\"']?\s*[:=]?\s*[\"']?(?:bearer\s+)?)"
    r"[A-Za-z0-9+/_.\-]{12,}"
    r"|\b[A-Za-z0-9+/_\-]{40,}\b"
)
_USER_INFO = re.compile(r"\b(https?://)[^/\s@]+@")
# Quoted paths may hold blanks; bare ones end at one. Windows drives and shares count too.
_QUOTED = re.compile(r"(['\"`])(?:~|[A-Za-z]:[\\/]|\\\\|/)[^'\"`\n]*\1")
_BARE = re.compile(r"(?<![\w<:/.\\])(?:~/|[A-Za-z]:\\|\\\\\w|/)[^\s'\"`,;:()<>]*")
_ROOT = str(Path(__file__).resolve().parent.parent)


def scrub(text: str) -> str:
    """Return a text without tokens, paths, and the names of the person and the computer."""
    kept = text[:MOST_CHARACTERS]
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        value = os.environ.get(name, "")
        kept = kept.replace(value, TOKEN) if len(value) >= 6 else kept
    kept = _USER_INFO.sub(rf"\1{PERSON}@", kept)
    kept = kept.replace(_ROOT + os.sep, "")
    kept = re.sub(r"[^\s'\"]*site-packages[\\/]", "", kept)
    kept = _TOKENS.sub(TOKEN, kept)
    kept = _QUOTED.sub(rf"\1{PATH}\1", kept)
    kept = _BARE.sub(PATH, kept)
    for name, mark in ((_person(), PERSON), (platform.node(), COMPUTER)):
        if len(name) >= 3:
            kept = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", mark, kept)
    return paths.show_text(kept, MOST_CHARACTERS)


def _person() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def system_report(machine: Any = None) -> str:
    """Return versions, hardware, checks and how runs ended; `machine` is looked at when not given."""
    lines = [
        f"Tunesmith {_version('tunesmith')}",
        f"{platform.system()} {platform.release()} {platform.machine()}, Python {sys.version.split()[0]}",
        ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        *_hardware(machine),
        *_switches(),
        *_checks(),
        *_endings(),
    ]
    return scrub("\n".join(lines))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _hardware(machine: Any) -> list[str]:
    if machine is None:
        from engine.hardware.devices import probe

        machine = probe()
    lines = [f"{machine.cpu_name}, {machine.cores} cores, {machine.ram_total_bytes / 1e9:.1f} GB"]
    lines += [f"{gpu.name}, {gpu.total_bytes / 1e9:.1f} GB, driver {gpu.driver}" for gpu in machine.devices]
    return lines


def _switches() -> list[str]:
    """Return which variables are set that change how the program works; never their values."""
    known = ("TUNESMITH_HOME", "HF_HOME", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES")
    found = [name for name in (*known, "HTTPS_PROXY", "QT_QPA_PLATFORM") if os.environ.get(name)]
    return [f"Set: {', '.join(found)}"] if found else []


def _checks() -> list[str]:
    from engine import doctor

    missing = [check for check in doctor.checks() if not check.ok]
    return [f"Check {check.name}: {check.detail}" for check in missing] or ["All checks passed"]


def _endings() -> list[str]:
    """Return how many runs ended how, and with which codes."""
    from collections import Counter

    from engine.runs import store

    runs = store.list_runs()
    states = Counter(run.state for run in runs)
    codes = Counter(filter(None, (_code_of(run.folder) for run in runs)))
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    why = ", ".join(f"{count} x {code}" for code, count in sorted(codes.items()))
    return [f"Runs: {told or 'none'}"] + ([f"Ended with: {why}"] if why else [])


def _code_of(folder: Path) -> str:
    """Return the code of the catalogue that a run's closing note holds, empty where there is none."""
    try:
        note = json.loads((folder / "exit.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return ""
    code = note.get("code") if isinstance(note, dict) else None
    return code if isinstance(code, str) and code in CODES else ""


def keep_incident(error: BaseException) -> EngineError:
    """Keep the trace of an unexpected error in a file that can be sent; return what a person is told."""
    identity = f"{time.time_ns() // 1_000_000:x}"
    folder = paths.home() / "logs"
    name = f"report-{identity}.txt"
    trace = "".join(traceback.format_exception(error))
    text = "\n".join((f"Tunesmith {_version('tunesmith')}, report {identity}", scrub(trace)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n", encoding="utf-8")
        for old in sorted(folder.glob("report-*.txt"))[:-MOST_REPORTS]:
            old.unlink(missing_ok=True)
    except OSError:
        identity = "could not be kept"
    told = EngineError.of("APP-01", id=identity)
    told.file = str(folder / name)
    return told
