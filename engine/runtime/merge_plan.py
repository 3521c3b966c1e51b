"""Which tensors a merged model's files hold, in which order, under which header."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.models.facts import ModelFacts, is_embedding, is_head
from engine.models.fit import find_place
from engine.models.safetensors_header import DTYPE_BITS, Header, TensorEntry
from engine.runtime.changes import Change, is_same, is_scale

FLOATS = ("F32", "BF16", "F16")


@dataclass(frozen=True)
class Item:
    """One tensor to write: from where it comes, in which type, and what the adapter makes of it."""

    name: str
    dtype: str
    entry: TensorEntry
    change: Change | None
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


def plan_files(
    headers: list[Header], base: ModelFacts, changes: dict[str, Change], dtype: str | None, tied: bool = False
) -> list[FilePlan]:
    """Lay out the merged files; a file whose tensors keep their types keeps its header byte for byte.

    `tied` says that what moves the embedding means a head that shares its weight too.

    Raises EngineError MODEL-07 when something that the adapter changes has no tensor in the files, MODEL-05
    when it is a bias that the base has not.
    """
    own = _main_type(headers)
    wanted = dtype or own
    entries = {entry.name: entry for header in headers for entry in header.tensors}
    places = _places(entries, changes, base)
    head = _own_head(entries, places, changes, base, tied)
    plans = []
    for header in headers:
        items = []
        for entry in header.tensors:
            kept = wanted if dtype and entry.dtype in FLOATS else entry.dtype
            items.append(Item(entry.name, kept, entry, places.get(entry.name), _parts(entry, head)))
        untied = head is not None and head.name not in entries and head.entry in header.tensors
        if head is not None and untied:
            items.append(Item(head.name, wanted if dtype else head.dtype, head.entry, head.change, True))
        same = not untied and all(item.dtype == item.entry.dtype for item in items)
        raw = header.raw if same else _header(items, header.metadata)
        plans.append(
            FilePlan(header.path, raw, tuple(items), wanted, dtype is not None and wanted != own, not same)
        )
    return plans


def _parts(entry: TensorEntry, head: Item | None) -> bool:
    """Return whether this is a head that stands in the files and no longer shares the embedding's weight."""
    return head is not None and entry.name == head.name


def _main_type(headers: list[Header]) -> str:
    sizes: dict[str, int] = {}
    for header in headers:
        for entry in header.tensors:
            sizes[entry.dtype] = sizes.get(entry.dtype, 0) + entry.numel
    return max(sizes, key=lambda name: sizes[name])


def _places(
    entries: dict[str, TensorEntry], changes: dict[str, Change], base: ModelFacts
) -> dict[str, Change]:
    """Return the changes by the names of the base's files; a shared head has no name of its own there."""
    found = {}
    for name, change in changes.items():
        place = find_place(name, entries)
        if place is not None:
            found[place] = change
        elif name.endswith(".bias"):
            if not is_scale(change):  # a scale of a bias that is not there changes nothing
                raise EngineError(
                    f"The adapter adds {name}, and {base.name} has no bias there.",
                    "Use the adapter as it is.",
                    "MODEL-05",
                    file=str(base.path),
                )
        elif not (base.tied and is_head(name)):
            raise EngineError(
                f"{name.removesuffix('.weight')} of the adapter has no weight in {base.name}.",
                "Choose the base it was trained on.",
                "MODEL-07",
                file=str(base.path),
            )
    return found


def _own_head(
    entries: dict[str, TensorEntry],
    places: dict[str, Change],
    changes: dict[str, Change],
    base: ModelFacts,
    tied: bool,
) -> Item | None:
    """Return the head of its own that a model needs whose head shared the embedding's weight.

    An adapter changes the one or the other, or each in its way: the two part. They stay together where both
    are changed alike, and where it was trained with `ensure_weight_tying` and names the embedding alone.
    """
    if not base.tied:
        return None
    embedding = next((entry for entry in entries.values() if _is_table(entry, base)), None)
    head = next((name for name in changes if is_head(name)), None)
    moved = embedding is not None and embedding.name in places
    if embedding is None or (head is None and (not moved or tied)):
        return None
    if head is not None and moved and is_same(changes[head], places[embedding.name]):
        return None
    name = head or next((e for e in entries if is_head(e)), "lm_head.weight")
    return Item(name, embedding.dtype, embedding, changes.get(name), untied=True)


def _is_table(entry: TensorEntry, base: ModelFacts) -> bool:
    """Return whether a tensor is the table of the vocabulary; GPT-2's positions have a table too."""
    positions = "pos" in entry.name or "wpe" in entry.name
    rows = entry.shape[0] if len(entry.shape) == 2 else 0
    return is_embedding(entry.name) and not positions and rows == base.vocab_size


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
