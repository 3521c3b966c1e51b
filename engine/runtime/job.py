"""What a child's work gets: its folder, its voice (events), its ear (requests) and the phase it is in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import durable
from engine.events import Progress, Seal, Sealed
from engine.jobs.spec import JobSpec
from engine.runs import seals
from engine.runs.check import MANIFEST
from engine.runs.event_log import EventWriter
from engine.runs.history import RunHistory
from engine.runtime.awake import KeepAwake
from engine.runtime.control import Control
from engine.runtime.crew import Crew, Place
from engine.runtime.tally import Tally
from engine.runtime.vitals import Vitals


class AskedToStop(Exception):
    """A stop came in; it ends work that keeps nothing half made."""


class Requests:
    """What was asked and is not yet done; stop is never taken back."""

    def __init__(self, control: Control) -> None:
        self._control: Any = control
        self._own = control
        self._asked: set[str] = set()
        self._prompts: list[str] = []

    @property
    def stop(self) -> bool:
        """Return whether the job is to save and end."""
        return "stop" in self._asked

    def share(self, with_others: Callable[[Control], Any]) -> None:
        """Hear from now on what all ranks of the run hear."""
        self._control = with_others(self._control)

    def poll(self) -> None:
        """Gather what came in since."""
        for command in self._control.take():
            kind = str(command["command"])
            if kind == "sample":
                self._prompts.append(str(command.get("prompt", ""))[:8000])
            elif kind == "resume":
                self._asked.discard("pause")
                self._asked.add("resume")
            else:
                if kind == "pause":
                    self._asked.discard("resume")
                self._asked.add(kind)

    def poll_alone(self) -> None:
        """Gather whether to stop or to go on, where the other ranks of a run wait; all else comes later."""
        commands = self._own.take()
        mine = [c for c in commands if c["command"] in ("stop", "resume")]
        self._own.put_back([c for c in commands if c not in mine])
        self._asked |= {str(c["command"]) for c in mine}

    def ask(self, kind: str) -> None:
        """Ask for something here as a person would."""
        self._asked.add(kind)

    def take(self, kind: str) -> bool:
        """Return whether `kind` was asked, and forget it."""
        asked = kind in self._asked
        self._asked.discard(kind)
        return asked

    def take_prompts(self) -> list[str]:
        """Return the prompts to answer now, and forget them."""
        prompts, self._prompts = self._prompts, []
        return [prompt for prompt in prompts if prompt.strip()]


def heed_stop(requests: Requests) -> None:
    """Raise AskedToStop where a stop came in."""
    requests.poll()
    if requests.stop:
        raise AskedToStop


@dataclass
class Job:
    """One attempt of a job; `history` is what was said so far, which the seals rest on."""

    folder: Path
    spec: JobSpec
    writer: EventWriter
    requests: Requests
    vitals: Vitals
    resume_from: Path | None = None
    # Code, message and hint of each thing that a repair moved.
    put_away: list[tuple[str, str, str]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    data_digest: str = ""
    place: Place | None = None  # among the processes of the run, None for the only one
    crew: Crew | None = None  # the other processes, where this one started them
    ranks: Any = None  # `ranks.Ranks`, once they have met; it needs torch, which a child loads later
    awake: KeepAwake | None = None
    watch: Any = None  # `folder_watch.FolderWatch`, in the process that holds the folder
    alone: bool = False  # in a process that does nothing else
    history: RunHistory = field(default_factory=RunHistory)
    sealed: tuple[Seal, ...] = ()
    tally: Tally = field(default_factory=Tally)
    _folding: threading.Lock = field(default_factory=threading.Lock)

    def write(self, event: Any) -> None:
        """Append an event; safe to call from several threads."""
        self.writer.write(event)
        self.vitals.see(event)
        with self._folding:
            self.history.fold([event])
            self.tally.see(event)

    def seal(self, closing: Any = None) -> None:
        """Say the seals where they changed; `closing` is the event that will end the attempt."""
        with self._folding:
            self.history.fold([] if closing is None else [closing])
            judged = seals.judge(self.history)
        if judged != self.sealed:
            self.sealed = judged
            self.writer.write(Sealed(step=self.history.step, seals=list(judged)))

    def sync(self) -> None:
        """Make the events written so far durable."""
        self.writer.sync()

    def phase(self, name: str) -> None:
        """Say what is done now; the heartbeat carries it."""
        self.vitals.enter(name)

    def find_folder(self) -> Path:
        """Return where the job's folder lies now; raises EngineError RUN-03 when it is gone."""
        if self.watch is not None:
            self.watch.look()
        return self.folder

    def report(self, stage: str, done: int, total: int, unit: str = "") -> None:
        """Say how far a stage is; raises AskedToStop where a stop was asked for meanwhile."""
        heed_stop(self.requests)
        self.phase(stage)
        self.write(Progress(stage=stage, done=done, total=total, unit=unit))

    def outcome(self, event: Any) -> dict[str, Any]:
        """Return exit.json for the closing event."""
        import time

        status = event.type
        done = getattr(event, "reason", "") or "The job is done."
        message = {"finished": done, "stopped": "Stopped on request; everything is saved."}.get(status, "")
        return {
            "status": status,
            "code": getattr(event, "code", ""),
            "message": getattr(event, "message", message),
            "hint": getattr(event, "hint", ""),
            "step": getattr(event, "step", getattr(event, "steps", None)),
            **self._result(getattr(event, "adapter", None)),
            "time": time.time(),
        }

    def _result(self, name: str | None) -> dict[str, str]:
        """Return what the closing note says of a run's result: with it the run is finished, with no other."""
        manifest = self.folder / (name or "") / MANIFEST
        if name is None or not manifest.is_file():
            return {}
        return {"result": name, "result_sha256": durable.sha256_file(manifest)}
