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
import struct
from pathlib import Path
from urllib.parse import unquote

from jeepney import (
    DBusAddress,
    HeaderFields,
    MatchRule,
    Message,
    MessageType,
    Parser,
    message_bus,
    new_method_call,
)
from jeepney.auth import BEGIN, Authenticator
from PySide6.QtCore import QObject, QSocketNotifier, Signal

from engine.paths import resources

NOTICES, NOTICES_PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"
DESKTOP = DBusAddress(NOTICES_PATH, NOTICES, NOTICES)
ANSWERS = (MessageType.method_return, MessageType.error)
AS_LONG_AS_USUAL = -1
CHUNK = 1 << 16
# What the parser raises on bytes that are no message.
BROKEN = (ValueError, LookupError, TypeError, AssertionError, struct.error)
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
        self._greeting, self._parser, self._serial = Authenticator(), Parser(), 0
        self._open = self._marks = False
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
        self._open = False
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
            self._greeting, self._parser = Authenticator(), Parser()
            self._write(self._greeting.data_to_send() or b"")
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
        try:
            self._read(data)
        except BROKEN:
            self.close()

    def _read(self, data: bytes) -> None:
        if not self._greeting.authenticated:
            self._greeting.feed(data)
            if self._greeting.authenticated:
                self._write(BEGIN)
                self._call(message_bus.Hello())
                rule = MatchRule(type="signal", sender=NOTICES, path=NOTICES_PATH, interface=NOTICES)
                self._call(message_bus.AddMatch(rule))
                self._capabilities = self._call(new_method_call(DESKTOP, "GetCapabilities"))
            return
        self._parser.add_data(data)
        while self._socket is not None:
            message = self._parser.get_next_message()
            if message is None:
                return
            self._take(message)

    def _call(self, message: Message) -> int:
        self._serial += 1
        self._write(message.serialise(serial=self._serial))
        return self._serial

    # -- what is said --------------------------------------------------------------------------------------
    def _take(self, message: Message) -> None:
        kind, fields = message.header.message_type, message.header.fields
        answers = fields.get(HeaderFields.reply_serial) if kind in ANSWERS else None
        if answers is not None and answers == self._capabilities:
            self._on_capabilities(message)
        elif answers in self._asked:
            key = self._asked.pop(answers)
            if kind == MessageType.method_return and message.body:
                self._keys[int(message.body[0])] = key
                self.shown.emit(key)
            else:
                self.failed.emit(key)
        elif kind == MessageType.signal and fields.get(HeaderFields.interface) == NOTICES and message.body:
            self._on_signal(fields.get(HeaderFields.member, ""), *message.body[:2])

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
        if message.header.message_type == MessageType.error:  # nobody shows notices here
            self.close()
            return
        told = message.body[0] if message.body else []
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
            hints = {"desktop-entry": ("s", "tunesmith"), "suppress-sound": ("b", True)}
            icon, actions = str(resources("theme", "app.svg")), ["default", "Open"]
            values = ("Tunesmith", 0, icon, _plain(title), _plain(body), actions, hints, AS_LONG_AS_USUAL)
            serial = self._call(new_method_call(DESKTOP, "Notify", "susssasa{sv}i", values))
            self._asked[serial] = key
        if self._socket is None:  # it went with one of these
            self.close()


def _plain(text: str) -> str:
    """Return a text as D-Bus takes it: UTF-8 without NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")
