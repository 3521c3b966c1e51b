"""The verb `script`: a run as one file of plain transformers and peft."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from engine.verbs.spoken import note


def script(args: Namespace) -> dict[str, Any] | int:
    """Write a script that repeats a run, and let it compare its rows with the run's."""
    from engine.runs.script import write_script
    from engine.runs.store import find_run

    run, out = find_run(args.run), Path(args.out).expanduser()
    if not args.json:
        note("The script prepares its rows once, to compare them with the run's.")
    return write_script(run, out / "train.py" if out.is_dir() else out)
