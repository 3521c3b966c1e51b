"""Which tensors a merged model's files hold, in which order, under which header."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.models.adapter_facts import AdapterModule
from engine.models.facts import is_embedding, is_head
from engine.models.safetensors_header import DTYPE_BITS, Header, TensorEntry
from engine.runtime.target import Target

FLOATS = ("F32", "BF16", "F16")


@dataclass(frozen=True)
class Item:
    """One tensor to write: from where it comes, in which type, and which module is added to it."""

    name: str
    dtype: str
    entry: TensorEntry
    module: AdapterModule | None
    untied: bool = False

    @property
    def bytes(self) -> int:
        """Return its size in the merged file."""
        return self.entry.numel * DTYPE_BITS[self.dtype] // 8


@dataclass(frozen=True)
class FilePlan:
    """One file: its source, its header as bytes, its tensors in order."""

    source: Path
    raw: bytes
    items: tuple[Item, ...]
    dtype: str
    changed_dtype: bool
    rewritten: bool

    @property
    def bytes(self) -> int:
        """Return the size of its tensors."""
        return sum(item.bytes for item in self.items)


def plan_files(headers: list[Header], target: Target, dtype: str | None) -> list[FilePlan]:
    """Lay out the merged files; a file whose tensors keep their types keeps its header byte for byte.

    Raises EngineError MODEL-07 when a module of the adapter has no weight in the files.
    """
    assert target.adapter is not None
    own = _main_type(headers)
    wanted = dtype or own
    modules = {module.name: module for module in target.adapter.modules}
    places = _places(headers, modules, target)
    plans = []
    for header in headers:
        items = []
        for entry in header.tensors:
            kept = wanted if dtype and entry.dtype in FLOATS else entry.dtype
            items.append(Item(entry.name, kept, entry, places.pop(entry.name, None)))
        untied = _untied_head(items, modules, target, wanted if dtype else None)
        if untied is not None:
            items.append(untied)
            modules.pop("lm_head", None)
        same = untied is None and all(item.dtype == item.entry.dtype for item in items)
        raw = header.raw if same else _header(items, header.metadata)
        plans.append(
            FilePlan(header.path, raw, tuple(items), wanted, dtype is not None and wanted != own, not same)
        )
    return plans


def _main_type(headers: list[Header]) -> str:
    sizes: dict[str, int] = {}
    for header in headers:
        for entry in header.tensors:
            sizes[entry.dtype] = sizes.get(entry.dtype, 0) + entry.numel
    return max(sizes, key=lambda name: sizes[name])


def _places(
    headers: list[Header], modules: dict[str, AdapterModule], target: Target
) -> dict[str, AdapterModule]:
    """Return the adapter's module for each weight's name; some hub files leave the model's own prefix out."""
    names = {entry.name for header in headers for entry in header.tensors}
    found = {}
    for name, module in modules.items():
        candidates = (f"{name}.weight", f"{name.partition('.')[2]}.weight")
        place = next((c for c in candidates if c in names), None)
        if place is not None:
            found[place] = module
        elif not (target.base.tied and is_head(name)):
            raise EngineError(
                f"{name} of the adapter has no weight in {target.base.name}.",
                "Choose the base it was trained on.",
                "MODEL-07",
                file=str(target.base.path),
            )
    return found


def _untied_head(
    items: list[Item], modules: dict[str, AdapterModule], target: Target, dtype: str | None
) -> Item | None:
    """An adapted head that shares its weight with the embedding becomes a tensor of its own."""
    head = next((m for name, m in modules.items() if is_head(name)), None)
    if head is None or not target.base.tied or any(is_head(item.name) for item in items):
        return None
    shared = next((i for i in items if is_embedding(i.name) and i.entry.shape[0] == head.out_features), None)
    if shared is None:
        return None
    return Item(f"{head.name}.weight", dtype or shared.dtype, shared.entry, head, untied=True)


def _header(items: list[Item], metadata: dict[str, str]) -> bytes:
    """Return a safetensors header, padded to 8 bytes as the library does."""
    described: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for item in items:
        described[item.name] = {
            "dtype": item.dtype,
            "shape": list(item.entry.shape),
            "data_offsets": [at, at + item.bytes],
        }
        at += item.bytes
    raw = json.dumps(described, separators=(",", ":")).encode()
    return raw + b" " * (-len(raw) % 8)
