"""Whether a chat would fit beside the trainings that are going on, before anything is loaded."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from app.choices import Choice
from app.i18n import size, tr
from app.partners import needed_bytes
from app.services import Services
from app.widgets.notice import Notice

LOOK_MS = 2000


def free_bytes(sample: Any, gpu: bool) -> float | None:
    """Return the free memory of the device that would answer, None while it is not known."""
    if sample is None:
        return None
    if gpu:
        return max((float(d.total_bytes - d.used_bytes) for d in sample.devices), default=None)
    return float(sample.ram_total_bytes - sample.ram_used_bytes) if sample.ram_total_bytes else None


def lacking(choice: Choice, sample: Any, gpu: bool) -> tuple[float, float] | None:
    """Return (needed, free) where a choice does not fit beside what is going on, else None."""
    free, needed = free_bytes(sample, gpu), needed_bytes(choice, gpu, smaller=not gpu)
    return (needed, free) if free is not None and needed > free else None


class Place(QObject):
    """Asks what to do when a chat does not fit beside a training: pause it, use the CPU, or wait.

    Signals:
        freed: loading may be tried now.
        cpu_chosen: the CPU is to answer.
        changed: it waits now, or waits no more.
    """

    freed = Signal()
    cpu_chosen = Signal()
    changed = Signal()

    def __init__(self, services: Services, notice: Notice, parent: QObject) -> None:
        super().__init__(parent)
        self._services, self._notice = services, notice
        self._look = QTimer(self, interval=LOOK_MS)
        self._look.timeout.connect(self.freed)

    @property
    def waiting(self) -> bool:
        """Return whether a chat waits for memory."""
        return self._look.isActive()

    def give_up(self) -> None:
        """Wait no more."""
        self._look.stop()

    def refuses(self, choice: Choice, device: str) -> bool:
        """Return whether a choice must not be loaded now; asks, unless a person chose to wait."""
        queue, hardware = self._services.run_queue, self._services.hardware
        runs = [watch for watch in queue.active() if watch.state != "paused"] if queue is not None else []
        gpu = bool(getattr(hardware.machine, "devices", ())) and device != "cpu"
        short = lacking(choice, hardware.latest, gpu) if runs else None
        if short is None:
            self._look.stop()
            return False
        if not self.waiting:
            self._ask(choice, runs, short, gpu)
        return True

    def _ask(self, choice: Choice, runs: list[Any], short: tuple[float, float], gpu: bool) -> None:
        actions = [(tr("Pause the run"), lambda: self._pause(runs)), (tr("Wait"), self._wait)]
        if gpu:
            actions.insert(1, (tr("Use the CPU"), self.cpu_chosen.emit))
        title = tr("{name} does not fit beside the training of {run}.")
        text = tr("It needs {needed}, and {free} are free. A paused run keeps its place and goes on later.")
        self._notice.show_notice(
            "warn",
            title.format(name=choice.label, run=runs[0].name),
            text.format(needed=size(short[0]), free=size(short[1])),
            actions,
        )
        self._notice.show()

    def _pause(self, runs: list[Any]) -> None:
        for watch in runs:
            self._services.run_queue.send(watch.folder, "pause")
        self._wait()

    def _wait(self) -> None:
        self._notice.hide()
        self._look.start()
        self.changed.emit()
