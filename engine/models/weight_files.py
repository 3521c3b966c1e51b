"""Which weight files a model folder has, and that none of them points outside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import EngineError, from_os_error
from engine.models.safetensors_header import Header, read_header

INDEX = "model.safetensors.index.json"
MAX_JSON_BYTES = 8 * 1024 * 1024
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".npz")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,200}\.safetensors")


def read_json(path: Path) -> dict[str, Any]:
    """Return a model's JSON file as a mapping; raises EngineError MODEL-02 when it is none, or DISK-*."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise EngineError(
                f"{path.name} is larger than 8 MiB.", "Download it again.", "MODEL-02", file=str(path)
            )
        value = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    except (ValueError, RecursionError) as error:
        raise EngineError(
            f"{path.name} is damaged: it is not JSON.", "Download it again.", "MODEL-02", file=str(path)
        ) from error
    if not isinstance(value, dict):
        raise EngineError(
            f"{path.name} is damaged: it is no mapping.", "Download it again.", "MODEL-02", file=str(path)
        )
    return value


def stay_inside(folder: Path, path: Path) -> Path:
    """Return `path`, or raise EngineError MODEL-03 when it leads out of `folder`.

    The hub's cache is the one place whose files are links: its snapshots point into the blobs beside them.
    """
    real, root = path.resolve(), folder.resolve()
    allowed = [root]
    if root.parent.name == "snapshots" and root.parent.parent.name.startswith("models--"):
        allowed.append(root.parent.parent / "blobs")
    if not any(real.is_relative_to(place) for place in allowed):
        raise EngineError(
            f"{paths.show_name(path.name)} points outside its folder: {paths.show_name(str(real))}.",
            "Do not use this folder unless you made it yourself.",
            "MODEL-03",
            file=str(path),
        )
    return path


def has_weights(folder: Path) -> bool:
    """Return whether a folder holds files of weights of any kind, sound or not."""
    return any(p.suffix == ".safetensors" or p.suffix in PICKLED or p.name == INDEX for p in folder.iterdir())


def weight_paths(folder: Path, single: str = "model.safetensors") -> list[Path]:
    """Return the safetensors files of a model folder in reading order.

    Raises EngineError MODEL-01 when there are only files that can run programs, MODEL-02 when there are none
    or one of the index is missing, MODEL-03 when the index names a place outside the folder.
    """
    if (folder / single).is_file():
        return [stay_inside(folder, folder / single)]
    if (folder / INDEX).is_file():
        return _from_index(folder)
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return [stay_inside(folder, found[0])]
    pickled = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLED)
    if pickled:
        raise EngineError(
            f"{paths.show_name(pickled[0])} can run programs when opened, so it was not opened.",
            "Look for a safetensors version of this model.",
            "MODEL-01",
            file=str(folder / pickled[0]),
        )
    raise EngineError(
        f"{paths.show_name(folder.name)} has no weights: {single} is missing.",
        "Download the model again, or choose the folder that holds it.",
        "MODEL-02",
        file=str(folder),
    )


def _from_index(folder: Path) -> list[Path]:
    weight_map = read_json(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise EngineError(
            f"{INDEX} is damaged: it names no tensors.",
            "Download it again.",
            "MODEL-02",
            file=str(folder / INDEX),
        )
    names = sorted({str(name) for name in weight_map.values()})
    found = []
    for name in names:
        if not _PLAIN.fullmatch(name):
            raise EngineError(
                f"{INDEX} points outside its folder: {paths.show_name(name)}.",
                "Do not use this folder unless you made it yourself.",
                "MODEL-03",
                file=str(folder / INDEX),
            )
        if not (folder / name).is_file():
            raise EngineError(
                f"{name} is missing from {paths.show_name(folder.name)}.",
                "Download the model again.",
                "MODEL-02",
                file=str(folder / name),
            )
        found.append(stay_inside(folder, folder / name))
    return found


def read_headers(folder: Path) -> list[Header]:
    """Return the checked headers of a model's files; a name in two files is an error (MODEL-02)."""
    headers = [read_header(path) for path in weight_paths(folder)]
    seen: set[str] = set()
    for header in headers:
        for tensor in header.tensors:
            if tensor.name in seen:
                raise EngineError(
                    f"{header.path.name} is damaged or forged: {tensor.name} stands in two files.",
                    "Download it again.",
                    "MODEL-02",
                    file=str(header.path),
                )
            seen.add(tensor.name)
    return headers
