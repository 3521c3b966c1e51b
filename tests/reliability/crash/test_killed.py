"""Children killed at named points and anywhere: what was announced is there, and another child goes on."""

from __future__ import annotations

import pytest

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


def test_f04_i06_i09_that_a_kill_while_pruning_or_closing_leaves_two_saves_and_a_true_state(
    runs: Runs,
) -> None:
    found = runs.kill_at_each(POINTS["f04"], most=4)
    assert found.broken == [] and found.kills == 9
    assert found.states == {"crashed", "finished"}  # finished only where exit.json had been written
