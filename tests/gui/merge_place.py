"""Adapters for the tests of the Merge page: two of one base and other ranks, written beside one another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

LONG = 120_000
NAME = "adapter_model.safetensors"


def of_rank(adapter: Path, folder: Path, r: int, **config: object) -> Path:
    """Write `folder` as an adapter like `adapter` with another rank and values of its own; return it."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(7)
    made = {}
    for name, tensor in load_file(adapter / NAME).items():
        shape = (r, tensor.shape[1]) if "lora_A" in name else (tensor.shape[0], r)
        made[name] = (draw.normal(size=shape) * 0.1).astype(np.float32)
    save_file(made, folder / NAME, metadata={"format": "pt"})
    told = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    told |= {"r": r, **config}
    (folder / "adapter_config.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


def moved(adapter: Path, folder: Path, base: Path) -> Path:
    """Copy an adapter and let it name another base; return the copy."""
    shutil.copytree(adapter, folder)
    config = folder / "adapter_config.json"
    told = json.loads(config.read_text("utf-8"))
    config.write_text(json.dumps({**told, "base_model_name_or_path": str(base)}), encoding="utf-8")
    return folder
