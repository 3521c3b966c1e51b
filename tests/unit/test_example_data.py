"""The bundled example data: made by its generator, readable, and fair."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

from engine.recipe import codec

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "resources" / "examples"
QUEUES = {"billing", "technical", "account", "shipping", "returns", "sales"}
PRIORITIES = {"low", "normal", "high", "urgent"}


def rows(name: str) -> list[list[dict[str, str]]]:
    """Return the conversations of a support file."""
    lines = (EXAMPLES / "support" / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


def test_that_the_files_are_what_the_generator_makes() -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(ROOT / "packaging" / "make_examples.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_that_every_answer_is_one_object_with_known_values() -> None:
    for system, user, assistant in rows("train.jsonl") + rows("holdout.jsonl"):
        assert [system["role"], user["role"], assistant["role"]] == ["system", "user", "assistant"]
        answer = json.loads(assistant["content"])
        assert list(answer) == ["queue", "priority", "summary"]
        assert answer["queue"] in QUEUES and answer["priority"] in PRIORITIES
        assert 1 <= len(answer["summary"].split()) <= 6


def test_that_no_held_out_message_is_in_training() -> None:
    seen = {conversation[1]["content"].lower() for conversation in rows("train.jsonl")}
    held_out = [conversation[1]["content"].lower() for conversation in rows("holdout.jsonl")]
    assert not seen.intersection(held_out)
    assert len(set(held_out)) == len(held_out)


def test_that_each_queue_and_each_priority_has_enough_to_learn_from() -> None:
    answers = [json.loads(conversation[2]["content"]) for conversation in rows("train.jsonl")]
    for key, values in (("queue", QUEUES), ("priority", PRIORITIES)):
        for value in values:
            assert sum(a[key] == value for a in answers) >= 60, value


def test_that_the_style_example_has_one_completion_a_prompt() -> None:
    with open(EXAMPLES / "formal" / "formal.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) >= 100
    assert all(row["prompt"] and row["completion"] for row in table)
    assert len({row["prompt"] for row in table}) == len(table)


def test_that_the_example_recipe_is_accepted_and_finds_its_data() -> None:
    folder = EXAMPLES / "support"
    recipe = codec.load(folder / "recipe.yaml")
    codec.refuse_unsupported(recipe)
    assert [(folder / path).is_file() for path in recipe.data.train] == [True]
