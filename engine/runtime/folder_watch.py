"""A run's folder under a child that works in it: followed where it is moved, not made anew when it is gone.

The lock and the log are held open and go with the folder; what is written by name goes to where it lies now.
"""

from __future__ import annotations

import os
import threading

from engine.errors import EngineError
from engine.events import Warned
from engine.paths import show_name
from engine.runs import whereabouts
from engine.runtime.control import Control
from engine.runtime.job import Job


class FolderWatch:
    """Knows the folder by its place on the disk, which no other can take while it is held open."""

    def __init__(self, job: Job, control: Control) -> None:
        self._job = job
        self._control = control
        self._known = whereabouts.identity(job.folder)
        self._held = None if os.name == "nt" else os.open(job.folder, os.O_RDONLY)
        self._looking = threading.Lock()
        self._gone: EngineError | None = None

    def end(self) -> None:
        """Let go of the folder."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def look(self) -> None:
        """Follow the folder where it was moved; raises EngineError RUN-03 when it is gone."""
        with self._looking:
            if self._gone is None and whereabouts.is_gone(self._job.folder, self._known):
                self._follow()
            if self._gone is not None:
                raise self._gone

    def glance(self) -> None:
        """Do the same beside the work: a gone folder is raised by the work's next look, and stops it."""
        try:
            self.look()
        except EngineError:
            self._job.requests.ask("stop")

    def _follow(self) -> None:
        job = self._job
        shown = show_name(str(job.folder), 300)
        found = whereabouts.find_moved(job.folder, self._known)
        if found is None:
            hint = "Bring it back or show where it is now."
            words = f"The folder of this run is gone: {shown}."
            self._gone = EngineError(words, hint, "RUN-03", file=str(job.folder))
            return
        job.folder = found
        self._control.move(found)
        place = show_name(str(found), 300)
        job.write(
            Warned(
                code="RUN-03",
                message=f"The folder of this run was moved from {shown}.",
                hint=f"Training goes on at {place}.",
            )
        )
