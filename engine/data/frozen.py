"""Prepared data as one file: the token rows a run trains and measures on, with all that was told of them.

A safetensors file holds the arrays, its header the rest as JSON; nothing in it can be run.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping as MappingOf
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from engine import durable
from engine.data.columns import Mapping
from engine.data.dataset import Example, Prepared
from engine.data.report import Lengths, Report
from engine.data.rows import Finding
from engine.models import safetensors_write

FORMAT = 1
Arrays = dict[str, NDArray[Any]]
TYPES = {"int32": "I32", "int64": "I64", "bool": "BOOL"}


def digest_of(data: Prepared) -> str:
    """Return the hexadecimal SHA-256 of all tokens and of which are trained, in their order."""
    digest = hashlib.sha256()
    for example in [*data.train, *data.validation]:
        digest.update(example.ids.tobytes())
        digest.update(example.trained.tobytes())
    return digest.hexdigest()


def write(data: Prepared, path: Path, about: MappingOf[str, Any]) -> None:
    """Write prepared data whole or not at all; `about` is kept beside it. Raises OSError."""
    examples = [*data.train, *data.validation]
    arrays = {
        "ids": np.concatenate([np.zeros(0, np.int32), *(np.asarray(e.ids, np.int32) for e in examples)]),
        "trained": np.concatenate([np.zeros(0, np.bool_), *(np.asarray(e.trained) for e in examples)]),
        "starts": np.cumsum([0, *(len(e.ids) for e in examples)], dtype=np.int64),
        "row": np.array([e.row for e in examples], dtype=np.int64),
        "source": np.array([e.source for e in examples], dtype=np.int64),
        "line": np.array([e.line for e in examples], dtype=np.int64),
    }
    told = {
        "format": FORMAT,
        "digest": digest_of(data),
        "train": len(data.train),
        "prompts": {i: e.prompt for i, e in enumerate(examples) if e.prompt is not None},
        "report": _told(data.report),
        "mappings": [asdict(mapping) for mapping in data.mappings],
        "about": dict(about),
    }
    durable.make_folder(path.parent)
    tensors = [_described(name, np.ascontiguousarray(array)) for name, array in arrays.items()]
    private = path.with_name(f"{path.name}.{os.getpid()}.part")  # runs share some of these files
    try:
        safetensors_write.write(private, tensors, {"tunesmith": json.dumps(told)})
        durable.replace(private, path)
    finally:
        durable.discard(private)
    durable.fsync_folder(path.parent)


def _described(name: str, array: NDArray[Any]) -> safetensors_write.Tensor:
    return safetensors_write.Tensor(name, TYPES[array.dtype.name], array.shape, lambda: _bytes_of(array))


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8).data)


def copy(source: Path, target: Path) -> None:
    """Put the same file at another place, durably: as a second name of it where the disk can, else copied."""
    durable.make_folder(target.parent)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    durable.remove_file(part)
    try:
        durable.disk.link(source, part)
    except OSError:  # the disk knows no second names, or the source is on another one
        durable.copy_file(source, target)
        return
    try:
        durable.replace(part, target)
    finally:
        durable.discard(part)
    durable.fsync_folder(target.parent)


def read(path: Path) -> tuple[Prepared, dict[str, Any]] | None:
    """Return the data and what was kept beside it; None for a file that is not there or not whole."""
    try:
        with safe_open(path, framework="numpy") as file:
            told = json.loads((file.metadata() or {})["tunesmith"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        if told["format"] != FORMAT:
            return None
        data = _prepared(arrays, told)
        about: dict[str, Any] = dict(told["about"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (data, about) if digest_of(data) == told["digest"] else None


def _prepared(arrays: Arrays, told: dict[str, Any]) -> Prepared:
    ids, trained, starts = arrays["ids"], arrays["trained"], arrays["starts"].tolist()
    prompts = {int(i): str(text) for i, text in told["prompts"].items()}
    places = zip(arrays["row"].tolist(), arrays["source"].tolist(), arrays["line"].tolist(), strict=True)
    examples = [
        Example(ids[begin:end], trained[begin:end], row, source, line, prompts.get(i))
        for i, (begin, end, (row, source, line)) in enumerate(
            zip(starts[:-1], starts[1:], places, strict=True)
        )
    ]
    count = int(told["train"])
    mappings = tuple(_mapping(entry) for entry in told["mappings"])
    return Prepared(examples[:count], examples[count:], _report(told["report"]), mappings)


def _told(report: Report) -> dict[str, Any]:
    """Return a report as JSON can hold it (`asdict` would count the pairs of a Counter)."""
    values = dict(vars(report))
    values["lengths"] = asdict(report.lengths)
    values["problems"] = [asdict(finding) for finding in report.problems]
    values["counts"], values["errors"] = dict(report.counts), dict(report.errors)
    return values


def _report(entry: dict[str, Any]) -> Report:
    return Report(
        **{
            **entry,
            "lengths": Lengths(**entry["lengths"]),
            "problems": [Finding(**finding) for finding in entry["problems"]],
            "counts": Counter(entry["counts"]),
            "errors": Counter(entry["errors"]),
        }
    )


def _mapping(entry: dict[str, Any]) -> Mapping:
    others = tuple(_mapping(other) for other in entry["alternatives"])
    return Mapping(**{**entry, "alternatives": others, "unused": tuple(entry["unused"])})
