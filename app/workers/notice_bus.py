"""Notices of a Linux desktop: org.freedesktop.Notifications on the session bus of this person.

https://specifications.freedesktop.org/notification-spec/latest/. Promise S4 holds: the one address that is
ever connected to is a socket in the file system or an abstract one of this computer (`unix:`); an address of
a network (`tcp:`), or one that would start a bus (`autolaunch:`), is not used. Nothing listens. Qt's own
D-Bus is not taken for it: from Python it cannot write the unsigned number that `Notify` begins with.
"""

from __future__ import annotations

import html
import os
import socket
from pathlib import Path
from urllib.parse import unquote

from PySide6.QtCore import QObject, QSocketNotifier, Signal

from app.workers import bus_messages
from app.workers.bus_messages import ERROR, RETURN, SIGNAL, BadMessage, Message
from engine.paths import resources

BUS, BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
NOTICES, NOTICES_PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"
RULE = f"type='signal',sender='{NOTICES}',path='{NOTICES_PATH}',interface='{NOTICES}'"
AS_LONG_AS_USUAL = -1
CHUNK = 1 << 16
LONGEST_LINE = 4096
# Where Qt looks for the leave of Wayland to come to the front, once, when it asks for it.
TOKEN = "XDG_ACTIVATION_TOKEN"
LONGEST_TOKEN = 200


def places() -> list[str]:
    """Return the sockets of the session bus, as `socket.connect` takes them; none where there is no bus."""
    found = sockets_of(os.environ.get("DBUS_SESSION_BUS_ADDRESS", ""))
    usual = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nowhere") / "bus"
    if not os.environ.get("DBUS_SESSION_BUS_ADDRESS") and usual.is_socket():
        found.append(str(usual))
    return found


def sockets_of(address: str) -> list[str]:
    """Return the sockets of this computer that a bus address names; others are left out."""
    found = []
    for one in address.split(";"):
        kind, _, rest = one.partition(":")
        values = dict(pair.split("=", 1) for pair in rest.split(",") if "=" in pair)
        if kind == "unix" and "path" in values:
            found.append(unquote(values["path"]))
        elif kind == "unix" and "abstract" in values:
            found.append("\0" + unquote(values["abstract"]))
    return found


class NoticeBus(QObject):
    """Shows notices and hears of presses on them; nothing here waits for the other side.

    Signals:
        pressed: the key of a notice that was pressed.
        shown: the key of a notice that the desktop took.
        failed: the key of a notice that could not be shown.
    """

    pressed = Signal(str)
    shown = Signal(str)
    failed = Signal(str)

    def __init__(self, sockets: list[str], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._sockets = sockets
        self._socket: socket.socket | None = None
        self._notifier: QSocketNotifier | None = None
        self._rest, self._serial = b"", 0
        self._greeted = self._open = self._marks = False
        self._waiting: list[tuple[str, str, str]] = []
        self._asked: dict[int, str] = {}  # serial of a call: the key of its notice
        self._keys: dict[int, str] = {}  # id at the desktop: the key of its notice
        self._capabilities = 0

    def show(self, key: str, title: str, text: str) -> None:
        """Show a notice: its title and text are plain, whatever stands in them."""
        self._waiting.append((key, title, text))
        if self._socket is None:
            self._connect()
        elif self._open:
            self._send_waiting()

    def close(self) -> None:
        """Let go of the bus."""
        if self._notifier is not None:
            self._notifier.setEnabled(False)
            self._notifier.deleteLater()
            self._notifier = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._rest, self._greeted, self._open = b"", False, False
        self._keys.clear()
        lost = [*self._asked.values(), *(key for key, _, _ in self._waiting)]
        self._asked.clear()
        self._waiting.clear()
        for key in lost:
            self.failed.emit(key)

    # -- the connection ------------------------------------------------------------------------------------
    def _connect(self) -> None:
        for place in self._sockets:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.setblocking(False)
            try:
                made.connect(place)
            except OSError:
                made.close()
                continue
            self._socket = made
            self._notifier = QSocketNotifier(made.fileno(), QSocketNotifier.Type.Read, self)
            self._notifier.activated.connect(self._on_readable)
            self._write(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
            return
        self.close()

    def _write(self, data: bytes) -> None:
        """Hand bytes over; a bus that does not take these few at once is let go of."""
        if self._socket is None:
            return
        try:
            sent = self._socket.send(data)
        except OSError:
            sent = -1
        if sent != len(data):
            self.close()

    def _on_readable(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._rest += data
        try:
            self._read()
        except BadMessage:
            self.close()

    def _read(self) -> None:
        if not self._greeted:
            line, found, rest = self._rest.partition(b"\r\n")
            if not found and len(line) < LONGEST_LINE:
                return
            if not line.startswith(b"OK "):
                raise BadMessage("the bus does not know this person")
            self._greeted, self._rest = True, rest
            self._write(b"BEGIN\r\n")
            self._call(BUS, BUS_PATH, BUS, "Hello", "")
            self._call(BUS, BUS_PATH, BUS, "AddMatch", "s", RULE)
            self._capabilities = self._call(NOTICES, NOTICES_PATH, NOTICES, "GetCapabilities", "")
        while self._socket is not None:
            message, self._rest = bus_messages.take(self._rest)
            if message is None:
                return
            self._take(message)

    def _call(self, to: str, path: str, interface: str, member: str, types: str, *values: object) -> int:
        self._serial += 1
        self._write(bus_messages.method_call(self._serial, to, path, interface, member, types, values))
        return self._serial

    # -- what is said --------------------------------------------------------------------------------------
    def _take(self, message: Message) -> None:
        if message.kind in (RETURN, ERROR) and message.reply_to == self._capabilities:
            self._on_capabilities(message)
        elif message.kind in (RETURN, ERROR) and message.reply_to in self._asked:
            key = self._asked.pop(message.reply_to)
            if message.kind == RETURN and message.arguments:
                self._keys[int(message.arguments[0])] = key
                self.shown.emit(key)
            else:
                self.failed.emit(key)
        elif message.kind == SIGNAL and message.interface == NOTICES and message.arguments:
            self._on_signal(message.member, *message.arguments[:2])

    def _on_signal(self, member: str, number: object, told: object = "") -> None:
        if not isinstance(number, int) or number not in self._keys:
            return
        if member == "ActionInvoked":
            self.pressed.emit(self._keys[number])
        elif member == "ActivationToken" and isinstance(told, str) and len(told) <= LONGEST_TOKEN:
            os.environ[TOKEN] = told.replace("\0", "")  # comes before the press
        elif member == "NotificationClosed":
            del self._keys[number]

    def _on_capabilities(self, message: Message) -> None:
        if message.kind == ERROR:  # nobody shows notices here
            self.close()
            return
        told = message.arguments[0] if message.arguments else []
        self._marks = isinstance(told, list) and "body-markup" in told
        self._open = True
        self._send_waiting()

    def _send_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for key, title, text in waiting:
            if self._socket is None:
                self.failed.emit(key)
                continue
            body = html.escape(text, quote=False) if self._marks else text
            values = ("Tunesmith", 0, str(resources("theme", "app.svg")), title, body, ["default", "Open"])
            hints = {"desktop-entry": "tunesmith", "suppress-sound": True}
            serial = self._call(
                NOTICES, NOTICES_PATH, NOTICES, "Notify", "susssasa{sv}i", *values, hints, AS_LONG_AS_USUAL
            )
            self._asked[serial] = key
        if self._socket is None:  # it went with one of these
            self.close()
