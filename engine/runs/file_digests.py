"""SHA-256 of large files, taken once for as long as the operating system sees no change of them.

A file is known by device, inode, size and both of its change times: whoever writes into it moves them, the
last one whatever he does to the other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from engine import durable, paths

MOST_KEPT = 4096
EDGE_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, from the cache where the file is the same; raises OSError."""
    return _digest(path, _read())


def sha256_of_all(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return name -> {"bytes", "sha256"} for files of a folder; raises OSError."""
    kept = _read()
    before = dict(kept)
    found = {}
    for name in names:
        digest = _digest(folder / name, kept, keep=False)
        found[name] = {"bytes": (folder / name).stat().st_size, "sha256": digest}
    if kept != before:
        _write(kept)
    return found


def _digest(path: Path, kept: dict[str, str], *, keep: bool = True) -> str:
    key = _key(os.stat(path))
    found = kept.pop(key, None) or durable.sha256_file(path)
    new = key not in kept
    if _key(os.stat(path)) == key:  # else it is being written: what was read is of no file
        kept[key] = found
        if keep and new:
            _write(kept)
    return found


def _key(facts: os.stat_result) -> str:
    return f"{facts.st_dev}-{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ctime_ns}"


def _place() -> Path:
    return paths.cache_dir() / "digests.json"


def _read() -> dict[str, str]:
    try:
        value = json.loads(_place().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def _write(kept: Mapping[str, str]) -> None:
    newest = dict(list(kept.items())[-MOST_KEPT:])
    with contextlib.suppress(OSError):  # a cache: without it the files are read again
        durable.write_json(_place(), newest)


def edges_of(path: Path) -> str:
    """Return the digest of size, first and last megabyte: what the first runs kept of their base model."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        digest.update(file.read(EDGE_BYTES))
        file.seek(max(0, size - EDGE_BYTES))
        digest.update(file.read(EDGE_BYTES))
    return digest.hexdigest()
