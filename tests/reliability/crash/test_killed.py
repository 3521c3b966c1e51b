"""Children killed at named points and anywhere: what was announced is there, and another child goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import durable
from engine.runs import store
from engine.runs.ending import without_note
from engine.runs.fsck import fsck
from tests.reliability.harness import killing, small_run
from tests.reliability.harness.crash_disk import Unsynced
from tests.reliability.harness.killed_runs import POINTS, Runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Return what makes and kills runs, with an undisturbed one to compare them with."""
    return Runs(tmp_path_factory.mktemp("killed"))


def test_f01_r01_that_a_kill_anywhere_loses_no_announced_save(runs: Runs) -> None:
    found = runs.kill_anywhere(count=16, seed=1)
    assert found.broken == [] and found.kills == 16
    assert "crashed" in found.states


def test_f02_that_a_kill_while_files_of_a_save_are_written_leaves_the_former_one(runs: Runs) -> None:
    found = runs.kill_at_each(POINTS["f02"], most=5)
    assert found.broken == [] and found.kills == 5 and found.states == {"crashed"}


def test_f03_that_a_kill_around_the_manifest_leaves_the_former_save_or_the_new_one(runs: Runs) -> None:
    found = runs.kill_at_each(POINTS["f03"], most=3)
    assert found.broken == [] and found.kills == 9 and found.states == {"crashed"}


def test_f04_that_a_whole_result_without_its_note_is_told_and_closed(tmp_path: Path) -> None:
    with durable.using(Unsynced()):
        run = small_run.make(tmp_path / "run")
        killing.in_process(lambda: small_run.attempt(run), armed="exit.before:kill")
        told = without_note(run, -9)
        assert told.code == "RUN-01" and told.message.startswith(
            "Training ended at step 15 without a closing note"
        )
        assert told.hint.startswith("The result is complete; only its closing note is missing.")
        small_run.attempt(run)
    assert store.state_of(run) == "finished" and fsck(run).ok


def test_f04_i06_i09_that_a_kill_while_pruning_or_closing_leaves_two_saves_and_a_true_state(
    runs: Runs,
) -> None:
    found = runs.kill_at_each(POINTS["f04"], most=4)
    assert found.broken == [] and found.kills == 9
    assert found.states == {"crashed", "finished"}  # finished only where exit.json had been written
