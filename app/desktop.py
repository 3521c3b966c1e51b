"""Notices of the desktop: by the session bus on Linux, by a tray icon on Windows and macOS."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QSystemTrayIcon, QWidget

if TYPE_CHECKING:
    from app.workers.notice_bus import NoticeBus

NO_DESKTOP = ("offscreen", "minimal")  # platforms of Qt that nobody looks at
SHOWN_MS = 10_000
BY_BUS = sys.platform == "linux"  # what speaks with the bus is installed there alone


class Desktop(QObject):
    """Shows one notice after another; what there is to show them with is found with the first.

    On Linux a tray's message goes the bus's way too, but as markup: so the bus alone is used there. `sockets`
    takes the place of the session bus of this person.

    Signals:
        pressed: the key of a notice that was pressed.
        failed: the key of a notice that the desktop did not take.
    """

    pressed = Signal(str)
    failed = Signal(str)

    def __init__(self, window: QWidget, sockets: list[str] | None = None) -> None:
        super().__init__(window)
        self._window, self._sockets = window, sockets
        self._bus: NoticeBus | None = None
        self._tray: QSystemTrayIcon | None = None
        self._last = ""

    @property
    def way(self) -> str:
        """Return how notices are shown here: "bus", "tray", or nothing."""
        if self._sockets is None and QGuiApplication.platformName() in NO_DESKTOP:
            return ""
        if BY_BUS:
            return "bus" if self._places() else ""
        good = QSystemTrayIcon.isSystemTrayAvailable() and QSystemTrayIcon.supportsMessages()
        return "tray" if good else ""

    def show(self, key: str, title: str, text: str) -> None:
        """Show a notice of plain text; `failed` tells where that cannot be done."""
        way = self.way
        if way == "bus":
            self._by_bus().show(key, title, text)
        elif way == "tray":
            self._last = key
            tray = self._by_tray()
            tray.show()
            tray.showMessage(title, text, self._window.windowIcon(), SHOWN_MS)
        else:
            self.failed.emit(key)

    def close(self) -> None:
        """Let go of the bus and the tray."""
        if self._bus is not None:
            self._bus.close()
        if self._tray is not None:
            self._tray.hide()

    def _places(self) -> list[str]:
        from app.workers.notice_bus import places

        return places() if self._sockets is None else self._sockets

    def _by_bus(self) -> NoticeBus:
        if self._bus is None:
            from app.workers.notice_bus import NoticeBus

            self._bus = NoticeBus(self._places(), self)
            self._bus.pressed.connect(self.pressed)
            self._bus.failed.connect(self.failed)
        return self._bus

    def _by_tray(self) -> QSystemTrayIcon:
        if self._tray is None:
            self._tray = QSystemTrayIcon(self._window.windowIcon(), self)
            self._tray.messageClicked.connect(self._on_pressed)
            self._tray.activated.connect(self._on_pressed)
            application = QGuiApplication.instance()
            if isinstance(application, QGuiApplication):
                application.applicationStateChanged.connect(self._on_state)
        return self._tray

    def _on_pressed(self) -> None:
        self.pressed.emit(self._last)

    def _on_state(self, state: Qt.ApplicationState) -> None:
        """The icon is there for its notice alone: it goes once somebody looks at the window."""
        if self._tray is not None and state == Qt.ApplicationState.ApplicationActive:
            self._tray.hide()
