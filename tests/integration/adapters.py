"""Small bases with adapters of several kinds and peft's own merge and answers of each, made once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "data" / "make_adapters.py"


@cache
def make_adapters(tiny: Path, *names: str) -> Path:
    """Return the folder with NAME-base, NAME-adapter, NAME-logits, NAME-peft; plain alone without names."""
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-adapters-"))
    command = [sys.executable, str(SCRIPT), str(tiny), str(folder), *(names or ["plain"])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder
