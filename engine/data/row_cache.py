"""Tokenised data kept between runs, found again by what it was made from.

A place of the cache is named by a digest of everything its rows depend on: the bytes of the files, the data
section of the recipe, the seed, tokenizer and chat template, and the program that made them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engine import durable, paths
from engine.data import folder_files
from engine.data.examples import locate
from engine.data.frozen import FORMAT
from engine.data.templates import load_template
from engine.errors import EngineError

MOST_BYTES = 2 << 30
SHARE_OF_FREE = 0.1  # the cache never takes more of what is free on its disk
LIBRARIES = ("tokenizers", "jinja2", "pyarrow", "openpyxl")
TOKENIZER_FILES = ("*.json", "*.jinja", "*.model", "*.txt")


def files_of(data: Any) -> list[str]:
    """Return the files a data section names, as it names them."""
    return [*data.train, *([data.validation] if data.validation else [])]


def digests_of(data: Any, base_dir: Path | None = None) -> dict[str, str]:
    """Return a digest of the bytes of each file or folder a data section names, empty for a missing one."""
    return {path: _digest(path, base_dir) for path in files_of(data)}


def _digest(path: str, base_dir: Path | None) -> str:
    try:
        place = locate(path, base_dir)
        if not place.is_dir():
            return durable.sha256_file(place) if place.is_file() else ""
        held = folder_files.contents(place)
        each = [(file.as_posix(), durable.sha256_file(place / file)) for file in held.files]
        return _hash([each, held.left_out])
    except (OSError, EngineError):
        return ""


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def key_of(data: Any, digests: Mapping[str, str], model_folder: Path, seed: int, clock: float) -> str | None:
    """Return the name of the place for these rows; None where a file is missing and nothing can be known.

    `clock` is the time a template may write; it counts only for a template that asks for it.
    """
    if not all(digests.values()):
        return None
    template = load_template(model_folder, data.chat_template)
    tokenizer = {
        file.name: durable.sha256_file(file)
        for pattern in TOKENIZER_FILES
        for file in sorted(model_folder.glob(pattern))
        if not file.name.endswith(".index.json")
    }
    return _hash(
        {
            "format": FORMAT,
            "program": _program(),
            "data": data.model_dump(mode="json"),
            "files": dict(digests),
            "seed": seed,
            "template": template.source,
            "tokens": template.tokens,
            "tokenizer": tokenizer,
            "clock": clock if "strftime" in template.source else None,
        }
    )


@lru_cache(maxsize=1)
def _program() -> str:
    """Return a digest of the code that prepares data, and of the libraries it stands on."""
    code = {file.name: durable.sha256_file(file) for file in sorted(Path(__file__).parent.glob("*.py"))}
    return _hash([code, {name: _version(name) for name in LIBRARIES}])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def folder() -> Path:
    """Return where the cache lies; it may be deleted at any time."""
    place = paths.cache_dir() / "rows"
    place.mkdir(exist_ok=True, mode=0o700)  # it holds what people's files say
    return place


def place_of(key: str) -> Path:
    """Return the file of a key, there or not."""
    return folder() / f"{key}.safetensors"


def used(path: Path) -> None:
    """Note that a place was of use: what was of no use for longest goes first."""
    with contextlib.suppress(OSError):
        os.utime(path)


def make_room(size: int) -> bool:
    """Remove what was of no use for longest until `size` bytes more fit; False when they never will."""
    place = folder()
    limit = min(MOST_BYTES, int(SHARE_OF_FREE * shutil.disk_usage(place).free))
    if size > limit // 2:
        return False
    kept = []
    for path in place.glob("*.safetensors"):
        with contextlib.suppress(OSError):
            status = path.stat()
            kept.append((status.st_mtime, status.st_size, path))
    total = sum(bytes_held for _, bytes_held, _ in kept)
    for _, bytes_held, path in sorted(kept):
        if total + size <= limit:
            break
        path.unlink(missing_ok=True)
        total -= bytes_held
    return True
