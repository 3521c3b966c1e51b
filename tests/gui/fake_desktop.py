"""A desktop for tests: org.freedesktop.Notifications as published, on a bus of the test's own.

Bus and desktop are one process of their own, so that no test of the window listens to anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jeepney import (
    DBusAddress,
    Header,
    HeaderFields,
    Message,
    MessageType,
    Parser,
    new_error,
    new_method_return,
    new_signal,
)

from app.workers.notice_bus import NOTICES, NOTICES_PATH, sockets_of

ROOT = Path(__file__).parents[2]
PRESSED, TOKEN = "ActionInvoked", "ActivationToken"


class FakeDesktop:
    """What was shown is in `shown`: title, body; `last` is the latest call; `sockets` lead to its bus."""

    def __init__(self, place: Path, *words: str) -> None:
        self.sockets = sockets_of(f"unix:path={place}")
        self.shown: list[tuple[str, str]] = []
        self.last: list[Any] = []
        command = [sys.executable, "-m", "tests.gui.fake_desktop", str(place), *words]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, text=True, cwd=ROOT, **pipes)  # type: ignore[call-overload]
        assert self._process.stdout.readline() == "listening\n"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self.last = json.loads(line)
            self.shown.append((self.last[3], self.last[4]))

    def press(self, number: int) -> None:
        """Press a notice, the first is 1; like Wayland's desktops with a leave to come to the front."""
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """End the bus with its desktop."""
        self._process.stdin.close()
        self._process.wait(10)
        self._reader.join(10)
        self._process.stdout.close()


@contextlib.contextmanager
def fake_desktop(folder: Path, *, marks: bool = True, nobody: bool = False) -> Iterator[FakeDesktop]:
    """Give a desktop that shows notices; with `marks` it reads bodies as markup, `nobody` is only the bus."""
    made = FakeDesktop(folder / "bus", *["marks"] * marks, *["nobody"] * nobody)
    try:
        yield made
    finally:
        made.end()


# ------------------------------------------------------------------------------------------------ the process


class Bus:
    """One client, its greeting, and what it asks for; notices are counted over all clients."""

    shown = 0

    def __init__(self, client: socket.socket, *, marks: bool, nobody: bool) -> None:
        self.client, self.marks, self.nobody = client, marks, nobody
        self.parser, self.line, self.greeted = Parser(), b"", False
        self.sent = 0

    def send(self, message: Message) -> None:
        self.sent += 1
        self.client.sendall(message.serialise(serial=self.sent))

    def take(self, data: bytes) -> None:
        """Take bytes as they come: lines of the greeting, then messages."""
        while not self.greeted:
            line, found, data = (self.line + data).partition(b"\r\n")
            if not found:
                self.line = line
                return
            self.line = b""
            if line.startswith(b"\0AUTH EXTERNAL "):
                assert bytes.fromhex(line.split()[-1].decode()) == str(os.geteuid()).encode()
                self.client.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
            self.greeted = line == b"BEGIN"
        for message in self.parser.feed(data):
            self.send(self.answer(message.header, message))

    def answer(self, header: Header, message: Message) -> Message:
        member = header.fields[HeaderFields.member]
        assert header.message_type == MessageType.method_call
        if member == "Hello":
            return new_method_return(message, "s", (":1.7",))
        if member == "AddMatch":
            assert f"interface='{NOTICES}'" in message.body[0]
            return new_method_return(message)
        assert header.fields[HeaderFields.destination] == NOTICES
        assert header.fields[HeaderFields.path] == NOTICES_PATH
        if self.nobody:
            return new_error(message, "org.freedesktop.DBus.Error.ServiceUnknown", "s", ("Nobody.",))
        if member == "GetCapabilities":
            return new_method_return(message, "as", (["body", "actions", *["body-markup"] * self.marks],))
        assert member == "Notify" and header.fields[HeaderFields.signature] == "susssasa{sv}i"
        Bus.shown += 1
        *said, hints, patience = message.body
        print(json.dumps([*said, {name: value for name, (_, value) in hints.items()}, patience]), flush=True)
        return new_method_return(message, "u", (Bus.shown,))

    def press(self, number: int) -> None:
        emitter = DBusAddress(NOTICES_PATH, interface=NOTICES)
        for member, word in ((TOKEN, f"leave-{number}"), (PRESSED, "default")):
            self.send(new_signal(emitter, member, "us", (number, word)))


def received(client: Any) -> bytes:
    """Return what a client sent, nothing where it went: it leaves with a reset where it was told more."""
    with contextlib.suppress(ConnectionError):
        return client.recv(1 << 16)
    return b""


def main(place: str, *words: str) -> int:
    """Serve until stdin ends; each of its lines is the number of a notice that is pressed."""
    listening, known = socket.socket(socket.AF_UNIX), selectors.DefaultSelector()
    listening.bind(place)
    listening.listen()
    print("listening", flush=True)
    known.register(listening, selectors.EVENT_READ)
    known.register(sys.stdin, selectors.EVENT_READ)
    clients: dict[socket.socket, Bus] = {}
    while True:
        for key, _ in known.select():
            if key.fileobj is listening:
                client = listening.accept()[0]
                clients[client] = Bus(client, marks="marks" in words, nobody="nobody" in words)
                known.register(client, selectors.EVENT_READ)
            elif key.fileobj is sys.stdin:
                line = sys.stdin.readline()
                if not line:
                    return 0
                for bus in clients.values():
                    with contextlib.suppress(ConnectionError):  # it went meanwhile
                        bus.press(int(line))
            elif data := received(key.fileobj):
                with contextlib.suppress(ConnectionError):
                    clients[key.fileobj].take(data)
            else:
                known.unregister(key.fileobj)
                del clients[key.fileobj]


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
