"""Whether this installation can work: every check is made now, and says what to do when it fails."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine import paths
from engine.hardware.devices import Machine, probe
from engine.hardware.torch_build import installed, problem_of
from engine.plan.ledger import Ledger
from engine.runs.versions import FLOORS, numbers, version_of

OTHERS = (
    "tokenizers",
    "safetensors",
    "bitsandbytes",
    "pydantic",
    "pyyaml",
    "psutil",
    "pyside6-essentials",
    "pyqtgraph",
)
QT_LIBRARIES = ("EGL", "GL", "xkbcommon", "dbus-1", "fontconfig")
DISK_BYTES = 5_000_000_000


@dataclass(frozen=True)
class Check:
    """One line of the doctor: what was looked at, whether it holds, and the remedy."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


def _packages() -> list[Check]:
    checks = []
    for name in (*FLOORS, *OTHERS):
        floor = FLOORS.get(name, ())
        wanted = ".".join(map(str, floor))
        found = version_of(name)
        if not found:
            checks.append(Check(name, False, "not installed", "Run `python3 launch.py --setup`."))
            continue
        ok = numbers(found) >= floor
        hint = "" if ok else f"{name} {wanted} or newer is needed: run `python3 launch.py --setup`."
        checks.append(Check(name, ok, found, hint))
    return checks


def _qt_libraries() -> Check:
    if not sys.platform.startswith("linux"):
        return Check("Qt libraries", True, "part of the system")
    missing = [name for name in QT_LIBRARIES if ctypes.util.find_library(name) is None]
    if not missing:
        return Check("Qt libraries", True, "all found")
    hint = "On Debian: apt-get install libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1"
    return Check("Qt libraries", False, f"lib{missing[0]} is missing", hint)


def _folder(name: str, folder: Path) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Check(name, False, f"{folder}: {error.strerror}", "Choose another folder with TUNESMITH_HOME.")
    free = shutil.disk_usage(folder).free
    ok = free >= DISK_BYTES
    return Check(
        name,
        ok,
        f"{free / 1e9:.0f} GB free",
        "" if ok else "Free some space: a run keeps several checkpoints.",
    )


def _starter() -> Check:
    ok = (paths.home() / "models" / "starter" / "config.json").exists()
    return Check(
        "starter model",
        ok,
        "on disk" if ok else "not on disk",
        "" if ok else "Run `tunesmith models get starter`.",
    )


def checks() -> list[Check]:
    """Return every check, in the order a person would mend them."""
    ok = sys.version_info >= (3, 11)
    python = Check("python", ok, sys.version.split()[0], "" if ok else "Python 3.11 or newer is needed.")
    return [python, *_packages(), _qt_libraries(), _folder("home", paths.home()), _starter()]


def _gpu(machine: Machine) -> list[Check]:
    """Return whether the installed torch can use the GPU that is here; nothing is said where none is."""
    error = problem_of(machine, installed())
    if error is not None:
        return [Check("GPU", False, error.message, error.hint)]
    return [Check("GPU", True, f"{gpu.name}, driver {gpu.driver}") for gpu in machine.devices[:1]]


def _kernels() -> list[Check]:
    """Warn of a package that fetches programs from the hub where a configuration asks for them."""
    if importlib.util.find_spec("kernels") is None:
        return []
    detail = "installed: it fetches programs from the hub; no child of Tunesmith can import it"
    return [Check("kernels", True, detail, "Nothing here needs it: it can be uninstalled.")]


def _several_gpus(count: int) -> list[Check]:
    """Return the offer to train on all GPUs of a machine that has more than one."""
    if count < 2 or sys.platform == "win32":
        return []
    offer = f"{count} found: `--set launcher.processes={count}` trains on all of them"
    return [Check("several GPUs", True, offer)]


def _ledger() -> Check:
    """Return what the plans of this machine rest on."""
    book = Ledger.read()
    if book.damage:
        return Check("plan", True, book.damage, "The next run that ends sets it aside and begins anew.")
    measured = sum(1 for entry in book.entries if entry.ratio("memory_bytes"))
    words = f"corrected by {measured} measured runs" if measured else "by formula: no run was measured yet"
    return Check("plan", True, words)


def examine() -> dict[str, Any]:
    """Return the answer of `doctor`."""
    machine = probe()
    found = [*checks(), *_kernels(), _ledger(), *_gpu(machine), *_several_gpus(len(machine.devices))]
    return {
        "ok": all(check.ok for check in found),
        "checks": [asdict(check) for check in found],
        "devices": [asdict(device) for device in machine.devices],
        "machine": {"cpu": machine.cpu_name, "cores": machine.cores, "ram_bytes": machine.ram_total_bytes},
    }
