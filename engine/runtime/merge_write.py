"""Merged weights on their way to the disk: read in blocks, changed in float32, rounded once, written, summed.

A thread of its own writes each block and takes the file's SHA-256 while the next block is made. The tensors'
own sums are taken where they are made, so that both threads have as much to do.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from engine import durable
from engine.errors import EngineError
from engine.models.made import HEADER, Sums, crc, crc_text
from engine.runtime.merge_plan import FilePlan, Item

TORCH = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
BLOCK_VALUES = 1 << 19  # what is made of a block stays in the processor's cache
COPY_BYTES = 1 << 23
HUGE = 1e30  # far beyond the sum of any block of weights
WAITING = 3  # blocks that are made and not yet written
Progress = Callable[[str, int, int], None]


class SummedFile:
    """A new file whose blocks a thread writes; what the disk refuses is raised by the next call."""

    def __init__(self, path: Path) -> None:
        self._fd = durable.disk.open(path, durable.WRITE, 0o644)  # the thread closes it
        self._blocks: queue.Queue[Any] = queue.Queue(maxsize=WAITING)
        self._digest = hashlib.sha256()
        self._sums: dict[str, int] = {}
        self._size = 0
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._work, name=f"write {path.name}", daemon=True)
        self._thread.start()

    def write(self, data: Any, name: str = "") -> None:
        """Give a block of a tensor, or of the header, to the thread; it must not change any more.

        Raises OSError.
        """
        if self._error is not None:
            raise self._error
        view = memoryview(data).cast("B")
        if name:
            self._sums[name] = crc(view, self._sums.get(name, 0))
        self._blocks.put(view)

    def end(self) -> None:
        """Say that nothing more will come; the thread flushes the file to the disk and closes it."""
        self._blocks.put(None)

    def abandon(self) -> None:
        """Let go of a file that will not be used."""
        self.end()
        self._thread.join()

    def sums(self) -> Sums:
        """Wait until the file is on the disk and return its sums; raises OSError."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        tensors = {name: crc_text(value) for name, value in self._sums.items()}
        return Sums(self._digest.hexdigest(), self._size, tensors)

    def _work(self) -> None:
        try:
            while (block := self._blocks.get()) is not None:
                if self._error is None:  # what follows an error is dropped, so that nobody waits
                    try:
                        self._put(block)
                    except OSError as error:
                        self._error = error
            if self._error is None:
                durable.disk.fsync(self._fd)
        except OSError as error:
            self._error = error
        finally:
            durable.disk.close(self._fd)

    def _put(self, data: memoryview) -> None:
        durable.write_all(self._fd, data)
        self._digest.update(data)
        self._size += len(data)


def write_weights(plans: Sequence[FilePlan], folder: Path, tell: Progress) -> dict[str, Sums]:
    """Write all files of a merged model into a folder and return their sums.

    Raises OSError as the disk gives it, EngineError MODEL-05 for values beyond the type.
    """
    total, done = sum(len(plan.items) for plan in plans), 0
    written: dict[str, SummedFile] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))  # one core writes and takes the sums
    try:
        for plan in plans:
            file = written[plan.source.name] = SummedFile(folder / plan.source.name)
            with open(plan.source, "rb", buffering=0) as source:
                file.write(len(plan.raw).to_bytes(8, "little"))
                file.write(plan.raw, HEADER)
                for item in plan.items:
                    _write_item(source, file, item)
                    done += 1
                    tell("merge", done, total)
            file.end()
            os.chmod(folder / plan.source.name, 0o644)
    except BaseException:
        for file in written.values():
            file.abandon()
        raise
    finally:
        torch.set_num_threads(threads)
    return {name: file.sums() for name, file in written.items()}


def _write_item(source: BinaryIO, out: SummedFile, item: Item) -> None:
    if item.change is None and item.dtype == item.entry.dtype:
        _copy(source, out, item)
        return
    rows = item.entry.shape[0] if item.entry.shape else 1
    width = max(1, item.entry.numel // max(1, rows))
    step = rows if item.change is not None and item.change.all_rows else max(1, BLOCK_VALUES // width)
    size = (item.entry.end - item.entry.begin) // max(1, item.entry.numel)
    source.seek(item.entry.begin)
    block = bytearray(min(rows, step) * width * size)  # read into again and again: what is written is a copy
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        length = (stop - start) * width * size
        _read(source, memoryview(block)[:length])
        weight = torch.frombuffer(block, dtype=TORCH[item.entry.dtype], count=length // size)
        if item.change is not None:
            changed = item.change.rows(weight.view(stop - start, width).float(), start)
            result = changed.to(TORCH[item.dtype])
            _refuse_endless(item, changed, result)
        else:
            result = weight.to(TORCH[item.dtype])
        out.write(result.contiguous().view(torch.uint8).numpy().data, item.name)


def _refuse_endless(item: Item, changed: Tensor, result: Tensor) -> None:
    """A value beyond what the type holds becomes infinite: the model would answer with nothing but noise."""
    # One endless value makes the sum endless, and that is taken much faster than each value is looked at. One
    # that only bfloat16 cannot hold makes it as large.
    total = result.sum(dtype=torch.float32) if item.dtype == "F16" else changed.sum()
    if not abs(float(total)) < HUGE and not bool(torch.isfinite(result).all()):
        raise EngineError(
            f"{item.name} with the adapter is beyond what {NAMES.get(item.dtype, item.dtype)} holds.",
            "Merge with another type (--dtype fp32).",
            "MODEL-05",
        )


def _copy(source: BinaryIO, out: SummedFile, item: Item) -> None:
    """Copy a tensor's bytes as they are."""
    left = item.entry.end - item.entry.begin
    source.seek(item.entry.begin)
    while left:
        block = bytearray(min(left, COPY_BYTES))
        _read(source, memoryview(block))
        out.write(block, item.name)
        left -= len(block)


def _read(source: BinaryIO, view: memoryview) -> None:
    """Fill a piece of memory with the next bytes of a file; raises OSError when it ends before."""
    while view:
        got = source.readinto(view)  # type: ignore[attr-defined]
        if not got:
            raise OSError(5, "the file became shorter while it was read")
        view = view[got:]
