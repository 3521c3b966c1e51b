"""YAML from strangers: read as plain values within bounds, and only by the two readers that do so."""

from __future__ import annotations

import os
import random
import tracemalloc
from pathlib import Path

import pytest

from engine import plain_yaml
from engine.errors import EngineError
from engine.recipe import codec
from tests.architecture.source import sources

BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
# name: (text, line, what the message says)
HOSTILE = {
    "tag": ("name: !!python/object/apply:os.system [id]\n", 1, "tag"),
    "own-tag": ("%TAG ! tag:x,1:\n---\nname: !y z\n", 3, "tag"),
    "alias-bomb": (BOMB, 1, "anchors"),
    "merge": ("data:\n  <<: {max_length: 2}\n", 2, "merges"),
    "twice": ("training:\n  seed: 1\n  seed: 2\n", 3, "twice"),
    "deep": ("name: " + "[" * 20_000, 1, "nest"),
    "deep-blocks": ("".join(" " * n + "a:\n" for n in range(600)), 9, "nested"),
    "two-documents": ("name: a\n---\nname: b\n", 2, "two documents"),
    "endless-number": ("training: {seed: " + "9" * 5_000 + "}\n", 1, "no number"),
    "beyond-numbers": ("training: {learning_rate: 1.0e999}\n", 1, "no number"),
    "large": ("name: " + "x" * 300_000, None, "256 KiB"),
    "key-is-a-list": ("? [a, b]\n: c\n", 1, "key"),
    "nul": ("name: a\0b\n", None, "cannot be read"),
    "cut": ("data: {train: [a\n", 2, "cannot be read"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_m34_that_yaml_of_strangers_is_refused_with_its_line(name: str) -> None:
    text, line, words = HOSTILE[name]
    tracemalloc.start()
    try:
        with pytest.raises(EngineError) as caught:
            codec.loads(text, "/there/recipe.yaml")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    error = caught.value
    assert error.code == "REC-01" and error.hint and error.file == "/there/recipe.yaml"
    assert words in error.message
    assert error.line == line
    assert most < 32 << 20, "it grew while it was read"


def test_m34_that_words_and_numbers_mean_what_people_mean() -> None:
    values, lines = plain_yaml.read("a: 1e-4\nb: no\nc: 017\nd: 2024-01-01\ne: 'true'\nf: 1:30\ng: ~\n")
    assert values == {"a": 1e-4, "b": "no", "c": 17, "d": "2024-01-01", "e": "true", "f": "1:30", "g": None}
    assert lines["e"] == 5


def test_m34_that_every_text_comes_back_as_it_was() -> None:
    chance = random.Random(7)
    odd = list(":-#'\"e1._+x0!&*<=~{[,]}|>%@`? \t\r\n") + [
        "\x1b",
        "\x85",
        "\u2028",
        "\ufeff",
        "\udcff",
        "é",
        "ש",
        "🙂",
    ]
    words = ["1e-4", "no", "017", "1:30", "null", "<<", "0x1F", ".5", "+1e5", "- x", "true", "---", "..."]
    for _ in range(600):
        text = (
            chance.choice(words)
            if chance.random() < 0.1
            else "".join(chance.choices(odd, k=chance.randrange(9)))
        )
        values = {"a": text, "b": [text, 1.5, None], "c": {text: True}}
        assert plain_yaml.read(plain_yaml.dump(values))[0] == values


def test_m34_that_a_recipe_with_odd_names_comes_back_as_it_was() -> None:
    recipe = codec.from_values(
        {"name": "1e-4", "data": {"train": ["=1+1", "a\udcff.jsonl"], "system_prompt": "no\x85"}}
    )
    assert codec.loads(codec.dumps(recipe)) == recipe


def test_m34_that_yaml_is_read_by_the_two_bounded_readers_only() -> None:
    allowed = {"engine/plain_yaml.py", "engine/data/yaml_rows.py"}
    found = [
        s.name
        for s in sources("app", "engine", "launch.py")
        for i in s.imports()
        if i.module.split(".")[0] == "yaml"
    ]
    # A script that repeats a run stands alone: it writes YAML nowhere and reads none.
    assert set(found) == allowed


def test_m34_that_the_head_of_a_strangers_card_cannot_grow(tmp_path: Path) -> None:
    from engine.advice.skills import _tags

    card = tmp_path / "README.md"
    card.write_text(f"---\n{BOMB}tags: [code]\n---\n# A model\n", encoding="utf-8")
    assert _tags(card) == ()
    card.write_text("---\nlicense: mit\ntags: [code, no]\n---\n# A model\n", encoding="utf-8")
    os.utime(card, ns=(1, 1))
    assert _tags(card) == ("code", "no")
