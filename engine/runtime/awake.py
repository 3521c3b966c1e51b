"""Keep the computer from falling asleep while a job works; the screen may go dark.

Each system has its own way, and each ends by itself when this process dies, however it dies: on Linux a
helper holds the lock for as long as a pipe to us is open, macOS's caffeinate watches our process id, and
Windows forgets what a thread asked for when the thread is gone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading

from engine.events import Awake
from engine.paths import show_name
from engine.runs.event_log import EventWriter

SETTLE_SECONDS = 1.0  # a helper that is refused ends at once; one that still lives after this holds the lock
END_SECONDS = 2.0
WINDOWS_CONTINUOUS, WINDOWS_SYSTEM_REQUIRED = 0x80000000, 0x00000001


def helper_command(why: str) -> list[str] | None:
    """Return the program that keeps this computer awake, None where there is none."""
    if sys.platform == "darwin" and shutil.which("caffeinate"):
        return ["caffeinate", "-i", "-w", str(os.getpid())]
    if sys.platform.startswith("linux") and shutil.which("systemd-inhibit"):
        about = ["--what=idle:sleep", "--who=Tunesmith", f"--why={why}", "--mode=block"]
        return ["systemd-inhibit", *about, "cat"]
    return None


class KeepAwake:
    """Holds and releases; what came of it is said by an event `awake`."""

    def __init__(self, writer: EventWriter, why: str) -> None:
        self._writer = writer
        self._why = show_name(why)
        self._helper: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None

    def hold(self) -> None:
        """Begin; returns at once, the event follows when it is known whether it holds."""
        if self._helper is not None:
            return
        if sys.platform == "win32":
            held = _ask_windows(WINDOWS_CONTINUOUS | WINDOWS_SYSTEM_REQUIRED)
            self._writer.write(Awake(kept=held, by="Windows" if held else ""))
            return
        command = helper_command(self._why)
        if command is None:
            self._writer.write(Awake(kept=False, detail="this system offers no way that is known"))
            return
        try:
            self._helper = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            self._writer.write(Awake(kept=False, detail=f"{command[0]}: {error.strerror}"))
            return
        self._watcher = threading.Thread(
            target=self._tell, args=(self._helper, command[0]), name="awake", daemon=True
        )
        self._watcher.start()

    def release(self) -> None:
        """End; the computer may sleep again."""
        if sys.platform == "win32":
            _ask_windows(WINDOWS_CONTINUOUS)
            return
        helper, self._helper = self._helper, None
        if helper is None:
            return
        assert helper.stdin is not None
        helper.stdin.close()  # the end of the pipe is the end of the lock
        if sys.platform == "darwin":
            helper.terminate()
        try:
            helper.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            helper.kill()
            helper.wait()
        if self._watcher is not None:
            self._watcher.join(END_SECONDS)

    def _tell(self, helper: subprocess.Popen[bytes], name: str) -> None:
        try:
            helper.wait(SETTLE_SECONDS)
        except subprocess.TimeoutExpired:
            self._writer.write(Awake(kept=True, by=name))
            return
        if self._helper is not helper:
            return  # released before it could be told
        assert helper.stderr is not None
        said = helper.stderr.read(2000).decode("utf-8", "replace").strip().split("\n")[-1]
        self._writer.write(Awake(kept=False, detail=show_name(f"{name}: {said}" if said else name, 200)))


def _ask_windows(state: int) -> bool:
    """Tell Windows what this thread needs; it holds until the thread ends or asks for something else."""
    import ctypes

    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009  (there is no windll elsewhere)
    return bool(kernel.SetThreadExecutionState(state))
