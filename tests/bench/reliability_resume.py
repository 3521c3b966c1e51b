"""Long forms of what stands before a start: races for a run, formats of runs, the gate on every field.

usage: python -m tests.bench.reliability F33 R23 S8
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

from engine import doctor  # noqa: E402
from engine.errors import EngineError  # noqa: E402
from engine.jobs.spec import FORMAT  # noqa: E402
from engine.recipe import codec  # noqa: E402
from engine.recipe.recipe import Recipe  # noqa: E402
from engine.runs import resume_gate, store, versions  # noqa: E402
from engine.runs.event_log import EventReader  # noqa: E402
from engine.runs.fsck import fsck  # noqa: E402
from tests.reliability.resume import racing  # noqa: E402

RUNS = Path(__file__).resolve().parents[1] / "data" / "runs"
RACES, LOCKS, RACERS = 20, 1000, 4


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place, patch.dict("os.environ", TUNESMITH_HOME=f"{place}/home"):
        yield Path(place)


def f33() -> str:
    """Race for runs with two real starts each, and for locks with four processes at once."""
    with _place() as place:
        began = time.monotonic()
        for number in range(RACES):
            recipe = codec.override(Recipe(), {"data.train": ["rows.jsonl"]})
            racing.race_for_a_run(store.create_run(recipe, place / f"run-{number}"))
        seconds = time.monotonic() - began
        (place / "locks").mkdir()
        got = racing.race_for_locks(place / "locks", LOCKS, RACERS)
    return (
        f"{RACES} races of two starts: 1 child each ({seconds:.0f} s); "
        f"{LOCKS} locks, {RACERS} processes: 1 holder each {got}"
    )


def r23() -> str:
    """Open the kept folder of every format."""
    with _place() as place:
        opened = []
        for source in sorted(RUNS.glob("format-*")):
            run = place / source.name
            shutil.copytree(source, run)
            assert fsck(run).ok, fsck(run).as_text()
            events, summary = EventReader(run).read_new(), store.summary(run)
            assert summary.state == "finished" and not summary.problem and events, summary
            (run / "exit.json").unlink()
            assert resume_gate.examine(run).stop() is None
            opened.append(f"{source.name} ({len(events)} events, step {summary.step})")
    assert len(opened) == FORMAT
    return f"{len(opened)} of {FORMAT} formats open whole: {', '.join(opened)}"


def s8() -> str:
    """Make each library of the floors too old in turn."""
    real, refused = versions.version_of, []
    for package, floor in versions.FLOORS.items():
        older = ".".join(map(str, (*floor[:-1], floor[-1] - 1)))
        fake = lambda name, package=package, older=older: older if name == package else real(name)  # noqa: E731
        with patch.object(versions, "version_of", fake), patch.object(doctor, "version_of", fake):
            (line,) = [check for check in doctor.checks() if check.name == package]
            assert not line.ok and line.hint
            try:
                versions.refuse_old()
            except EngineError as error:
                assert error.code == "RUN-06" and f"{package} {older}" in error.message
                refused.append(f"{package} {older}")
    assert len(refused) == len(versions.FLOORS)
    versions.refuse_old()
    return f"refused with the reason: {', '.join(refused)}; today's pass"


MEASURES: dict[str, Callable[[], str]] = {"F33": f33, "R23": r23, "S8": s8}
