"""An audit hook that writes down what a process must not do (S1-S4): connect, unpickle, run what it read.

https://docs.python.org/3/library/audit_events.html. A hook cannot be taken away again; it is installed once.
"""

from __future__ import annotations

import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = tuple(str(ROOT / name) for name in ("app", "engine", "tunesmith.py"))
TESTS = str(ROOT / "tests")
LIBRARIES = tuple(
    {
        *(str(Path(p).resolve()) for p in sysconfig.get_paths().values()),
        sys.prefix,
        sys.base_prefix,
        sys.exec_prefix,
    }
)
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/run", "/var/lib")
STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "pty.spawn")
NETWORK = ("socket.bind", "socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
# Who of the product may connect to a socket of this computer (`unix:`), and why. Nobody may listen on one.
LOCAL_DOORS = {str(ROOT / "app/workers/notice_bus.py"): "the session bus of this person, to show a notice"}
WRITING = 0o3  # O_WRONLY | O_RDWR


class Audit:
    """Collects offences; `reads` and `writes` are the folders that files may be opened in."""

    def __init__(self, reads: Iterable[str | Path] = (), writes: Iterable[str | Path] = ()) -> None:
        self.writes = tuple(str(Path(p).resolve()) for p in writes)
        self.reads = (*(str(Path(p).resolve()) for p in reads), *self.writes, str(ROOT), *LIBRARIES, *SYSTEM)
        self.offences: list[str] = []
        self.heard = 0
        self._inside = threading.local()
        self._handlers: dict[str, Callable[[str, Any], None]] = {
            "pickle.find_class": self._never,
            "marshal.loads": self._by_product,
            "subprocess.Popen": self._start,
            "exec": self._exec,
            "import": self._import,
            "open": self._open,
            **dict.fromkeys(STARTS, self._by_product),
            **dict.fromkeys(NETWORK, self._never),
        }

    def install(self) -> Audit:
        """Begin to listen; it cannot be ended."""
        sys.addaudithook(self._hear)
        return self

    def _hear(self, event: str, arguments: Any) -> None:
        handler = self._handlers.get(event)
        if handler is None or getattr(self._inside, "busy", False):
            return
        self._inside.busy = True
        try:
            self.heard += 1
            handler(event, arguments)
        finally:
            self._inside.busy = False

    def _tell(self, event: str, what: object, frames: Sequence[FrameType]) -> None:
        at = [f"{f.f_code.co_filename}:{f.f_lineno}" for f in frames][:6]
        self.offences.append(f"{event} {what!r:.200} by {' < '.join(at)}")

    def _never(self, event: str, arguments: Any) -> None:
        """Anybody but a test itself: the product, or a library in a thread of its own."""
        frames = stack()
        if is_product(frames) or not any(f.f_code.co_filename.startswith(TESTS) for f in frames):
            allowed = _is_local(event, arguments) and (not is_product(frames) or _is_a_door(event, frames))
            if not allowed and not _of_a_test_server(frames):
                self._tell(event, arguments, frames)

    def _by_product(self, event: str, arguments: Any) -> None:
        frames = stack()
        if frames and frames[0].f_code.co_filename.startswith(PRODUCT):
            self._tell(event, arguments, frames)

    def _start(self, event: str, arguments: Any) -> None:
        frames, command = stack(), [str(word) for word in arguments[1] or ()]
        searches = any(
            f.f_code.co_filename.endswith("ctypes/util.py") for f in frames
        )  # ldconfig -p, no input
        if (
            is_product(frames)
            and not searches
            and not (command[:1] == [sys.executable] and command[1:2] == ["-I"])
        ):
            self._tell(event, command, frames)

    def _exec(self, event: str, arguments: Any) -> None:
        code = arguments[0]
        name = code.co_filename if isinstance(code, CodeType) else "<text>"
        if name.startswith("<"):
            frames = stack()
            # Libraries make classes and templates this way; that we do not is looked for in our own frames.
            if frames and frames[0].f_code.co_filename.startswith(PRODUCT):
                self._tell(event, name, frames)
        elif not str(Path(name).resolve()).startswith((str(ROOT), *LIBRARIES)):
            self._tell(event, name, stack())

    def _import(self, event: str, arguments: Any) -> None:
        file = arguments[1]
        if file and not str(Path(file).resolve()).startswith((str(ROOT), *LIBRARIES, *SYSTEM)):
            self._tell(event, arguments[:2], stack())

    def _open(self, event: str, arguments: Any) -> None:
        path, mode, flags = (*arguments, None, None)[:3]
        if not isinstance(path, str | bytes):
            return  # a descriptor
        place = str(
            Path(path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path).absolute()
        )
        writes = bool((flags or 0) & WRITING) or bool(set(str(mode or "r")) & set("wax+"))
        allowed = (*self.writes, "/dev", "/proc") if writes else self.reads
        if "__pycache__" in place or _below(place, allowed):
            real = str(Path(place).resolve())
            if "__pycache__" in place or _below(real, allowed):
                return
        frames = stack()
        if is_product(frames):
            self._tell(event, (place, mode, "to write" if writes else "to read"), frames)


def _below(path: str, places: Iterable[str]) -> bool:
    return any(path == place or path.startswith(place + "/") for place in places)


def stack() -> list[FrameType]:
    """Return the frames of the caller's thread, the innermost outside this file first."""
    frames, frame = [], sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename != __file__:
            frames.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return frames


def is_product(frames: Sequence[FrameType]) -> bool:
    """Say whether the product's own code is on the way to this call."""
    return any(f.f_code.co_filename.startswith(PRODUCT) for f in frames)


def _is_local(event: str, arguments: Any) -> bool:
    """A socket of this computer's own (a path, or two ends of a pair) is no network."""
    if not event.startswith("socket.") or len(arguments) < 2:
        return False
    return isinstance(arguments[1], str | bytes) and event in (
        "socket.bind",
        "socket.connect",
        "socket.sendto",
    )


def _is_a_door(event: str, frames: Sequence[FrameType]) -> bool:
    """Say whether a connection of the product is one of those it may make."""
    return event == "socket.connect" and frames[0].f_code.co_filename in LOCAL_DOORS


def _of_a_test_server(frames: Sequence[FrameType]) -> bool:
    """A test's own server answers in a thread that the standard library began."""
    return not is_product(frames) and any(f.f_code.co_filename.endswith("socketserver.py") for f in frames)


def for_tests() -> Audit:
    """Return an audit for a process of tests: temporary folders may be read and written."""
    places = (tempfile.gettempdir(), ROOT / ".hypothesis", ROOT / ".pytest_cache")
    return Audit(reads=(Path.home() / ".cache" / "huggingface" / "token",), writes=places)
