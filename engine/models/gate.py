"""The gate for models of strangers: what is read of a folder, checked and built anew before it is used.

A folder gives text, numbers and tensors. Its program files and pickles are never opened, its links are not
followed, and nothing is handed to a library but what `open_model` returns.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine import paths
from engine.errors import EngineError
from engine.links import is_link
from engine.models.rebuilt import Rebuilt, rebuild_config, rebuild_generation
from engine.models.weight_files import PICKLED, read_json, stay_inside, weight_paths

GENERATION = "generation_config.json"
# Files of a model that are read or copied; whatever else lies beside them is left alone.
READ = (".json", ".jinja", ".safetensors", ".model", ".txt", ".md", ".gguf")
_PROGRAMS = (".py", ".pyc", ".so", ".dll", ".pyd", ".sh", ".h5", ".msgpack", ".onnx")
_MOST_FILES = 4096


@dataclass(frozen=True)
class Opened:
    """What a model folder holds that may be used: configurations built anew, safetensors in reading order."""

    folder: Path
    config: Rebuilt
    generation: Rebuilt
    weights: tuple[Path, ...] = ()


def open_model(folder: Path, *, weights: bool = True) -> Opened:
    """Return what may be used of a model folder; without `weights` its config.json alone is needed.

    Raises EngineError MODEL-01 (only pickles), MODEL-02 (damaged), MODEL-03 (points outside), MODEL-04 (needs
    its own program), MODEL-05 (a value that is not supported).
    """
    refuse_links(folder)
    file = folder / "config.json"
    config = rebuild_config(read_json(file), str(file))
    stored = read_json(folder / GENERATION) if (folder / GENERATION).is_file() else {}
    files = tuple(weight_paths(folder)) if weights else ()
    return Opened(folder, config, rebuild_generation(stored), files)


def refuse_links(folder: Path) -> None:
    """Raise EngineError MODEL-03 for a file that is read and has its place, or a second name, outside."""
    seen: dict[tuple[int, int], list[os.stat_result]] = {}
    shared: dict[tuple[int, int], Path] = {}
    for path in _files(folder):
        if path.suffix not in READ and path.suffix:
            continue
        if is_link(path):
            stay_inside(folder, path)
            continue
        found = path.stat(follow_symlinks=False)
        if found.st_nlink > 1 and path.is_file():
            key = (found.st_dev, found.st_ino)
            seen.setdefault(key, []).append(found)
            shared.setdefault(key, path)
    for key, names in seen.items():
        if names[0].st_nlink > len(names):
            raise EngineError(
                f"{paths.show_name(shared[key].name)} points outside its folder: it is a hard link to a "
                "file that has another name elsewhere.",
                "Copy the folder, so that its files are its own, and choose the copy.",
                "MODEL-03",
                file=str(shared[key]),
            )


def _files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry.path) for _, entry in zip(range(_MOST_FILES), entries, strict=False)]


def ignored_files(folder: Path) -> tuple[str, ...]:
    """Return the names of program files and pickles in a folder: they lie there and are never opened."""
    names = (path.name for path in _files(folder) if path.suffix in (*PICKLED, *_PROGRAMS))
    return tuple(sorted(paths.show_name(name, 80) for name in names))
