"""More seeds of one recipe: what differs, how they are named, how long they take together."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs.seeds import seconds_of_all, with_seeds
from engine.runs.store import create_run, load_recipe


def test_that_seeds_follow_the_recipes_own_and_nothing_else_but_the_name_differs() -> None:
    recipe = codec.override(Recipe(), {"data.train": ["tickets.jsonl"], "training.seed": 7})
    made = with_seeds(recipe)
    assert [each.training.seed for each in made] == [7, 8, 9]
    assert [each.name for each in made] == [f"tickets-lora-r16-seed-{seed}" for seed in (7, 8, 9)]
    back = {"name": "", "training.seed": 7, "data.split_seed": None}
    assert all(codec.override(each, back) == recipe for each in made)


def test_that_the_largest_seed_and_the_longest_name_have_neighbours_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    most = 2**31 - 1
    recipe = codec.override(Recipe(), {"name": "n" * 100, "training.seed": most, "data.train": ["a.jsonl"]})
    folders = [create_run(each) for each in with_seeds(recipe)]
    assert [load_recipe(folder).training.seed for folder in folders] == [most, most - 1, most - 2]
    assert len(set(folders)) == 3


@pytest.mark.parametrize(
    ("devices", "processes", "runs"), [(0, 1, 3), (1, 1, 3), (2, 1, 2), (4, 1, 1), (2, 2, 3), (4, 2, 2)]
)
def test_that_runs_go_side_by_side_where_there_are_devices(devices: int, processes: int, runs: int) -> None:
    recipe = codec.override(Recipe(), {"launcher.processes": processes})
    assert seconds_of_all(100.0, recipe, devices) == 100.0 * runs


def test_that_all_seeds_are_measured_on_the_rows_of_the_first() -> None:
    runs = with_seeds(codec.override(Recipe(), {"training.seed": 7}))
    assert {run.data.split_seed for run in runs} == {7}
    own = with_seeds(codec.override(Recipe(), {"training.seed": 7, "data.split_seed": 3}))
    assert {run.data.split_seed for run in own} == {3}
