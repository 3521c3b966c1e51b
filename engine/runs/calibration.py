"""The ledger on the disk: one entry more at the end of a run, whoever else writes at the same moment."""

from __future__ import annotations

import time
from pathlib import Path

from engine import durable
from engine.errors import EngineError, from_os_error
from engine.jobs.lock import FileLock
from engine.plan.ledger import Entry, Ledger, ledger_file

LOCK_SECONDS = 10.0  # a holder reads and writes one small file


def record(entry: Entry, path: Path | None = None) -> str:
    """Add `entry` to calibration.json; return what was wrong with the former file, empty when sound.

    A damaged file is set aside beside the new one. Raises EngineError DISK-* when it cannot be written,
    RUN-02 when another process keeps it.
    """
    place = path or ledger_file()
    taken = EngineError(f"{place.name} is being written by another program.", "Try again.", "RUN-02")
    try:
        durable.make_folder(place.parent)
        with FileLock(place.with_suffix(".lock"), taken, LOCK_SECONDS):
            before = Ledger.read(place)
            if before.damage and place.exists():
                durable.replace(place, place.with_name(f"{place.stem}-damaged-{time.time_ns():x}.json"))
            durable.write_json(place, before.with_entry(entry).as_dict())
    except OSError as error:
        raise from_os_error(error, str(place)) from error
    return before.damage
