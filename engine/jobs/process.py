"""The parent's side of a child: start it, tell it something, see whether it lives, read its last words."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine import durable, paths
from engine.errors import EngineError, from_os_error
from engine.jobs import lock, room

LOG_BYTES = 10 * 1024**2
BEGUN = (
    "TUNESMITH_BEGUN"  # in a child's environment: when it was started, in ns; what is asked later is for it
)
PROCESSES = "TUNESMITH_PROCESSES"  # in a child's environment: how many ranks, whatever the recipe says
COMMANDS = ("stop", "pause", "resume", "save", "evaluate", "sample")

_PASSED = frozenset(
    (
        "PATH HOME USER LOGNAME LANG LANGUAGE TZ TMPDIR TEMP TMP SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC "
        "USERPROFILE APPDATA LOCALAPPDATA PROGRAMDATA XDG_DATA_HOME XDG_CACHE_HOME XDG_CONFIG_HOME "
        "XDG_STATE_HOME TUNESMITH_HOME HF_HOME HF_HUB_CACHE LD_LIBRARY_PATH OMP_NUM_THREADS MKL_NUM_THREADS "
        "OPENBLAS_CORETYPE OPENBLAS_L2_SIZE DYLD_FALLBACK_LIBRARY_PATH SSL_CERT_FILE"
    ).split()
)
_PASSED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "HSA_", "NCCL_")


# How the worker threads of a child's processor wait for one another, read when torch loads. Threads that spin
# starve each other beside any other busy program.
PATIENCE = {"OMP_WAIT_POLICY": "passive"}


def child_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child: an allow-list, offline, with patient worker threads."""
    kept = {k: v for k, v in os.environ.items() if k in _PASSED or k.startswith(_PASSED_PREFIXES)}
    kept.update(
        TOKENIZERS_PARALLELISM="true",
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_IMPLICIT_TOKEN="1",
        PYTHONUNBUFFERED="1",
    )
    kept.update(PATIENCE)
    kept.setdefault("TUNESMITH_HOME", str(paths.home()))
    kept.update(extra or {})
    return kept


def child_command(arguments: Iterable[str]) -> list[str]:
    """Return the command line of a child: isolated, UTF-8, nothing imported from where it stands."""
    return [sys.executable, "-I", "-X", "utf8", "-m", "engine", *arguments]


class JobProcess:
    """A started child: its process and the folder it works in."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self.folder = folder
        self.pid = process.pid

    def poll(self) -> int | None:
        """Return the exit status, None while it runs; collects the process when it ended."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status; raises TimeoutError after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"child {self.pid} still runs") from error

    def terminate(self) -> None:
        """Ask the child to save and end (SIGTERM)."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End the child at once; what it saved stays."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


def start(
    folder: Path, *, environment: dict[str, str] | None = None, processes: int | None = None
) -> JobProcess:
    """Start the child of a job folder in a session of its own, its output in child.log.

    A run over several processes is started the same way: the child is its rank 0, starts the others and takes
    them along when it ends, is stopped or is killed. `processes` is another number of them than the recipe's.
    Raises EngineError RUN-02 when a child already works there, DISK-* when the log cannot be opened, the disk
    is full or keeps no locks.
    """
    if lock.is_held(folder):
        raise lock.taken(folder)
    lock.refuse_links(folder)  # before the log is opened
    room.refuse_full(folder, 0)
    environment = {**(environment or {}), BEGUN: str(time.time_ns())}
    if processes is not None:
        environment[PROCESSES] = str(processes)
    try:
        durable.make_folder(folder / "control", inside=folder)
        lock.refuse_without_locks(folder)
        _set_aside_long_log(folder / "child.log")
        with open(folder / "child.log", "ab") as log:
            process = subprocess.Popen(
                child_command(["job", str(folder.resolve())]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=paths.neutral_folder(),
                env=child_environment(environment),
                start_new_session=True,
                close_fds=True,
            )
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    return JobProcess(process, folder)


def _set_aside_long_log(path: Path) -> None:
    """Begin a new child.log once the old one is long; one former log is kept."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        durable.replace(path, path.with_name("child-1.log"))


def send(folder: Path, command: str, **fields: Any) -> str:
    """Leave a command for the child and return its id; the child removes the file once obeyed."""
    if command not in COMMANDS:
        raise EngineError(f"There is no command {command}.", f"Use one of: {', '.join(COMMANDS)}.", "RUN-10")
    identity = uuid.uuid4().hex[:12]
    body = json.dumps({"command": command, "id": identity, **fields}).encode()
    control = folder / "control"
    try:
        durable.make_folder(control, inside=folder)
        durable.create_exclusive(control / f"{time.time_ns():020d}-{identity}.json", body)
    except OSError as error:
        raise from_os_error(error, str(control)) from error
    return identity


def is_alive(folder: Path) -> bool:
    """Return whether a child holds the folder's lock."""
    return lock.is_held(folder)


def kill(folder: Path) -> bool:
    """End the child that holds the folder at once; returns False when nobody does."""
    pid = lock.holder(folder)
    if pid is None or not _is_child_of_ours(pid):
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        return True
    return False


def _is_child_of_ours(pid: int) -> bool:
    """A recycled pid is never signalled: the process must be a python running our engine."""
    import psutil

    try:
        return "engine" in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


def exit_of(folder: Path) -> dict[str, Any] | None:
    """Return exit.json as written by the child, None when there is none or it cannot be read."""
    try:
        value = json.loads(paths.read_head(folder / "exit.json"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def last_words(folder: Path, limit: int = 4000) -> str:
    """Return the end of child.log, at most `limit` characters, control characters made visible."""
    try:
        with paths.open_plain(folder / "child.log") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(paths.show_name(line, 400) for line in text.strip().split("\n")[-40:])
