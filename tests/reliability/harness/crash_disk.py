"""A disk that notes every call, and the folders that a power cut could leave of what was called.

`Recorder` stands in for `durable.disk`: it passes each call on and notes it. `images` then rebuilds what may
lie on the disk when the power goes after the first so many calls. What an fsync returned for is there. Of the
rest each change of a name may be lost or kept, in any combination, and each write may be lost, kept, torn or
leave zeros in some sectors, as POSIX and the file systems of today allow. A rename is one change: it is lost
or kept as a whole, as all journaling file systems have it.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.durable import Disk

SECTOR_BYTES = 512
ROOT = 0


@dataclass(frozen=True)
class Names:
    """One change of names: (folder, name, node or None where it goes), all of them or none."""

    changes: tuple[tuple[int, str, int | None], ...]


@dataclass(frozen=True)
class Write:
    """Bytes written at a place of a file; `data` None cuts the file to `offset` bytes."""

    node: int
    offset: int
    data: bytes | None


@dataclass(frozen=True)
class Sync:
    """An fsync of a file or of a folder that returned."""

    node: int


@dataclass(frozen=True)
class Mark:
    """Something the program had been promised when it got here."""

    label: str


Call = Names | Write | Sync | Mark


@dataclass
class Recorder(Disk):
    """Passes calls on to the real disk, syncs left out, and notes those below `root`."""

    root: Path
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._next = ROOT + 1
        self._folders: dict[int, dict[str, int]] = {ROOT: {}}
        self._nodes: dict[int, int] = {}  # inode of the real disk -> node
        self._open: dict[int, tuple[int, bool, int]] = {}  # descriptor -> node, appends, position
        self._sizes: dict[int, int] = {}

    def mark(self, label: str) -> None:
        """Note that something was promised here."""
        self.calls.append(Mark(label))

    # -- where things are --
    def _place(self, path: Path) -> tuple[int, str]:
        """Return (folder, name) of a path below the root."""
        node, parts = ROOT, path.relative_to(self.root).parts
        for part in parts[:-1]:
            node = self._folders[node][part]
        return node, parts[-1]

    def _node(self, path: Path) -> int:
        if path == self.root:
            return ROOT
        folder, name = self._place(path)
        return self._folders[folder][name]

    def _new(self) -> int:
        self._next += 1
        return self._next - 1

    def _name(self, *changes: tuple[int, str, int | None]) -> None:
        for folder, name, node in changes:
            if node is None:
                self._folders[folder].pop(name, None)
            else:
                self._folders[folder][name] = node
        self.calls.append(Names(changes))

    # -- the calls --
    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open a file; a new one gets a name, a cut one loses its bytes."""
        folder, name = self._place(path)
        fd = super().open(path, flags, mode)
        node = self._folders[folder].get(name)
        if node is None:
            node = self._new()
            self._sizes[node] = 0
            self._name((folder, name, node))
        elif flags & os.O_TRUNC:
            self._sizes[node] = 0
            self.calls.append(Write(node, 0, None))
        self._nodes[os.fstat(fd).st_ino] = node
        self._open[fd] = (node, bool(flags & os.O_APPEND), 0)
        return fd

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write, and note what was taken."""
        taken = super().write(fd, data)
        node, appends, position = self._open[fd]
        offset = self._sizes[node] if appends else position
        self.calls.append(Write(node, offset, bytes(data[:taken])))
        self._sizes[node] = max(self._sizes[node], offset + taken)
        self._open[fd] = (node, appends, offset + taken)
        return taken

    def fsync(self, fd: int) -> None:
        """Note that a file's bytes are on the disk."""
        self.calls.append(Sync(self._nodes[os.fstat(fd).st_ino]))

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        self._open.pop(fd, None)
        super().close(fd)

    def replace(self, source: Path, target: Path) -> None:
        """Give a file or folder another name."""
        super().replace(source, target)
        node = self._node(source)
        self._name((*self._place(source), None), (*self._place(target), node))

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name."""
        super().link(source, target)
        self._name((*self._place(target), self._node(source)))

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        super().unlink(path)
        self._name((*self._place(path), None))

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        """Make a folder."""
        super().mkdir(path, mode)
        node = self._new()
        self._folders[node] = {}
        self._name((*self._place(path), node))

    def rmdir(self, path: Path) -> None:
        """Remove a folder."""
        super().rmdir(path)
        self._name((*self._place(path), None))

    def fsync_folder(self, folder: Path) -> None:
        """Note that the names in a folder are on the disk."""
        self.calls.append(Sync(self._node(folder)))

    def folders(self) -> frozenset[int]:
        """Return every node that is a folder."""
        return frozenset(self._folders)


class Unsynced(Disk):
    """The real disk without its waits: for what only has to be read back by the same computer."""

    def fsync(self, fd: int) -> None:
        """Wait for nothing."""

    def fsync_folder(self, folder: Path) -> None:
        """Wait for nothing."""


@dataclass(frozen=True)
class Image:
    """What lies on the disk after a power cut behind the first `after` calls: folders and files by node."""

    after: int
    folders: dict[int, dict[str, int]]
    files: dict[int, bytes]
    promised: tuple[str, ...]

    def digest(self) -> str:
        """Return a digest of what can be reached from the root."""
        told = hashlib.sha256()
        for path, node in self._walk(ROOT, ""):
            told.update(path.encode() + b"\0" + self.files.get(node, b"/") + b"\0")
        return told.hexdigest()

    def build(self, place: Path) -> Path:
        """Write it under `place`, which is made."""
        place.mkdir()
        for path, node in self._walk(ROOT, ""):
            if node in self.folders:
                (place / path).mkdir()
            else:
                (place / path).write_bytes(self.files.get(node, b""))
        return place

    def _walk(self, folder: int, above: str) -> Iterator[tuple[str, int]]:
        for name, node in sorted(self.folders.get(folder, {}).items()):
            yield f"{above}{name}", node
            if node in self.folders:
                yield from self._walk(node, f"{above}{name}/")


def image(recorder: Recorder, after: int, draw: random.Random) -> Image:
    """Return one folder that may be left when the power goes after so many calls."""
    calls = recorder.calls[:after]
    synced: dict[int, int] = {}  # node -> the last call before which all of it is on the disk
    for number, call in enumerate(calls):
        if isinstance(call, Sync):
            synced[call.node] = number
    kept_names, kept_bytes = _chance(draw), _chance(draw)
    folders: dict[int, dict[str, int]] = {node: {} for node in recorder.folders()}
    files: dict[int, bytearray] = {}
    for number, call in enumerate(calls):
        if isinstance(call, Names):
            safe = any(number < synced.get(folder, -1) for folder, _, _ in call.changes)
            if safe or draw.random() < kept_names:
                _rename(folders, call)
        elif isinstance(call, Write):
            content = files.setdefault(call.node, bytearray())
            if number < synced.get(call.node, -1):
                _write(content, call)
            else:
                _perhaps(content, call, kept_bytes, draw)
    promised = tuple(call.label for call in calls if isinstance(call, Mark))
    return Image(after, folders, {node: bytes(data) for node, data in files.items()}, promised)


def images(recorder: Recorder, count: int, seed: int = 0) -> Iterator[Image]:
    """Yield `count` different images, spread evenly over the calls; fewer where there are no more."""
    draw, seen = random.Random(seed), set()
    total = len(recorder.calls)
    for number in range(count * 8):
        after = 1 + (number * total // max(1, count)) % total
        made = image(recorder, after, draw)
        if (digest := made.digest()) not in seen:
            seen.add(digest)
            yield made
            if len(seen) == count:
                return


def _chance(draw: random.Random) -> float:
    """Return how likely each change is kept: none at all and every one are drawn as often as a mixture."""
    return draw.choice((0.0, 1.0, draw.random(), 0.9, 0.1))


def _rename(folders: dict[int, dict[str, int]], call: Names) -> None:
    for folder, name, node in call.changes:
        if node is None:
            folders[folder].pop(name, None)
        else:
            folders[folder][name] = node


def _write(content: bytearray, call: Write) -> None:
    if call.data is None:
        del content[call.offset :]
        return
    if len(content) < call.offset:
        content.extend(bytes(call.offset - len(content)))
    content[call.offset : call.offset + len(call.data)] = call.data


def _perhaps(content: bytearray, call: Write, kept: float, draw: random.Random) -> None:
    """Let an unsynced write happen, not happen, be torn, or leave zeros where its bytes should be."""
    if draw.random() >= kept:
        return
    if call.data is None or draw.random() < 0.6:
        _write(content, call)
        return
    sectors = [call.data[at : at + SECTOR_BYTES] for at in range(0, len(call.data), SECTOR_BYTES)]
    if draw.random() < 0.5:
        cut = draw.randrange(len(call.data) + 1)
        _write(content, Write(call.node, call.offset, call.data[:cut]))
        return
    zeroed = b"".join(bytes(len(s)) if draw.random() < 0.5 else s for s in sectors)
    _write(content, Write(call.node, call.offset, zeroed))
