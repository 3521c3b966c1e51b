"""Trainable parameters from config.json alone, against peft's own count on models without weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from engine.models.facts import facts_of_config, read_facts
from engine.plan.adapter_size import trainable_parameters
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe
from tests.unit.meta_models import VARIED, meta_models
from tests.unit.models.test_families import LLAMA_2_7B

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tests" / "data" / "make_meta_counts.py"
SETTINGS: dict[str, dict[str, Any]] = {
    "queries and values": {"r": 8, "target_modules": ["query", "value"]},
    "attention": {"r": 4, "target_modules": "attention"},
    "mlp": {"r": 4, "target_modules": "mlp"},
    "all": {"r": 8, "target_modules": "all-linear"},
    "all and head": {"r": 8, "target_modules": ["all-linear", "head"]},
    "ranks": {
        "r": 4,
        "target_modules": ["attention", "down"],
        "rank_pattern": {"output": 2, "down": 16},
        "use_dora": True,
    },
    "all biases": {"r": 4, "target_modules": "attention", "bias": "all"},
    "own biases": {"r": 4, "target_modules": "attention", "bias": "lora_only"},
    "head whole": {"r": 4, "target_modules": "attention", "modules_to_save": ["lm_head"]},
    "first layer": {"r": 4, "target_modules": "all-linear", "layers_to_transform": [0]},
    "vera": {"r": 4, "target_modules": "attention", "method": "vera"},
    "adalora": {"r": 4, "target_modules": "attention", "method": "adalora"},
}
SIX = list(SETTINGS)[:6]
TRIED = [f"{family}-{number}" for family in VARIED for number in (0, 1)]


def settings_of(name: str) -> dict[str, dict[str, Any]]:
    """Return what is tried: the six choices in two configurations of a family, all in one of them."""
    return SETTINGS if name.endswith("-1") else {setting: SETTINGS[setting] for setting in SIX}


@cache
def counts() -> dict[str, dict[str, int | str]]:
    """Return what peft counts for each configuration and setting."""
    command = [sys.executable, str(SCRIPT), str(meta_models()[0])]
    asked = json.dumps({name: settings_of(name) for name in TRIED})
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, input=asked, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, int | str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", TRIED)
def test_that_trainable_parameters_are_those_of_peft_without_any_weights(name: str) -> None:
    facts = read_facts(meta_models()[0] / name, weights=False)
    planned = {}
    for setting, options in settings_of(name).items():
        recipe = override(Recipe(), {f"adapter.{key}": value for key, value in options.items()})
        planned[setting] = trainable_parameters(facts, recipe.adapter)
    expected = counts()[name]
    trained = {setting: count for setting, count in expected.items() if isinstance(count, int)}
    assert {setting: planned[setting] for setting in trained} == trained
    refused = set(expected) - set(trained)
    assert refused <= {"all biases", "own biases"} or name.split("-")[0] in ("mixtral", "qwen3_moe")


@pytest.mark.parametrize("setting", SIX)
def test_that_twelve_families_and_more_train_each_of_six_choices(setting: str) -> None:
    trained = {name.split("-")[0] for name in TRIED if isinstance(counts()[name][setting], int)}
    assert len(trained) >= 22


@pytest.mark.parametrize(
    ("targets", "count"),
    [(["query", "value"], 4_194_304), ("all-linear", 19_988_480), (["all-linear", "head"], 20_277_248)],
)
def test_that_a_llama_2_7b_of_which_only_the_configuration_is_here_trains_the_known_numbers(
    targets: str | list[str], count: int
) -> None:
    recipe = override(Recipe(), {"adapter.r": 8, "adapter.target_modules": targets})
    assert trainable_parameters(facts_of_config(LLAMA_2_7B), recipe.adapter) == count
