"""Checkpoints: weights, optimizer and state, the manifest last, read back before older ones go.

A save has two halves: `snapshot` copies what is to be kept, between two steps; `write` brings the copy to the
disk and may do so in a thread while training goes on.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from engine import durable, faults
from engine.errors import EngineError
from engine.models.adapter_facts import CONFIG, WEIGHTS
from engine.runs import check
from engine.runtime import shards, tensor_files
from engine.runtime.methods import portable, whole
from engine.runtime.optimizer_state import optimizer_tensors, restore_optimizer

Writer = Callable[[Path], None]  # writes files into a folder


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    """Write one safetensors file of a checkpoint; raises OSError."""
    faults.point("ckpt.file")
    tensor_files.save(tensors, path)


def _write_text(text: str, path: Path) -> None:
    """Write another file of a checkpoint; raises OSError."""
    faults.point("ckpt.file")
    durable.write_file(path, text)


def config_text(config: Any) -> str:
    """Return adapter_config.json as peft writes it, with sets in a fixed order."""
    values = {k: sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items()}
    return json.dumps(values, indent=2, sort_keys=True)


def take_adapter(model: Any, live: Collection[int] = ()) -> Writer:
    """Take what is trained as it stands; what is returned writes it, from any thread.

    An adapter in peft's layout over the untouched base, and beside it what its method needs for a resume; a
    model that is trained whole as a model folder. `live` are the storages that training changes (see
    `storages`): what shares one is copied.
    """
    if isinstance(model, whole.Whole):
        return whole.take(model, own, live, whole.Writers(_write, _write_text))
    tensors, config, method = portable.saved_form(model)
    tensors, method = own(tensors, live), own(method, live)
    config.inference_mode = True
    text = config_text(config)

    def write(folder: Path) -> None:
        _write(tensors, folder / WEIGHTS)
        if method:
            _write(method, folder / portable.STATE)
        _write_text(text, folder / CONFIG)

    return write


def write_adapter(model: Any, folder: Path) -> None:
    """Write what is trained: peft's two files, which any peft program opens, or a model folder."""
    take_adapter(model)(folder)


def storages(model: nn.Module, optimizer: torch.optim.Optimizer) -> frozenset[int]:
    """Return the addresses of the memory that a step changes: trained values and the optimizer's state."""
    held = [p for p in model.parameters() if p.requires_grad] + list(model.buffers())
    held += [v for entry in optimizer.state.values() for v in entry.values() if isinstance(v, Tensor)]
    return frozenset(shards.part(t).untyped_storage().data_ptr() for t in held)


def own(tensors: dict[str, Tensor], live: Collection[int]) -> dict[str, Tensor]:
    """Return the tensors with those copied that share memory with `live`."""
    return {n: t.clone() if t.untyped_storage().data_ptr() in live else t for n, t in tensors.items()}


@dataclass(frozen=True)
class Snapshot:
    """A step as it is to be saved, independent of the training that goes on."""

    step: int
    write_adapter: Writer
    optimizer: dict[str, Tensor]
    state: dict[str, Any]
    bytes: int = 0  # about what it takes on the disk


def snapshot(
    step: int,
    model: Any,
    optimizer: torch.optim.Optimizer,
    names: list[str],
    state: dict[str, Any],
    *,
    copies: bool = True,
) -> Snapshot:
    """Take a step as it stands; without `copies` it has to be written before the next one is taken."""
    shards.gather_no_more(model)
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    live = storages(model, optimizer) if copies else frozenset()
    remembered = own(optimizer_tensors(optimizer, names), live)
    return Snapshot(
        step,
        take_adapter(model, live),
        remembered,
        {"step": step, **state},
        trained + sum(t.numel() * t.element_size() for t in remembered.values()),
    )


def write(run: Path, taken: Snapshot, before_manifest: Callable[[], None]) -> tuple[Path, int]:
    """Write `checkpoints/step-N` whole and return it with its size; a place that is taken is made anew.

    `before_manifest` is called when all other files are there: what the manifest vouches for comes first.
    Raises OSError as it comes; what was written then is not believed, and goes where it can.
    """
    folder = run / "checkpoints" / f"step-{taken.step:08d}"
    try:
        return folder, _write_whole(folder, taken, before_manifest)
    except OSError:
        with contextlib.suppress(OSError):
            _remove(folder)
        raise


def _write_whole(folder: Path, taken: Snapshot, before_manifest: Callable[[], None]) -> int:
    """Write a checkpoint's files and read them back; return their bytes."""
    _remove(folder)
    durable.make_folder(folder, inside=folder.parent.parent)
    with durable.noting():  # what is read back is compared with what was given to be written
        taken.write_adapter(folder)
        _write(taken.optimizer, folder / "optimizer.safetensors")
        faults.point("ckpt.file")
        durable.write_json(folder / "state.json", taken.state)
        durable.fsync_folder(folder)
        before_manifest()
        size = check.write_manifest(folder)
    problem = check.problem_of(folder)
    if problem:
        raise EngineError(
            f"The save of step {taken.step} cannot be read back: {problem}.",
            "Check the disk; the former save is sound.",
            "DISK-03",
        )
    return size


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return state.json of a checkpoint."""
    state: dict[str, Any] = json.loads((checkpoint / "state.json").read_bytes())
    return state


def load(
    checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None, names: list[str]
) -> None:
    """Put what a checkpoint holds, and its optimizer state when one is given, into the model."""
    if not shards.is_sharded(model):  # before it was spread over ranks, it was filled
        portable.restore(model, checkpoint)
    if optimizer is not None:
        restore_optimizer(optimizer, names, load_file(checkpoint / "optimizer.safetensors"))


def prune(run: Path, keep: int, best_step: int | None) -> None:
    """Remove the oldest checkpoints beyond `keep`; the best and the newest two whole ones always stay.

    The manifest goes first: a removal that is cut off leaves litter, never a checkpoint that looks whole.
    """
    folders = check.checkpoint_folders(run)
    whole = [folder for folder in folders if not check.problem_of(folder, whole=False)]
    kept = whole[-max(2, keep) :]
    for folder in folders:
        if kept and folder < kept[0] and check.step_of(folder) != best_step:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a checkpoint or result, its manifest first and durably; raises OSError."""
    manifest = folder / check.MANIFEST
    if manifest.exists():
        faults.point("prune.unlink")
        durable.remove_file(manifest)
        durable.fsync_folder(folder)
    durable.remove_tree(folder, "prune.unlink")


def publish(source: Path, run: Path, card: str) -> Path:
    """Make `adapter/`, or `model/` of a model trained whole, from a checkpoint and a card: all or nothing.

    It is read back before it is believed. Raises OSError; EngineError DISK-03 when it is not what was
    written, RUN-04 when the checkpoint is not what was saved.
    """
    problem = check.problem_of(source)
    if problem:
        raise EngineError(
            f"The save of step {check.step_of(source)} is damaged: {problem}.",
            "Resume goes on from an older one; the damaged one is kept in quarantine.",
            "RUN-04",
            file=str(source),
        )
    result = whole.FOLDER if (source / whole.FOLDER).is_dir() else "adapter"
    part, target = run / f"{result}.part", run / result
    durable.remove_tree(part)
    durable.make_folder(part, inside=run)
    inside = source / whole.FOLDER
    names = sorted(p.name for p in inside.iterdir()) if result == whole.FOLDER else [WEIGHTS, CONFIG]
    with durable.noting():
        for name in names:
            faults.point("publish.file")
            durable.copy_file((inside if result == whole.FOLDER else source) / name, part / name)
        faults.point("publish.file")
        durable.write_file(part / "README.md", card)
        check.write_manifest(part)
    _remove(target)
    durable.replace(part, target)
    durable.fsync_folder(run)
    problem = check.problem_of(target)
    if problem:
        raise EngineError(
            f"The result cannot be read back: {problem}.",
            "Check the disk, then resume; it is made again from the last save.",
            "DISK-03",
            file=str(target),
        )
    return target
