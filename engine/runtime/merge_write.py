"""Merged weights on their way to the disk: read in blocks, changed in float32, rounded once, written, summed.

A thread of its own writes each block and takes the file's sums while the next block is made.
"""

from __future__ import annotations

import hashlib
import math
import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from engine.errors import EngineError
from engine.models.made import HEADER, Sums, crc, crc_text
from engine.models.safetensors_header import TensorEntry
from engine.runtime.merge_plan import FilePlan, Item

TORCH = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
BLOCK_VALUES = 1 << 19  # what is made of a block stays in the processor's cache
COPY_BYTES = 1 << 23
WAITING = 3  # blocks that are made and not yet written
Progress = Callable[[str, int, int], None]


class SummedFile:
    """A new file whose blocks a thread writes; what the disk refuses is raised by the next call.

    `part(name)` says to which tensor the bytes belong that are written from now on.
    """

    def __init__(self, path: Path) -> None:
        self._out = open(path, "wb", buffering=0)  # noqa: SIM115  the thread closes it
        self._blocks: queue.Queue[Any] = queue.Queue(maxsize=WAITING)
        self._digest = hashlib.sha256()
        self._sums: dict[str, int] = {}
        self._size = 0
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._work, name=f"write {path.name}", daemon=True)
        self._thread.start()

    def part(self, name: str) -> None:
        """Begin a tensor, or the header."""
        self._blocks.put(name)

    def write(self, data: Any) -> None:
        """Give a block to the thread; it must not change any more. Raises OSError."""
        if self._error is not None:
            raise self._error
        self._blocks.put(data)

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
        name = ""
        with self._out as out:
            while (block := self._blocks.get()) is not None:
                if isinstance(block, str):
                    name = block
                    self._sums.setdefault(name, 0)
                elif self._error is None:  # what follows an error is dropped, so that nobody waits
                    try:
                        self._put(out, memoryview(block).cast("B"), name)
                    except OSError as error:
                        self._error = error
            if self._error is None:
                try:
                    os.fsync(out.fileno())
                except OSError as error:
                    self._error = error

    def _put(self, out: Any, data: memoryview, name: str) -> None:
        left = data
        while left:
            left = left[out.write(left) :]
        self._digest.update(data)
        self._size += len(data)
        if name:
            self._sums[name] = crc(data, self._sums[name])


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
                file.part(HEADER)
                file.write(plan.raw)
                for item in plan.items:
                    file.part(item.name)
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
        _copy(source, out, item.entry)
        return
    rows = item.entry.shape[0] if item.entry.shape else 1
    width = max(1, item.entry.numel // max(1, rows))
    step = rows if item.change is not None and item.change.all_rows else max(1, BLOCK_VALUES // width)
    size = (item.entry.end - item.entry.begin) // max(1, item.entry.numel)
    source.seek(item.entry.begin)
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        block = _read(source, (stop - start) * width * size)
        weight = torch.frombuffer(block, dtype=TORCH[item.entry.dtype])
        if item.change is not None:
            changed = item.change.rows(weight.view(stop - start, width).float(), start)
            result = changed.to(TORCH[item.dtype])
            _refuse_endless(item, changed, result)
        else:
            result = weight.to(TORCH[item.dtype])
        out.write(result.contiguous().view(torch.uint8).numpy().data)


def _refuse_endless(item: Item, changed: Tensor, result: Tensor) -> None:
    """A value beyond what the type holds becomes infinite: the model would answer with nothing but noise."""
    # One endless value makes the sum endless, which is taken much faster than each value is looked at.
    total = result.sum(dtype=torch.float32) if item.dtype == "F16" else changed.sum()
    if not math.isfinite(float(total)) and not bool(torch.isfinite(result).all()):
        raise EngineError(
            f"{item.name} with the adapter is beyond what {NAMES.get(item.dtype, item.dtype)} holds.",
            "Merge with another type (--dtype fp32).",
            "MODEL-05",
        )


def _copy(source: BinaryIO, out: SummedFile, entry: TensorEntry) -> None:
    """Copy a tensor's bytes as they are."""
    left = entry.end - entry.begin
    source.seek(entry.begin)
    while left:
        block = _read(source, min(left, COPY_BYTES))
        out.write(block)
        left -= len(block)


def _read(source: BinaryIO, size: int) -> bytearray:
    """Return the next bytes of a file; raises OSError when it ends before."""
    block = bytearray(size)
    view, at = memoryview(block), 0
    while at < size:
        got = source.readinto(view[at:])  # type: ignore[attr-defined]
        if not got:
            raise OSError(5, "the file became shorter while it was read")
        at += got
    return block
