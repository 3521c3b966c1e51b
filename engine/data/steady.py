"""A data file is a regular file that stays as it is while it is read."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from engine.errors import EngineError, from_os_error
from engine.paths import show_name


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file was when it was opened: its size in bytes and when it was written last."""

    size: int
    mtime_ns: int


class Stamped(Protocol):
    """A file that was looked at, with its stamp of then."""

    @property
    def path(self) -> Path: ...
    @property
    def name(self) -> str: ...
    @property
    def stamp(self) -> Stamp: ...


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file without ever waiting for one; raises EngineError DATA-12 for all that is none.

    A folder, a pipe, a device, a link that leads in a circle and a name that is not UTF-8 are refused.
    """
    _regular(path, _status(path))
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except OSError as error:
        raise _refused(path, error) from None
    try:
        # What stood there a moment ago may be a pipe by now.
        _regular(path, os.fstat(handle))
    except EngineError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of a regular file; raises EngineError DATA-12 for all that is none."""
    status = _status(path)
    _regular(path, status)
    return Stamp(status.st_size, status.st_mtime_ns)


def unchanged(source: Stamped) -> None:
    """Raise EngineError DATA-12 if a file was written to since it was looked at; call it after reading."""
    now = stamp_of(source.path)
    if now == source.stamp:
        return
    before, after = source.stamp.size, now.size
    how = f"from {before:,} to {after:,} bytes" if before != after else "without a change of its size"
    raise EngineError(
        f"{source.name} changed while it was read, {how}.",
        "Wait until it is written to its end, then choose it again.",
        "DATA-12",
        file=str(source.path),
    )


def _status(path: Path) -> os.stat_result:
    try:
        path.name.encode("utf-8")
        return os.stat(path)
    except UnicodeEncodeError:
        raise _refusal(path, "has a name that is not UTF-8.", "Rename it.") from None
    except ValueError:
        raise _refusal(path, "has a name that no file can have.", "Choose another file.") from None
    except OSError as error:
        raise _refused(path, error) from None


def _regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        what, hint = "is a folder; it cannot be read as a data file.", "Choose a file in it."
    else:
        what = "is not a regular file; it cannot be read as a data file."
        hint = "Copy its content into a file."
    raise _refusal(path, what, hint)


def _refused(path: Path, error: OSError) -> EngineError:
    if error.errno == errno.ENOENT:
        return _refusal(path, "is not there.", f"Looked for it at {path}; show where it is now.")
    if error.errno == errno.ELOOP:
        return _refusal(path, "is a link that leads in a circle.", "Choose the file itself.")
    if error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO):
        return _refusal(path, f"cannot be opened ({error.strerror}).", "Choose another file.")
    return from_os_error(error, str(path))


def _refusal(path: Path, what: str, hint: str) -> EngineError:
    return EngineError(f"{show_name(path.name)} {what}", hint, "DATA-12", file=str(path))
