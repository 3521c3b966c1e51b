"""A lack of memory as torch, its allocators, the loader of libraries and the system tell it; no torch."""

from __future__ import annotations

import errno

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
ON_GPU = "OutOfMemoryError"  # torch's


def is_lack(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on a GPU or in the computer."""
    if isinstance(error, MemoryError) or type(error).__name__ == ON_GPU:
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    return any(word in str(error) for word in WORDS)


def failed(error: BaseException) -> Failed:
    """Return the closing words of a job that had not enough memory where nothing could be made smaller."""
    on_gpu = type(error).__name__ == ON_GPU
    return Failed(
        code="GPU-01",
        message="The GPU ran out of memory." if on_gpu else "Memory ran out.",
        hint="What was saved is sound. Free some memory and resume, or start anew with load_in_4bit, a "
        "smaller model or a shorter max_length.",
    )
