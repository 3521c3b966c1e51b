"""One of several ranks that all write events at once while they agree on things: `rank_writers.py RUN COUNT`.

Rank 0 writes from four threads; what the others write goes where it goes in a run, which is nowhere.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from engine.events import Log
from engine.runs.event_log import EventWriter
from engine.runtime import crew
from engine.runtime.ranks import join

THREADS = 4
LONGEST = 400


def main(folder: Path, count: int) -> None:
    """Write `count` events in this rank."""
    place = crew.place_of_this_process()
    ranks = join(place, "ddp")
    writer: Any = EventWriter(folder) if ranks.first else crew.Mute()

    def write(share: int) -> None:
        for number in range(share):
            writer.write(Log(message=f"rank {ranks.rank} " + "x" * (number % LONGEST)))

    threads = [threading.Thread(target=write, args=(count // THREADS,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    while ranks.agree(any(thread.is_alive() for thread in threads)):
        pass
    for thread in threads:
        thread.join()
    ranks.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
