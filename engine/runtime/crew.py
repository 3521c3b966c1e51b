"""The processes of one run: rank 0 starts the others, watches them, and takes them along when it ends.

Each rank gets what torchrun would give it (RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE), and a run that
torchrun itself has started takes its place from there. torchrun is not used to start them: it opens a port
on every interface. Our ranks meet through a file and talk over the loopback interface.

Rank 0 holds the other end of each rank's standard input. It closes when rank 0 ends, however it ends, and
the rank ends with it. A rank that fails leaves its last words beside the meeting file. Nothing here needs
torch: the first event is written, and the other ranks are on their way, before it is loaded.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from engine.errors import EngineError
from engine.hardware.devices import probe, usable_cores
from engine.jobs.process import PROCESSES, child_command

MEETING = "TUNESMITH_MEETING"
LAST_WORDS_SECONDS = 10.0  # a lost rank is looked for so long before an error is taken for our own
STUCK_SECONDS = 15.0  # rank 0 may need so long to notice by itself that a rank is gone
LEAVE_SECONDS = 5.0
SETTLE_SECONDS = 0.5  # others that fall with a lost rank are gone by then
WORDS = ("message", "hint", "code", "file", "line", "field")  # of an error, as one rank tells another


@dataclass(frozen=True)
class Place:
    """Which process of a run this one is. `meeting` is the folder where ranks of our own meet."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    meeting: Path | None = None


def place_of_this_process() -> Place | None:
    """Return the place that our rank 0 or torchrun gave this process, None when it stands alone."""
    told = os.environ
    if "RANK" not in told or "WORLD_SIZE" not in told:
        return None
    meeting = told.get(MEETING)
    if meeting is None and "MASTER_ADDR" not in told:
        return None
    rank = int(told["RANK"])
    local = int(told.get("LOCAL_RANK", rank))
    return Place(rank, int(told["WORLD_SIZE"]), local, None if meeting is None else Path(meeting))


def wanted_processes(launcher: dict[str, Any], *, resumed: bool) -> tuple[int, str]:
    """Return how many processes a run starts with, and a remark where that is not what the recipe asks for.

    A resume may ask for another number; one on a machine with fewer GPUs takes those that are there.
    Raises EngineError REC-01 where a new run asks for more processes than there are GPUs.
    """
    asked = int(launcher.get("processes", 1))
    told = os.environ.get(PROCESSES)
    wanted = int(told) if told else asked
    if wanted > 1 and sys.platform == "win32":
        raise EngineError(
            f"launcher.processes: {wanted} processes cannot work together on Windows.",
            "Use 1.",
            "REC-01",
            field="launcher.processes",
        )
    gpus = len(probe().devices) if wanted > 1 else 0
    if gpus and wanted > gpus:
        if not resumed:
            raise EngineError(
                f"launcher.processes: {wanted} processes need as many GPUs, and {gpus} can be used.",
                f"Use {gpus}, or let CUDA_VISIBLE_DEVICES name more.",
                "REC-01",
                field="launcher.processes",
            )
        wanted = gpus
    if wanted == asked:
        return wanted, ""
    share = "larger" if wanted < asked else "smaller"
    return wanted, f"{wanted} and not {asked} processes: each takes a {share} share of the same batches."


class Crew:
    """The other ranks as rank 0 sees them."""

    def __init__(self, folder: Path, world: int) -> None:
        self._folder = folder
        self.world = world
        self.meeting = Path(tempfile.mkdtemp(prefix="tunesmith-ranks-"))
        self._others: dict[int, subprocess.Popen[bytes]] = {}
        self._ended = threading.Event()

    def start(self) -> Place:
        """Start ranks 1 and up and return the place of rank 0, which its own environment says too."""
        share_cores(self.world)
        os.environ.update(self.environment(0))
        for rank in range(1, self.world):
            self._others[rank] = subprocess.Popen(
                child_command(["job", str(self._folder.resolve())]),
                stdin=subprocess.PIPE,
                env=os.environ | self.environment(rank),
                close_fds=True,
            )
        return Place(0, self.world, 0, self.meeting)

    def environment(self, rank: int) -> dict[str, str]:
        """Return what tells a process which rank it is and where the ranks meet."""
        inside = _loopback()
        return {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self.world),
            "LOCAL_WORLD_SIZE": str(self.world),
            "GLOO_SOCKET_IFNAME": inside,
            "NCCL_SOCKET_IFNAME": inside,
            MEETING: str(self.meeting),
        }

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the process numbers of the other ranks."""
        return tuple(process.pid for process in self._others.values())

    def watch(self, stuck: Callable[[EngineError | None], None]) -> None:
        """Call `stuck` from a thread when a rank is gone and rank 0 has not ended by itself soon after."""

        def look() -> None:
            while not self._ended.wait(0.2):
                if self._gone():
                    if not self._ended.wait(STUCK_SECONDS):
                        stuck(self.loss(0.0))
                    return

        threading.Thread(target=look, name="ranks", daemon=True).start()

    def _gone(self) -> list[int]:
        """Return the ranks that ended before their work was done: one that is through has the status 0."""
        return [rank for rank, process in self._others.items() if process.poll() not in (None, 0)]

    def loss(self, patience: float = LAST_WORDS_SECONDS) -> EngineError | None:
        """Return why a rank is gone, None when all are there; a rank that is just dying is waited for.

        The ranks beside a lost one fail with it: what was killed, or knows its reason, is told first.
        """
        deadline = time.monotonic() + patience
        while not self._gone():
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.05)
        self._ended.set()  # it is noticed: what rank 0 still saves takes the time it takes
        time.sleep(SETTLE_SECONDS)
        told = [(self._others[rank].returncode, self._words(rank), rank) for rank in self._gone()]
        status, words, rank = min(told, key=lambda each: (each[0] >= 0, each[1].get("code") == "APP-01"))
        which = f"Process {rank + 1} of {self.world}"
        if words:
            return EngineError(f"{which}: {words.pop('message')}", **words)
        return EngineError(
            f"{which} ended{_how(status)}.",
            "Everything up to the last save is sound. Resume goes on from there.",
            "RUN-01",
        )

    def _words(self, rank: int) -> dict[str, Any]:
        try:
            words: dict[str, Any] = json.loads((self.meeting / f"rank-{rank}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return words

    def end(self) -> None:
        """Let the other ranks go, wait for them, and remove the meeting place."""
        self._ended.set()
        for process in self._others.values():
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        deadline = time.monotonic() + LEAVE_SECONDS
        for process in self._others.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.meeting, ignore_errors=True)


def _how(status: int) -> str:
    if status >= 0:
        return f" with exit status {status}"
    with contextlib.suppress(ValueError):
        return f": it was killed ({signal.Signals(-status).name})"
    return f": it was killed (signal {-status})"


def _loopback() -> str:
    """Return the name of the interface that leads nowhere but to this machine."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == "127.0.0.1" for address in addresses):
            return name
    return "lo"


def share_cores(world: int) -> None:
    """Give each rank its share of the cores, unless a person has set the number of threads."""
    if world > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // world)))


def hold_on(place: Place) -> None:
    """Tie a rank to rank 0: its end is ours, and only rank 0 obeys signals that ask to stop."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def wait_for_the_end() -> None:
        while os.read(0, 1):
            pass
        shutil.rmtree(place.meeting or "", ignore_errors=True)  # a killed rank 0 left it
        os._exit(1)

    if place.meeting is not None:
        threading.Thread(target=wait_for_the_end, name="rank 0", daemon=True).start()


class Mute:
    """What the other ranks write events with: nothing comes of it."""

    attempt = 0

    def write(self, event: Any) -> None:
        """Forget the event."""


def leave_word(place: Place, failed: Any) -> None:
    """Leave why this rank ends where rank 0 looks for it."""
    if place.meeting is None:
        return
    words = {name: getattr(failed, name) for name in WORDS}
    path = place.meeting / f"rank-{place.rank}.json"
    with contextlib.suppress(OSError):
        path.with_suffix(".part").write_text(json.dumps(words), encoding="utf-8")
        path.with_suffix(".part").replace(path)
    time.sleep(
        SETTLE_SECONDS
    )  # where it was rank 0 that fell, its end comes first, and the meeting place goes
