"""What a child's work gets: its folder, its voice (events), its ear (requests) and the phase it is in."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from engine.jobs.spec import JobSpec
from engine.runs.event_log import EventWriter
from engine.runtime.control import Control
from engine.runtime.vitals import Vitals


class Requests:
    """What was asked and is not yet done; stop is never taken back."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._asked: set[str] = set()
        self._prompts: list[str] = []

    @property
    def stop(self) -> bool:
        """Return whether the job is to save and end."""
        return "stop" in self._asked

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
                self._asked.discard("resume")
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


@dataclass
class Job:
    """One attempt of a job."""

    folder: Path
    spec: JobSpec
    writer: EventWriter
    requests: Requests
    vitals: Vitals
    resume_from: Path | None = None
    versions: dict[str, str] = field(default_factory=dict)
    data_digest: str = ""

    def write(self, event: BaseModel) -> None:
        """Append an event."""
        self.writer.write(event)

    def sync(self) -> None:
        """Make the events written so far durable."""
        fd = os.open(self.folder / "events.jsonl", os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def phase(self, name: str) -> None:
        """Say what is done now; the heartbeat carries it."""
        self.vitals.phase = name

    def outcome(self, event: Any) -> dict[str, Any]:
        """Return exit.json for the closing event."""
        import time

        status = event.type
        message = {"finished": "The job is done.", "stopped": "Stopped on request; everything is saved."}.get(
            status, ""
        )
        return {
            "status": status,
            "code": getattr(event, "code", ""),
            "message": getattr(event, "message", message),
            "hint": getattr(event, "hint", ""),
            "step": getattr(event, "step", getattr(event, "steps", None)),
            "time": time.time(),
        }
