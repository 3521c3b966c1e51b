"""A file in another encoding as a stream of UTF-8 bytes, decoded piece by piece."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable
from typing import BinaryIO

from engine.errors import EngineError

PIECE = 1 << 16
# Codecs that Python counts as text but that no file of text is written in.
NOT_OF_FILES = frozenset({"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"})
_SAME = {"utf_8": "utf-8", "utf8": "utf-8", "utf-8-sig": "utf-8", "ascii": "utf-8"}

# What is told of a byte that is not of the encoding: line, column, byte.
Refuse = Callable[[int, int, str], EngineError]


def codec_name(encoding: str) -> str:
    """Return Python's name of a text encoding; raises EngineError REC-01 for one it does not know."""
    try:
        found = codecs.lookup(encoding.strip())
        b"".decode(encoding.strip())
    except (LookupError, ValueError):
        raise _unknown(encoding) from None
    if found.name.replace("-", "_") in NOT_OF_FILES or found.incrementaldecoder is None:
        raise _unknown(encoding)
    return _SAME.get(found.name, found.name)


def _unknown(encoding: str) -> EngineError:
    return EngineError(
        f"data.encoding: {encoding[:40]!r} is not the name of an encoding.",
        "Allowed: utf-8, utf-16, cp1252, latin-1, shift_jis, gb18030, big5, euc_kr, cp1251 and others.",
        "REC-01",
        field="data.encoding",
    )


class Recoded(io.RawIOBase):
    """The bytes of a file as UTF-8; a byte that is not of its encoding raises what `refuse` makes of it.

    With `old_line_ends` each carriage return becomes a line feed.
    """

    def __init__(self, raw: BinaryIO, encoding: str, refuse: Refuse, old_line_ends: bool = False) -> None:
        self._raw = raw
        self._refuse = refuse
        self._encoding = encoding
        self._old = old_line_ends
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._rest = memoryview(b"")
        self._line, self._column = 1, 1

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = self._raw.read(PIECE)
            self._rest = memoryview(self._decoded(piece))
            if not piece:
                break
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _decoded(self, piece: bytes) -> bytes:
        if self._encoding == "utf-8":  # only its line ends change; bad bytes are told where lines are read
            return piece.replace(b"\r", b"\n") if self._old else piece
        try:
            text = self._decoder.decode(piece, final=not piece)
            made = text.encode("utf-8")
        except UnicodeDecodeError as error:
            self._count(error.object[: error.start].decode(self._encoding, "replace"))
            shown = " ".join(f"0x{b:02X}" for b in error.object[error.start : error.end][:4])
            raise self._refuse(self._line, self._column, shown or "at the end") from None
        except UnicodeError:
            raise self._refuse(self._line, self._column, "here") from None
        if self._old:
            text, made = text.replace("\r", "\n"), made.replace(b"\r", b"\n")
        self._count(text)
        return made

    def _count(self, text: str) -> None:
        last = text.rfind("\n")
        self._line += text.count("\n")
        self._column = len(text) - last if last >= 0 else self._column + len(text)
