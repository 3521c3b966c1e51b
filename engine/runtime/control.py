"""The child's ear: commands left in `control/` and signals, gathered between steps."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

from engine import durable
from engine.jobs.process import BEGUN
from engine.links import is_link

ORDER = {"stop": 0, "pause": 1, "resume": 1, "save": 2, "evaluate": 3, "sample": 4}
MAX_BYTES = 64 * 1024


class Control:
    """Commands for a child; `clear` first, since files of an earlier attempt are not meant for this one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "control"
        self._signalled = False
        self._put_back: list[dict[str, Any]] = []

    def clear(self) -> None:
        """Remove what an earlier attempt left behind, nothing that was asked since this child was started.

        A person may press Stop before the child has come so far as to look.
        """
        begun = os.environ.get(BEGUN, "")
        if is_link(self._folder):  # what lies behind it is not ours
            durable.remove_file(self._folder)
        durable.make_folder(self._folder, inside=self._folder.parent)
        for path in self._folder.iterdir():
            asked = path.name.partition("-")[0]
            if not (begun.isdecimal() and asked.isdecimal() and int(asked) >= int(begun)):
                _remove(path)

    def move(self, folder: Path) -> None:
        """Hear from now on what is left in another folder."""
        self._folder = folder / "control"

    def put_back(self, commands: list[dict[str, Any]]) -> None:
        """Let commands that were taken too early come again with the next ones."""
        self._put_back += commands

    def listen_to_signals(self) -> None:
        """Take INT and TERM as stop-and-save; a closed terminal (HUP) is no reason to end."""

        def on_signal(_number: int, _frame: object) -> None:
            self._signalled = True

        signal.signal(signal.SIGINT, on_signal)
        signal.signal(signal.SIGTERM, on_signal)
        if sys.platform != "win32":
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def take(self) -> list[dict[str, Any]]:
        """Return the commands that came in, the most final first, and remove their files."""
        found, self._put_back = self._put_back, []
        found += [{"command": "stop", "id": "signal"}] if self._signalled else []
        try:
            names = sorted(p for p in self._folder.iterdir() if p.suffix == ".json")
        except FileNotFoundError:
            return found
        for path in names:
            value = _read(path)
            _remove(path)
            if isinstance(value, dict) and value.get("command") in tuple(ORDER):
                found.append(value)
        return sorted(found, key=lambda c: ORDER[c["command"]])


def _read(path: Path) -> Any:
    """Return what a file of ours says, None for one that is none: a pipe would keep its reader for ever."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        with open(path, "rb") as file:
            return json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # a folder among them stays; it says nothing
        durable.remove_file(path)
