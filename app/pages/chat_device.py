"""Whether a chat would fit beside the trainings that are going on, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from app.choices import Choice
from app.i18n import size, tr
from app.partners import needed_bytes
from app.services import Services
from app.widgets.notice import Notice
from engine.paths import show_name
from engine.runs import gpu_gate

LOOK_MS = 2000
Action = tuple[str, Callable[[], object]]


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


def names_of(folders: Sequence[Path]) -> list[str]:
    """Return what jobs are called by their folders."""
    return [show_name(folder.name) for folder in folders]


class Place(QObject):
    """Asks before a chat comes to a GPU on which something works, or does not fit beside a training.

    It can be paused, the CPU can answer, the chat can wait, or answer beside it where it fits.

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
        self._beside: set[str] = set()  # targets that a person let onto a GPU beside a training

    def device_of(self, choice: Choice, device: str) -> str:
        """Return the device to ask for: left to itself a chat leaves a GPU alone that is worked on."""
        return "cuda" if device == "auto" and choice.target in self._beside else device

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
        devices = getattr(hardware.machine, "devices", ()) if device != "cpu" else ()
        working = gpu_gate.working_on(each.uuid for each in devices[:1])
        short = lacking(choice, hardware.latest, bool(devices)) if runs or working else None
        if short is None and (not working or choice.target in self._beside):
            self._look.stop()
            return False
        if not self.waiting:
            mine = [watch for watch in runs if not working or watch.folder in working]
            if short is None:
                self._ask_beside(choice, mine, working[0])
            else:
                who = [*(watch.name for watch in mine), *names_of(working)][0]
                self._ask(choice, who, short, self._ways(mine, bool(devices)))
        return True

    def _ways(self, runs: list[Any], gpu: bool) -> list[Action]:
        actions: list[Action] = []
        if runs:
            actions.append((tr("Pause the run"), lambda: self._pause(runs)))
        if gpu:
            actions.append((tr("Use the CPU"), self.cpu_chosen.emit))
        return [*actions, (tr("Wait"), self._wait)]

    def _ask_beside(self, choice: Choice, runs: list[Any], folder: Path) -> None:
        """GPU-04: it would fit now, and may take the memory that the training needs at its next step."""
        title = tr("{run} uses the GPU.").format(run=names_of([folder])[0])
        text = tr("{name} would fit beside it now. Both share its time, and one may run out of memory.")
        actions = [*self._ways(runs, True), (tr("Answer beside it"), lambda: self._let(choice))]
        self._notice.show_notice("warn", title, text.format(name=choice.label), actions, "", "GPU-04")
        self._notice.show()

    def _let(self, choice: Choice) -> None:
        self._beside.add(choice.target)
        self._notice.hide()
        self.freed.emit()

    def _ask(self, choice: Choice, run: str, short: tuple[float, float], actions: Sequence[Action]) -> None:
        title = tr("{name} does not fit beside the training of {run}.")
        text = tr("It needs {needed}, and {free} are free. A paused run keeps its place and goes on later.")
        self._notice.show_notice(
            "warn",
            title.format(name=choice.label, run=run),
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
