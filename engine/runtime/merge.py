"""Merge an adapter into its base, one tensor at a time, so that a model of any size needs little memory.

    for each safetensors file of the base, in the order of its bytes:
        a tensor without adapter  -> copied as it is
        a tensor with adapter     -> read in blocks, changed in float32 (changes.py), rounded once, written
    tokenizer, template, generation settings -> copied; of config.json only the dtype changes
    the whole folder -> renamed into place, loaded again and compared with base + adapter (fidelity.py)

The sum is that of peft's `merge_and_unload`; huggingface/peft src/peft/tuners/lora
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from engine import durable, paths
from engine.advice.elsewhere import Merging, Part, into_quantised, not_summable
from engine.errors import EngineError, from_os_error
from engine.models.adapter_facts import read_adapter_facts
from engine.models.facts import ModelFacts
from engine.models.safetensors_header import TensorEntry
from engine.models.weight_files import INDEX, read_headers, read_json
from engine.runtime.attach import read_tensors
from engine.runtime.changes import changes_of
from engine.runtime.fidelity import compare
from engine.runtime.fitted import fingerprint_base
from engine.runtime.merge_plan import FilePlan, Item, plan_files
from engine.runtime.target import Target, resolve_target

DTYPES = {
    "fp32": "F32",
    "bf16": "BF16",
    "fp16": "F16",
    "float32": "F32",
    "bfloat16": "BF16",
    "float16": "F16",
}
TORCH = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}
NAMES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
BLOCK_VALUES = 1 << 22
COPIED = frozenset(
    "generation_config.json tokenizer.json tokenizer_config.json tokenizer.model special_tokens_map.json "
    "added_tokens.json vocab.json merges.txt chat_template.jinja chat_template.json "
    "LICENSE LICENSE.txt".split()
)
Progress = Callable[[str, int, int], None]


def merge_adapter(
    adapters: Sequence[Path],
    out: Path,
    base: str | None = None,
    weights: Sequence[float] | None = None,
    method: str = "linear",
    dtype: str | None = None,
    progress: Progress | None = None,
    check: bool = True,
) -> dict[str, Any]:
    """Write `out` as a plain model folder: {"out", "bytes", "seconds", "dtype", "fidelity": {...}}.

    `dtype` is fp32, bf16 or fp16; without it the base's own. `check=False` leaves the comparison out.
    Raises EngineError: MODEL-07 (does not fit), MODEL-05 (not supported), DISK-* (cannot be written).
    """
    began = time.monotonic()
    _refuse_later(adapters, weights, method)
    target = resolve_target(str(adapters[0]), base)
    if target.adapter is None:
        raise EngineError(
            f"{target.name} is a whole model: there is nothing to merge.",
            "Use its folder as it is.",
            "MODEL-05",
            file=str(target.base.path),
        )
    _refuse_quantized(target.base)
    tell = progress or (lambda stage, done, total: None)
    changes = changes_of(target, read_tensors(target.adapter))
    plans = plan_files(read_headers(target.base.path), target, changes, DTYPES[dtype] if dtype else None)
    written = _into_folder(target, plans, Path(out).expanduser(), tell)
    merged_seconds = time.monotonic() - began
    result: dict[str, Any] = {
        "out": str(Path(out).expanduser().resolve()),
        "bytes": written,
        "seconds": merged_seconds,
        "dtype": NAMES.get(plans[0].dtype, plans[0].dtype),
        "base": str(target.base.path),
        "adapter": str(target.adapter.path),
        "method": method,
    }
    if check:
        result["fidelity"] = compare(target, Path(result["out"]), tell)
        result["check_seconds"] = time.monotonic() - began - merged_seconds
    return result


def _refuse_later(adapters: Sequence[Path], weights: Sequence[float] | None, method: str) -> None:
    """Say by name what a later version brings, before anything is read."""
    what = ""
    _refuse_unlike(adapters, method)
    if len(adapters) != 1:
        what = f"Merging {len(adapters)} adapters"
    elif method != "linear":
        what = f"The merge method {method}"
    elif weights is not None and list(weights) != [1.0]:
        what = "A weight other than 1"
    if what:
        raise EngineError(
            f"{what} is not available in this version yet.",
            "Merge one adapter with the method linear.",
            "REC-01",
        )


def _refuse_unlike(adapters: Sequence[Path], method: str) -> None:
    """Refuse adapters that cannot be summed as they are (rule R45)."""
    if len(adapters) < 2:
        return
    facts = [read_adapter_facts(path) for path in adapters]
    parts = [Part(each.name, each.base, each.method, each.r) for each in facts]
    found = not_summable(Merging(None, parts, method))
    if found is not None:
        words, _, way_out = found.message.partition(". ")
        raise EngineError(f"{words}.", way_out, "MODEL-05", file=str(adapters[0]))


def _refuse_quantized(base: ModelFacts) -> None:
    """Refuse a quantised base (rule R44)."""
    found = into_quantised(Merging(base.quantization, ()))
    if found is not None:
        raise EngineError(
            f"{base.name} is quantised ({base.quantization}); adapters are never merged into it.",
            f"{found.message} Name it with --base.",
            "MODEL-05",
            file=str(base.path),
        )


def _into_folder(target: Target, plans: list[FilePlan], out: Path, tell: Progress) -> int:
    """Write everything beside `out` and rename it; nothing half made is ever seen under its name."""
    _refuse_taken(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _refuse_full(out.parent, sum(plan.bytes for plan in plans))
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            written = _write_weights(plans, scratch, tell)
            _write_rest(target, plans, scratch)
            durable.fsync_folder(scratch)
            if out.is_dir():
                out.rmdir()
            os.rename(scratch, out)
            os.chmod(out, 0o755)
            durable.fsync_folder(out.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise from_os_error(error, str(out)) from error
    return written


def _refuse_taken(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EngineError(
            f"{paths.show_name(str(out), 200)} exists already.",
            "Choose another name; an existing model is never overwritten.",
            "DISK-02",
            file=str(out),
        )


def _refuse_full(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + (64 << 20) > free:
        raise EngineError(
            f"{needed / 1e9:.1f} GB needed in {paths.show_name(str(folder), 200)}, {free / 1e9:.1f} GB free.",
            "Free some space, or choose another folder.",
            "DISK-01",
            file=str(folder),
        )


def _write_weights(plans: list[FilePlan], folder: Path, tell: Progress) -> int:
    total = sum(len(plan.items) for plan in plans)
    done, written = 0, 0
    for plan in plans:
        with open(plan.source, "rb") as source, open(folder / plan.source.name, "wb") as out:
            out.write(len(plan.raw).to_bytes(8, "little"))
            out.write(plan.raw)
            for item in plan.items:
                _write_item(source, out, item)
                done += 1
                tell("merge", done, total)
            out.flush()
            os.fsync(out.fileno())
            written += out.tell()
        os.chmod(folder / plan.source.name, 0o644)
    return written


def _write_item(source: BinaryIO, out: BinaryIO, item: Item) -> None:
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
        block = bytearray((stop - start) * width * size)
        if source.readinto(block) != len(block):  # type: ignore[attr-defined]
            raise OSError(5, "the file became shorter while it was read")
        weight = torch.frombuffer(block, dtype=TORCH[item.entry.dtype])
        if item.change is not None:
            changed = item.change.rows(weight.view(stop - start, width).float(), start)
            result = changed.to(TORCH[item.dtype])
            _refuse_endless(item, result)
        else:
            result = weight.to(TORCH[item.dtype])
        out.write(result.contiguous().view(torch.uint8).numpy().data)


def _refuse_endless(item: Item, result: Tensor) -> None:
    """A sum beyond what the type holds becomes infinite: the model would answer with nothing but noise."""
    if not bool(torch.isfinite(result).all()):
        raise EngineError(
            f"{item.name} with the adapter is beyond what {NAMES.get(item.dtype, item.dtype)} holds.",
            "Merge with another type (--dtype fp32).",
            "MODEL-05",
        )


def _copy(source: BinaryIO, out: BinaryIO, entry: TensorEntry) -> None:
    """Copy a tensor's bytes; the kernel does it without a detour through this process where it can."""
    left = entry.end - entry.begin
    source.seek(entry.begin)
    while left:
        block = source.read(min(left, 1 << 24))
        if not block:
            raise OSError(5, "the file became shorter while it was read")
        out.write(block)
        left -= len(block)


def _write_rest(target: Target, plans: list[FilePlan], folder: Path) -> None:
    """Copy what belongs to the model beside its weights; program files and foreign weights stay behind."""
    base = target.base.path
    for path in sorted(base.iterdir()):
        if path.name in COPIED and path.is_file():
            shutil.copyfile(path, folder / path.name)
            durable.fsync_file(folder / path.name)
    config = read_json(base / "config.json")
    for name in ("auto_map", "quantization_config", "_name_or_path"):
        config.pop(name, None)
    if plans[0].changed_dtype:
        config.pop("torch_dtype", None)
        config["dtype"] = NAMES[plans[0].dtype]
    if any(item.untied for plan in plans for item in plan.items):
        config["tie_word_embeddings"] = False
        if isinstance(config.get("text_config"), dict):
            config["text_config"]["tie_word_embeddings"] = False
    durable.write_json(folder / "config.json", config)
    if (base / INDEX).is_file():
        _write_index(base, plans, folder)
    durable.write_json(folder / "tunesmith.json", _origin(target, plans))


def _write_index(base: Path, plans: list[FilePlan], folder: Path) -> None:
    """Keep the index as it is where names and sizes are the same; else say which file holds what, anew."""
    if not any(plan.rewritten for plan in plans):
        shutil.copyfile(base / INDEX, folder / INDEX)
        return
    index = read_json(base / INDEX)
    size = sum(plan.bytes for plan in plans)
    index["metadata"] = {**dict(index.get("metadata") or {}), "total_size": size}
    index["weight_map"] = {item.name: plan.source.name for plan in plans for item in plan.items}
    durable.write_file(folder / INDEX, json.dumps(index, indent=2) + "\n")


def _origin(target: Target, plans: list[FilePlan]) -> dict[str, Any]:
    """Say where the folder comes from; a run's system prompt travels with it."""
    assert target.adapter is not None
    return {
        "made_by": "Tunesmith",
        "kind": "merged",
        "base": target.base.name,
        "base_fingerprint": fingerprint_base(target.base),
        "adapter": target.name,
        "adapter_sha256": durable.sha256_file(target.adapter.path / "adapter_model.safetensors"),
        "dtype": NAMES.get(plans[0].dtype, plans[0].dtype),
        "system_prompt": target.system_prompt,
    }
