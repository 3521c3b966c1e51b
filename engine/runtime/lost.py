"""A device that is gone: unplugged, reset, or in a state from which its driver cannot bring it back.

Nothing that this process could do repairs that: a context of the driver is not mended from inside. The
attempt ends and the process with it; a new one goes on from the last save. Told by the error alone.
"""

from __future__ import annotations

from engine.events import Failed

WORDS = (
    "CUDA error",
    "CUDNN_STATUS_EXECUTION_FAILED",
    "CUBLAS_STATUS_EXECUTION_FAILED",
    "CUBLAS_STATUS_INTERNAL_ERROR",
    "HIP error",
    "device-side assert",
    "NVML_ERROR_GPU_IS_LOST",
    "GPU is lost",
    "unspecified launch failure",
)
CODE = "GPU-02"


def is_lost(error: BaseException) -> bool:
    """Return whether an error says that the device does not answer any more; a lack of memory does not."""
    text = str(error)
    if type(error).__name__ == "OutOfMemoryError" or "out of memory" in text:
        return False
    return type(error).__name__ == "AcceleratorError" or any(word in text for word in WORDS)


def failed_at(step: int, saved: int) -> Failed:
    """Return the closing words of an attempt whose device was lost at a step; `saved` is the last save's."""
    return Failed(
        code=CODE,
        message=f"The GPU stopped answering at step {step}.",
        hint="Restart the computer if it happens again; "
        + (f"resume from step {saved}." if saved else "nothing was saved yet, so start again."),
    )
