"""The only writer into job folders: whole or not at all, and on the disk before it is believed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 22


def fsync_folder(folder: Path) -> None:
    """Make the names inside `folder` durable (a no-op where folders cannot be opened)."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_file(path: Path, content: bytes | str) -> None:
    """Write `content` so that a reader sees the old file or the new one, never a part.

    Raises OSError as it comes: a failed fsync is never retried, the former file stands.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    fsync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_file(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def append_line(fd: int, line: bytes) -> None:
    """Append one line ending in a newline with a single write; a short write raises OSError."""
    written = os.write(fd, line)
    if written != len(line):
        import errno

        raise OSError(errno.ENOSPC, "only part of a line could be written")


def fsync_file(path: Path) -> None:
    """Flush a file written by a library to the disk."""
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in chunks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def create_exclusive(path: Path, content: bytes) -> None:
    """Create `path` with `content`; raises FileExistsError when it is there already.

    The content appears at once: it is written under a private name and linked into place.
    """
    private = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(private, "wb") as file:
        file.write(content)
    try:
        os.link(private, path)
    except (OSError, AttributeError) as error:
        if isinstance(error, FileExistsError):
            raise
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, content)
        finally:
            os.close(fd)
    finally:
        with contextlib.suppress(OSError):
            private.unlink()
