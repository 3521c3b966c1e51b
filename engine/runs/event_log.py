"""`events.jsonl`: one writer (the child) that only appends, any number of readers that take whole lines."""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel

from engine import clocks, durable
from engine.event_lines import MAX_LINE_BYTES
from engine.events import Event, decode, encode
from engine.paths import open_plain

NAME = "events.jsonl"
BLOCK_BYTES = 1 << 20
HEAD_BYTES = 256
TAIL_BYTES = 64 * 1024
GLANCE_BYTES = 1024
RARE = (b'"type":"evaluated"', b'"type":"started"', b'"type":"checkpoint_saved"')
PASSING = ("heartbeat", "hardware")  # what nobody misses of the time when the disk was full


class EventReader:
    """Reads what was appended since the last call; begins anew when the file was shortened or replaced.

    `skipped` counts unreadable lines; `restarts` rises when what was read before no longer holds.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._offset = 0
        self._inode = 0
        self._head = b""
        self._beginning_cut = False
        self.skipped = 0
        self.restarts = 0

    @property
    def offset(self) -> int:
        """Return how many bytes have been taken."""
        return self._offset

    def read_new(self, limit: int | None = None) -> list[Event]:
        """Return what is new in whole lines, at most `limit` events; nothing when the file is missing."""
        events: list[Event] = []
        try:
            with open_plain(self._path) as file:
                self._look_for_another_file(file)
                file.seek(self._offset)
                while limit is None or len(events) < limit:
                    block = file.read(BLOCK_BYTES)
                    if not block or not self._take(block, events, limit):
                        break
                    file.seek(self._offset)
        except OSError:
            return events  # not there yet, or gone: the folder's watcher tells which
        return events

    def _look_for_another_file(self, file: Any) -> None:
        facts = os.fstat(file.fileno())
        head = file.read(HEAD_BYTES)
        same = facts.st_ino == self._inode and head.startswith(self._head[: len(head)])
        if self._offset and (not same or facts.st_size < self._offset):
            self._offset = self.skipped = 0
            self._beginning_cut = False
            self.restarts += 1
        self._inode, self._head = facts.st_ino, head

    def _take(self, block: bytes, events: list[Event], limit: int | None) -> bool:
        """Decode the whole lines of `block`; return whether there may be more behind it."""
        start = 0
        while limit is None or len(events) < limit:
            end = block.find(b"\n", start)
            if end < 0:
                break
            self._decode(block[start:end], events)
            start = end + 1
        if start == 0 and len(block) >= MAX_LINE_BYTES:
            start = len(block)
            self._beginning_cut = True
        self._offset += start
        return start > 0 and (len(block) == BLOCK_BYTES or (limit is not None and len(events) >= limit))

    def _decode(self, line: bytes, events: list[Event]) -> None:
        if self._beginning_cut:
            self._beginning_cut = False
            self.skipped += 1
            return
        kept = line.strip(b"\x00\r ")
        if not kept:
            self.skipped += 1 if line.strip() else 0  # an empty line ends a torn one; NULs are lost events
            return
        try:
            events.append(_event(line))
        except ValueError:
            self.skipped += 1


def replay(folder: Path, leave_out: Sequence[str] = ()) -> Iterator[Event]:
    """Yield the readable events of a log from its beginning, without those of some types.

    The lines left out are not even decoded: most lines of a long run tell of the hardware.
    """
    marks = tuple(f'{{"type":"{kind}"'.encode() for kind in leave_out)
    try:
        with open_plain(folder / NAME) as file:
            for line in bounded_lines(file):
                if line.endswith(b"\n") and not line.startswith(marks):
                    yield from _decoded([line[:-1]])
    except OSError:
        return  # no log, nothing said


def preview(folder: Path, points: int = 2000) -> list[Event]:
    """Return events that show the shape of a run at once: beginning, evenly spaced glances, and the end.

    A small file is returned whole. Order is kept; most events of a large file are left out.
    """
    try:
        with open_plain(folder / NAME) as file:
            size = os.fstat(file.fileno()).st_size
            if size <= 4 * TAIL_BYTES:
                return list(_decoded(file.read().split(b"\n")[:-1]))
            events = list(_decoded(file.read(TAIL_BYTES).split(b"\n")[:-1]))
            span = size - 2 * TAIL_BYTES
            for number in range(points):
                file.seek(TAIL_BYTES + span * number // points)
                events += _glance(file.read(GLANCE_BYTES))
            file.seek(size - TAIL_BYTES)
            return events + list(_decoded(file.read().split(b"\n")[1:-1]))
    except OSError:
        return []


def _glance(block: bytes) -> list[Event]:
    """Return one event of a block cut out of the middle: a step if there is one, and any evaluation."""
    lines = block.split(b"\n")[1:-1]
    first_step = next((line for line in lines if b'"type":"step"' in line), None)
    kept = [line for line in lines if line is first_step or any(mark in line for mark in RARE)]
    return list(_decoded(kept))


def _decoded(lines: list[bytes]) -> Iterator[Event]:
    for line in lines:
        try:
            yield _event(line)
        except ValueError:
            continue


def _event(line: bytes) -> Event:
    """Return the event of a line without its end; raises ValueError where it is damaged or too long."""
    if len(line) >= MAX_LINE_BYTES:
        raise ValueError("longer than any line that is written")
    return decode(line.strip(b"\x00\r "))


def bounded_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield each line with its end; of one that is too long only the beginning, which is too long, too."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        rest = line
        while len(line) > MAX_LINE_BYTES and rest and not rest.endswith(b"\n"):
            rest = file.readline(BLOCK_BYTES)
        yield line if rest.endswith(b"\n") is line.endswith(b"\n") else line + b"\n"


class EventWriter:
    """Appends events, one write a line; only the child that holds the folder's lock may have one.

    `seq` goes on over attempts; a line that was torn by the end of an earlier attempt is ended first.
    Safe to call from several threads. Where the disk is full (`full` tells), lines are owed: the next call
    writes them first, in their order. Other errors are raised as OSError: what was not written is not
    believed.
    """

    def __init__(self, folder: Path, attempt: int | None = None) -> None:
        path = folder / NAME
        last = _last_event(path)
        self.attempt = attempt if attempt is not None else (1 if last is None else last.attempt + 1)
        self._seq = 0 if last is None else last.seq + 1
        self._lock = threading.Lock()
        new = not path.exists()
        self._fd = durable.open_log(path)
        if new:
            durable.fsync_folder(folder)  # else a power cut could take the log and leave the saves
        self._torn = _ends_torn(path)
        self._owed: deque[bytes] = deque()
        self._lost = False
        self.full: OSError | None = None

    def write(self, event: BaseModel) -> None:
        """Append `event` with time, monotonic time, attempt and seq filled in."""
        with self._lock:
            self._pay()
            if self.full is not None and getattr(event, "type", "") in PASSING:
                return
            now = {"time": clocks.wall(), "mono": clocks.mono(), "attempt": self.attempt, "seq": self._seq}
            self._owed.append(encode(event.model_copy(update=now)))
            self._seq += 1
            self._pay()

    def _pay(self) -> None:
        """Write the lines that are owed, as far as the disk takes them; a torn one is written again whole."""
        while self._owed:
            torn, self._torn = self._torn, True
            try:
                durable.append_line(self._fd, b"\n" + self._owed[0] if torn else self._owed[0])
            except OSError as error:
                if not durable.is_full(error):
                    self._seq -= len(self._owed)
                    self._owed.clear()
                    raise
                self.full = error
                return
            self._torn = False
            self._owed.popleft()
        self.full = None

    @property
    def lost(self) -> bool:
        """Return whether the disk failed to keep what was written: nobody knows how much of it is there."""
        return self._lost

    def sync(self) -> None:
        """Make what was written durable; raises OSError, and ever again once it failed.

        A second fsync would report success over pages that the kernel has dropped.
        """
        with self._lock:
            self._pay()
            if self.full is not None:
                raise self.full
            if self._lost:
                raise OSError(errno.EIO, "the log could not be made durable")
            self._lost = True
        durable.disk.fsync(self._fd)  # without the lock: others go on to write
        self._lost = False

    def close(self) -> None:
        """Close the file; the writer cannot be used afterwards."""
        durable.disk.close(self._fd)


def _ends_torn(path: Path) -> bool:
    with open_plain(path) as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _last_event(path: Path) -> Event | None:
    """Return the last readable event of the file, searched backwards in growing steps."""
    try:
        with open_plain(path) as file:
            size = file.seek(0, os.SEEK_END)
            reach = min(size, TAIL_BYTES)
            while reach:
                file.seek(size - reach)
                lines = file.read(reach).split(b"\n")  # a last one that lacks but its end is whole again soon
                for line in reversed(lines if reach == size else lines[1:]):
                    for event in _decoded([line]):
                        return event
                if reach == size:
                    return None
                reach = min(size, reach * 8)
    except OSError:
        return None
    return None
