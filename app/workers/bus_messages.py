"""Messages of D-Bus as bytes: the few types that notices need, written and read.

Layout: https://dbus.freedesktop.org/doc/dbus-specification.html, section "Message Protocol".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
PATH, INTERFACE, MEMBER, REPLY_SERIAL, DESTINATION, SIGNATURE = 1, 2, 3, 5, 6, 8
HEAD_BYTES = 16
LARGEST = 1 << 20  # bytes of a message that is read; nobody answers a notice with more
SIZES = {"y": 1, "g": 1, "n": 2, "q": 2, "i": 4, "u": 4, "b": 4, "s": 4, "o": 4, "a": 4, "x": 8, "t": 8}
FORMATS = {"y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "b": "I", "x": "q", "t": "Q", "d": "d"}


class BadMessage(ValueError):
    """Bytes that are no message, or hold what is not read here."""


@dataclass(frozen=True)
class Message:
    """One message that arrived: its kind, header fields and arguments."""

    kind: int
    reply_to: int = 0
    path: str = ""
    interface: str = ""
    member: str = ""
    arguments: list[Any] = field(default_factory=list)


# -- writing -----------------------------------------------------------------------------------------------
def method_call(
    serial: int, to: str, path: str, interface: str, member: str, types: str, values: Sequence[Any]
) -> bytes:
    """Return a method call; `types` is a signature of s, u, i, b, as and a{sv} (texts and truths)."""
    body = bytearray()
    for one, value in zip(_split(types), values, strict=True):
        _put(body, one, value)
    head = bytearray(struct.pack("<4BII", ord("l"), CALL, 0, 1, len(body), serial))
    fields = [(PATH, "o", path), (INTERFACE, "s", interface), (MEMBER, "s", member), (DESTINATION, "s", to)]
    if types:
        fields.append((SIGNATURE, "g", types))
    head += b"\0\0\0\0"
    for code, kind, text in fields:
        _pad(head, 8)
        head.append(code)
        _put(head, "g", kind)
        _put(head, kind, text)
    struct.pack_into("<I", head, 12, len(head) - HEAD_BYTES)
    _pad(head, 8)
    return bytes(head + body)


def _split(types: str) -> list[str]:
    """Return the single types of a signature."""
    found, rest = [], types
    while rest:
        one = rest[0]
        if one == "a":
            one = "a{sv}" if rest.startswith("a{sv}") else rest[:2]
        found.append(one)
        rest = rest[len(one) :]
    return found


def _pad(data: bytearray, size: int) -> None:
    data += b"\0" * (-len(data) % size)


def _put(data: bytearray, kind: str, value: Any) -> None:
    if kind in ("u", "i", "b"):
        _pad(data, 4)
        data += struct.pack(f"<{FORMATS[kind]}", value)
    elif kind in ("s", "o"):
        text = value.encode("utf-8", "replace").replace(b"\0", b"")
        _pad(data, 4)
        data += struct.pack("<I", len(text)) + text + b"\0"
    elif kind == "g":
        data += bytes([len(value)]) + value.encode("ascii") + b"\0"
    elif kind == "as":
        _put_array(data, 4, [("s", each) for each in value])
    elif kind == "a{sv}":
        _put_array(data, 8, [("{sv}", each) for each in value.items()])
    elif kind == "{sv}":
        _pad(data, 8)
        _put(data, "s", value[0])
        inner = "b" if isinstance(value[1], bool) else "s"
        _put(data, "g", inner)
        _put(data, inner, value[1])
    else:
        raise ValueError(f"{kind} is not written here")


def _put_array(data: bytearray, alignment: int, items: list[tuple[str, Any]]) -> None:
    _pad(data, 4)
    place = len(data)
    data += b"\0\0\0\0"
    _pad(data, alignment)
    begin = len(data)
    for kind, each in items:
        _put(data, kind, each)
    struct.pack_into("<I", data, place, len(data) - begin)


# -- reading -----------------------------------------------------------------------------------------------
def take(data: bytes) -> tuple[Message | None, bytes]:
    """Return the first whole message and the bytes behind it; None where it is not whole yet.

    Raises BadMessage.
    """
    if len(data) < HEAD_BYTES:
        return None, data
    order = {ord("l"): "<", ord("B"): ">"}.get(data[0])
    if order is None or data[3] != 1:
        raise BadMessage("no message of this version")
    body, _, fields = struct.unpack_from(f"{order}III", data, 4)
    begin = HEAD_BYTES + fields
    begin += -begin % 8
    if body > LARGEST or fields > LARGEST:
        raise BadMessage("a message of this size is not read")
    if len(data) < begin + body:
        return None, data
    head = _head(_Reader(data[: HEAD_BYTES + fields], order, HEAD_BYTES))
    reader = _Reader(data[begin : begin + body], order)
    arguments = [reader.read(one) for one in _split(head.get(SIGNATURE, ""))] if _is_read(head) else []
    texts = {name: str(head.get(code, "")) for name, code in NAMED.items()}
    return Message(data[1], int(head.get(REPLY_SERIAL, 0)), **texts, arguments=arguments), data[
        begin + body :
    ]


NAMED = {"path": PATH, "interface": INTERFACE, "member": MEMBER}


def _is_read(head: dict[int, Any]) -> bool:
    """Return whether arguments are of the types read here; those of others are not looked at."""
    return all(one in ("s", "o", "u", "i", "b", "as") for one in _split(head.get(SIGNATURE, "")))


def _head(reader: _Reader) -> dict[int, Any]:
    found = {}
    while not reader.over:
        reader.align(8)
        code = reader.read("y")
        found[code] = reader.read(reader.read("g"))
    return found


class _Reader:
    """Bytes with a place in them; every read past their end raises BadMessage."""

    def __init__(self, data: bytes, order: str, place: int = 0) -> None:
        self._data, self._order, self._place = data, order, place

    @property
    def over(self) -> bool:
        return self._place >= len(self._data)

    def align(self, size: int) -> None:
        self._place += -self._place % size

    def _bytes(self, count: int) -> bytes:
        end = self._place + count
        if end > len(self._data):
            raise BadMessage("it ends before its last value")
        taken, self._place = self._data[self._place : end], end
        return taken

    def read(self, kind: str) -> Any:
        """Return the next value of a type."""
        if kind == "as":
            count = self.read("u")
            end = self._place + count
            texts = []
            while self._place < end:
                texts.append(self.read("s"))
            return texts
        if kind in ("s", "o", "g"):
            count = self.read("y" if kind == "g" else "u")
            return self._bytes(count + 1)[:-1].decode("utf-8", "replace")
        if kind not in FORMATS:
            raise BadMessage(f"{kind} is not read here")
        shape = FORMATS[kind]
        self.align(struct.calcsize(shape))
        return struct.unpack(f"{self._order}{shape}", self._bytes(struct.calcsize(shape)))[0]
