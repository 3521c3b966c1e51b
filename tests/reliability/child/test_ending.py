"""A child that dies without a word: what is said of it by what it left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.events import CheckpointSaved, Heartbeat, Started, Step
from engine.runs import check
from engine.runs.ending import without_note
from engine.runs.event_log import EventWriter

GB = 10**9


def left(folder: Path, *, steps: int, saved: int = 0, held: float = 1.0, limit: float = 16.0) -> Path:
    """Make what a killed child leaves: steps, a save, and a last heartbeat with so many GB."""
    writer = EventWriter(folder)
    writer.write(Started(job="train", pid=1, host="here"))
    for step in range(1, steps + 1):
        facts = {"step": step, "total_steps": 100, "epoch": 0.0, "loss": 1.0, "learning_rate": 1e-4}
        writer.write(Step.model_validate({**facts, "tokens": 1, "supervised_tokens": 1, "seconds": 1.0}))
    if saved:
        place = folder / "checkpoints" / f"step-{saved:08d}"
        place.mkdir(parents=True)
        (place / "state.json").write_text(json.dumps({"step": saved}))
        check.write_manifest(place)
        path = place.relative_to(folder).as_posix()
        writer.write(CheckpointSaved(step=saved, path=path, bytes=1, seconds=0.1))
    beat = {"phase": "train", "memory_bytes": int(held * GB), "limit_bytes": int(limit * GB)}
    writer.write(Heartbeat.model_validate(beat))
    writer.close()
    return folder


@pytest.mark.parametrize(
    ("held", "status", "cause"),
    [
        (15.0, -9, "(memory ran out: it held 15.0 of 16.0 GB)"),
        (14.0, -9, "(its process was killed, SIGKILL)"),
        (14.0, None, "(its process was killed or died)"),
    ],
)
def test_f23_that_a_kill_near_the_limit_names_memory(
    tmp_path: Path, held: float, status: int | None, cause: str
) -> None:
    told = without_note(left(tmp_path, steps=27, saved=20, held=held), status)
    assert told.code == "RUN-01"
    assert told.message == f"Training ended at step 27 without a closing note {cause}."
    assert told.hint.endswith("Resume goes on from step 20; 7 steps are repeated.")


def test_f23_that_an_end_before_any_step_or_save_is_told(tmp_path: Path) -> None:
    told = without_note(left(tmp_path, steps=0))
    assert told.message == "Training ended without a closing note (its process was killed or died)."
    assert told.hint == "Nothing was saved yet; start it again."


def test_f23_that_a_folder_with_nothing_in_it_has_an_ending_too(tmp_path: Path) -> None:
    assert without_note(tmp_path, words="Killed").message.endswith("(Killed).")
