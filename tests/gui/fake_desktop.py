"""A desktop for tests: org.freedesktop.Notifications as published, on a bus of the test's own.

The other side is Qt's D-Bus over the real libdbus, so what we write is read by code that is not ours.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PySide6.QtCore import ClassInfo, QObject, Signal, Slot
from PySide6.QtDBus import QDBusConnection

from app.workers.notice_bus import NOTICES, NOTICES_PATH, sockets_of

HERE = shutil.which("dbus-daemon") is not None


@ClassInfo({"D-Bus Interface": NOTICES})
class FakeDesktop(QObject):
    """What was shown is in `shown`: title, body; `sockets` lead to its bus."""

    ActionInvoked = Signal("uint", str)
    ActivationToken = Signal("uint", str)
    NotificationClosed = Signal("uint", "uint")

    def __init__(self, sockets: list[str], *, marks: bool) -> None:
        super().__init__()
        self.sockets, self.marks = sockets, marks
        self.shown: list[tuple[str, str]] = []
        self.last: tuple[Any, ...] = ()

    @Slot(result="QStringList")
    def GetCapabilities(self) -> list[str]:
        return ["body", "actions", *(["body-markup"] if self.marks else [])]

    @Slot(str, "uint", str, str, str, "QStringList", "QVariantMap", int, result="uint")
    def Notify(self, *given: Any) -> int:
        self.last = given
        self.shown.append((given[3], given[4]))
        return len(self.shown)

    def press(self, number: int) -> None:
        """Press a notice, the first is 1; like Wayland's desktops with a leave to come to the front."""
        self.ActivationToken.emit(number, f"leave-{number}")
        self.ActionInvoked.emit(number, "default")


@contextlib.contextmanager
def bus(folder: Path) -> Iterator[str]:
    """Give the address of a bus that ends with the block."""
    address = f"unix:path={folder}/bus"
    command = ["dbus-daemon", "--session", "--nofork", "--print-address=1", f"--address={address}"]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert daemon.stdout is not None
        yield daemon.stdout.readline().strip()
    finally:
        daemon.terminate()
        daemon.wait(10)


@contextlib.contextmanager
def fake_desktop(folder: Path, *, marks: bool = True) -> Iterator[FakeDesktop]:
    """Give a desktop that shows notices; with `marks` it reads bodies as markup."""
    with bus(folder) as address:
        connection = QDBusConnection.connectToBus(address, "desktop of a test")
        assert connection.registerService(NOTICES)
        desktop = FakeDesktop(sockets_of(address), marks=marks)
        options = QDBusConnection.RegisterOption
        both = options.ExportAllSlots | options.ExportAllSignals
        assert connection.registerObject(NOTICES_PATH, desktop, both)
        yield desktop
        QDBusConnection.disconnectFromBus("desktop of a test")
