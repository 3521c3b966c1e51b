"""The only writer into job folders: whole or not at all, and on the disk before it is believed.

All that changes a folder goes through `disk`, call by call, so that a test can record, refuse or reorder it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from engine import faults
from engine.links import is_link

CHUNK_BYTES = 1 << 22
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Seconds between the five tries of a name that another program holds (a scanner, a sync program).
PAUSES = (0.1, 0.3, 0.6, 1.0)
WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Disk:
    """The calls of the operating system that change a folder; each raises OSError as it comes.

    Points of `faults`: open, write, fsync, replace, link, unlink, mkdir, rmdir, fsync_folder.
    """

    def free(self, folder: Path) -> int:
        """Return how many bytes the disk of a folder has room for."""
        return shutil.disk_usage(folder).free

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open a file for writing and return its descriptor."""
        faults.point("open")
        return os.open(path, flags, mode)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write once and return how many bytes were taken."""
        if faults.point("write") == "short-write":
            return os.write(fd, memoryview(data)[: len(data) // 2])
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        """Bring a file's bytes to the disk; never to be called again for the same bytes once it failed."""
        faults.point("fsync")
        os.fsync(fd)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def replace(self, source: Path, target: Path) -> None:
        """Give a file or folder another name; a file there is replaced at once."""
        faults.point("replace")
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; raises FileExistsError where it is taken."""
        faults.point("link")
        os.link(source, target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        faults.point("unlink")
        os.unlink(path)

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        """Make one folder."""
        faults.point("mkdir")
        os.mkdir(path, mode)

    def rmdir(self, path: Path) -> None:
        """Remove an empty folder."""
        faults.point("rmdir")
        os.rmdir(path)

    def fsync_folder(self, folder: Path) -> None:
        """Make the names inside `folder` durable (a no-op where folders cannot be opened)."""
        faults.point("fsync_folder")
        if os.name == "nt":
            return
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


disk = Disk()


@contextlib.contextmanager
def using(other: Disk) -> Iterator[Disk]:
    """Let everything here go through another disk for a while (for tests)."""
    global disk
    before, disk = disk, other
    try:
        yield other
    finally:
        disk = before


def is_full(error: OSError) -> bool:
    """Return whether there is no room: on the disk, within a quota, or within a file's limit."""
    return error.errno in FULL


def fsync_folder(folder: Path) -> None:
    """Make the names inside `folder` durable (a no-op where folders cannot be opened)."""
    disk.fsync_folder(folder)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all bytes; raises OSError ENOSPC where the disk takes none any more."""
    rest = memoryview(data).cast("B")
    while len(rest):
        taken = disk.write(fd, rest[: 1 << 26])
        if taken <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[taken:]


def _patiently(call: Callable[[], None]) -> None:
    """Do what needs a name for itself, again after a pause while another program holds it.

    Raises PermissionError when it still does after the last pause.
    """
    for pause in PAUSES:
        try:
            return call()
        except PermissionError:
            time.sleep(pause)
    call()


def replace(source: Path, target: Path) -> None:
    """Give a file or folder another name in the same folder or beside it, patiently; not yet durable."""
    _patiently(lambda: disk.replace(source, target))


def move(source: Path, target: Path) -> None:
    """Give a file or folder another place on the same disk, durably; raises OSError."""
    replace(source, target)
    disk.fsync_folder(target.parent)
    if source.parent != target.parent:
        disk.fsync_folder(source.parent)


def remove_file(path: Path) -> None:
    """Remove a file or link, patiently; one that is not there is no error."""
    with contextlib.suppress(FileNotFoundError):
        _patiently(lambda: disk.unlink(path))


def remove_tree(folder: Path, point: str = "") -> None:
    """Remove a folder with all in it, depth first; links go and are not followed; nothing there is no error.

    `point` is passed before each file. Raises OSError, with the rest still there.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not is_link(entry):
            remove_tree(Path(entry.path), point)
        else:
            faults.point(point)
            remove_file(Path(entry.path))
    with contextlib.suppress(FileNotFoundError):
        _patiently(lambda: disk.rmdir(folder))


def discard(path: Path) -> None:
    """Remove a file or folder that is of no use any more; where that fails, it stays as litter."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not is_link(path):
            remove_tree(path)
        else:
            remove_file(path)


def make_folder(folder: Path, mode: int = 0o777, *, inside: Path | None = None) -> None:
    """Make a folder and those above it, durably; one that is there already is no error.

    With `inside`, nothing above that one is made: raises FileNotFoundError when it is gone.
    """
    if folder.is_dir():
        return
    if folder == inside:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    make_folder(folder.parent, inside=inside)
    with contextlib.suppress(FileExistsError):
        disk.mkdir(folder, mode)
    disk.fsync_folder(folder.parent)


def scratch_folder(beside: Path) -> Path:
    """Make a folder for what will stand under the name `beside` once it is whole; raises OSError."""
    make_folder(beside.parent)
    folder = beside.with_name(f".{beside.name}-{uuid.uuid4().hex[:8]}")
    disk.mkdir(folder, 0o700)
    return folder


_noted = threading.local()


@contextlib.contextmanager
def noting() -> Iterator[None]:
    """Note the SHA-256 of each file that this thread writes meanwhile: of what was given to be written."""
    _noted.sums = {}
    try:
        yield
    finally:
        _noted.sums = None


def noted_sha256(path: Path) -> str | None:
    """Return the SHA-256 noted of a file, None where it was not written here."""
    sums: dict[Path, str] | None = getattr(_noted, "sums", None)
    return None if sums is None else sums.get(path)


def stream(path: Path, blocks: Iterable[bytes | memoryview], *, settling: str = "") -> None:
    """Write blocks one after another as a file that a reader sees whole or not at all.

    `settling` is a point passed when all is written and nothing has its name yet.
    Raises OSError as it comes: a failed fsync is never retried, the former file stands.
    """
    part = path.with_name(path.name + ".part")
    sums: dict[Path, str] | None = getattr(_noted, "sums", None)
    digest = hashlib.sha256()
    try:
        fd = disk.open(part, WRITE, 0o666)
        try:
            for block in blocks:
                write_all(fd, block)
                if sums is not None:
                    digest.update(block)
            disk.fsync(fd)
        finally:
            disk.close(fd)
        faults.point(settling)
        replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.unlink(part)
        raise
    if sums is not None:
        sums[path] = digest.hexdigest()
    disk.fsync_folder(path.parent)


def write_file(path: Path, content: bytes | str, *, settling: str = "") -> None:
    """Write `content` so that a reader sees the old file or the new one, never a part; raises OSError."""
    stream(path, [content.encode("utf-8") if isinstance(content, str) else content], settling=settling)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes, whole or not at all; raises OSError."""

    def blocks() -> Iterator[bytes]:
        with open(source, "rb") as file:
            while block := file.read(CHUNK_BYTES):
                yield block

    stream(target, blocks())


def write_json(path: Path, value: Any, *, settling: str = "") -> None:
    """Write `value` as indented JSON, atomically."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_file(path, text, settling=settling)


def open_log(path: Path) -> int:
    """Open a file that only grows and return its descriptor."""
    return disk.open(path, _APPEND, 0o600)


def append_line(fd: int, line: bytes) -> None:
    """Append one line ending in a newline with a single write; a short write raises OSError."""
    written = disk.write(fd, line)
    if written != len(line):
        raise OSError(errno.ENOSPC, "only part of a line could be written")


def fsync_file(path: Path) -> None:
    """Flush a file written by a library to the disk."""
    fd = os.open(path, os.O_RDWR)
    try:
        disk.fsync(fd)
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
    fd = disk.open(private, WRITE, 0o600)
    try:
        try:
            write_all(fd, content)
        finally:
            disk.close(fd)
        try:
            disk.link(private, path)
        except (OSError, AttributeError) as error:
            if isinstance(error, FileExistsError):
                raise
            fd = disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                write_all(fd, content)
            finally:
                disk.close(fd)
    finally:
        with contextlib.suppress(OSError):
            disk.unlink(private)
