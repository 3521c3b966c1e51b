"""A lack of memory as torch, its allocators, the loader of libraries and the system tell it; no torch."""

from __future__ import annotations

import errno
import sys

from engine.errors import EngineError
from engine.events import Failed

# A CPU's allocator and some libraries of a GPU have no error class of their own.
WORDS = (
    "can't allocate memory",
    "Cannot allocate memory",
    "failed to map segment",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
)
NO_THREAD = "can't start new thread"
ON_GPU = "OutOfMemoryError"  # torch's
# Of addresses: with less, libraries that are being loaded fail in any way they like, or wait for ever.
FEWEST_BYTES = 1 << 30


def is_lack(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on a GPU or in the computer."""
    if isinstance(error, MemoryError) or type(error).__name__ == ON_GPU:
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    if NO_THREAD in str(error):  # for want of room for its stack, or of a number for it
        return _limit_bytes() is not None
    return any(word in str(error) for word in WORDS)


def _limit_bytes() -> int | None:
    """Return the bytes of addresses that a limit leaves this process, None without one."""
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if most == resource.RLIM_INFINITY else most


def refuse_too_little() -> None:
    """Raise EngineError GPU-01 where a limit leaves this process too little to load its libraries."""
    most = _limit_bytes()
    if most is None or most >= FEWEST_BYTES:
        return
    needed, found = f"{FEWEST_BYTES >> 20:,} MiB", f"{most >> 20:,} MiB"
    raise EngineError(
        f"Memory is too small: {needed} needed to load the libraries, and a limit leaves {found}.",
        "Raise the limit of this session (ulimit -v), then start again.",
        "GPU-01",
    )


def failed(error: BaseException) -> Failed:
    """Return the closing words of a job that had not enough memory where nothing could be made smaller."""
    on_gpu = type(error).__name__ == ON_GPU
    return Failed(
        code="GPU-01",
        message="The GPU ran out of memory." if on_gpu else "Memory ran out.",
        hint="What was saved is sound. Free some memory and resume, or start anew with load_in_4bit, a "
        "smaller model or a shorter max_length.",
    )
