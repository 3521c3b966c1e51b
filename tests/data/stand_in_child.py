"""A child without torch: holds its run's folder, says that it started, and ends as a file tells it.

usage: stand_in_child.py job FOLDER. It ends when FOLDER/end exists; its text is finished, failed or crashed.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from engine import durable
from engine.events import Started, Step
from engine.jobs import gpu_lock
from engine.jobs.lock import FolderLock
from engine.runs.event_log import EventWriter


def main(folder: Path) -> None:
    """Do as a child does, in the order of a child."""
    with FolderLock(folder), gpu_lock.held(folder, 1):
        (folder / "exit.json").unlink(missing_ok=True)
        writer = EventWriter(folder)
        writer.write(Started(job="train", pid=os.getpid(), host=os.environ.get("CUDA_VISIBLE_DEVICES", "")))
        writer.write(
            Step(
                step=1,
                total_steps=2,
                epoch=0.5,
                loss=1.0,
                learning_rate=1e-4,
                tokens=1,
                supervised_tokens=1,
                seconds=0.1,
            )
        )
        end = folder / "end"
        while not end.exists():
            time.sleep(0.02)
        how = end.read_text()
        if how != "crashed":
            durable.write_json(folder / "exit.json", {"status": how, "message": f"It {how}.", "hint": ""})


if __name__ == "__main__":
    main(Path(sys.argv[2]))
