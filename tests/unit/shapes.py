"""Small models of ten families with peft's own counts, made once in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[1] / "data" / "make_shapes.py"
FAMILIES = "llama llama-tied qwen2 qwen3 gemma2 phi3 gpt2 gpt-neox opt bloom".split()
EVERY: dict[str, dict[str, Any]] = {
    "all-linear": {"r": 4, "target_modules": "all-linear"},
}
GATED: dict[str, dict[str, Any]] = {
    **EVERY,
    "two": {"r": 3, "target_modules": ["q_proj", "v_proj"]},
    "named": {"r": 5, "target_modules": ["layers.1.self_attn.k_proj", "down_proj"]},
    "ranks": {
        "r": 4,
        "target_modules": "all-linear",
        "rank_pattern": {"q_proj": 16, "layers.1.mlp.up_proj": 1},
    },
    "layers": {"r": 8, "target_modules": ["q_proj", "up_proj"], "layers_to_transform": [0, 2]},
    "dora": {"r": 4, "target_modules": ["o_proj", "up_proj"], "use_dora": True},
}
SETTINGS = {"every": EVERY, **{name: GATED for name in ("llama", "llama-tied", "qwen2", "qwen3")}}


@cache
def make_shapes() -> tuple[Path, dict[str, Any]]:
    """Return the folder of the models and what peft says of each."""
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-shapes-"))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)], input=json.dumps(SETTINGS), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "expected.json").read_text())
