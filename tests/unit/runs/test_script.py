"""The source of a run's script: values stay data, formatters leave it as it is, what cannot be is refused."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import card, script, script_facts
from engine.runs.script_model import optimizer_source, schedule_source
from engine.runs.script_text import assign, literal, quoted, words

TEXTS = [
    "",
    "plain",
    "it's",
    'say "it"',
    'say "it", it\'s',
    '"""',
    "'''",
    "\\",
    "\\n",
    "a\nb\r\n\tc",
    "\x00\x07\x7f\x85\xa0",
    "\u2028\u202e\ufeff\ud800",
    "Grüße 你好 🙂 \U000f0001",
    "{x} {{ y }} %s {% z %}",
    "# no comment\nimport os",
    "word " * 40,
    "line one\nline two is much longer than a line of the script may be, 'so' it is cut\n\n\"end\"",
]


@pytest.mark.parametrize("text", TEXTS)
def test_that_a_text_comes_back_from_its_literal(text: str) -> None:
    assert ast.literal_eval(quoted(text)) == text
    assert quoted(text).isprintable()
    tree = ast.parse(assign("NAME", text))
    assert len(tree.body) == 1 and isinstance(tree.body[0], ast.Assign)
    assert ast.literal_eval(tree.body[0].value) == text


def test_that_values_come_back_and_a_formatter_leaves_them_alone(tmp_path: Path) -> None:
    plain = [t for t in TEXTS if "\ud800" not in t]
    values: list[Any] = [
        *plain,
        plain,
        {"a": [1, 2.5, None, True], "b": {"c": (1,), "d": ()}},
        list(range(60)),
        {f"layers.{i}.self_attn.q_proj": i for i in range(9)},
        ("one", ["two"]),
        1e-08,
        -3,
    ]
    assert [ast.literal_eval(literal(value)) for value in values] == values
    path = tmp_path / "values.py"
    path.write_text("".join(assign(f"VALUE_{i}", value) + "\n" for i, value in enumerate(values)))
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--no-cache", "--diff", str(path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("text", TEXTS)
def test_that_words_of_a_person_cannot_end_a_docstring(text: str) -> None:
    assert not set(words(text)) & set("\"'\\\n\r{}#")


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("adapter.method", {"adapter.method": "adalora"}),
    ("adapter.init_lora_weights", {"adapter.init_lora_weights": "eva"}),
    (
        "adapter.rank_pattern",
        {
            "adapter.init_lora_weights": "olora",
            "adapter.use_rslora": True,
            "adapter.rank_pattern": {"q_proj": 2},
        },
    ),
    ("launcher.strategy", {"launcher.strategy": "fsdp", "launcher.processes": 2}),
    ("training.neftune_noise_alpha", {"training.neftune_noise_alpha": 5.0}),
    ("training.optim", {"training.optim": "muon", "training.loraplus_lr_ratio": 4.0}),
]


@pytest.mark.parametrize(("field", "options"), REFUSED)
def test_that_what_no_script_can_repeat_is_refused_by_name(field: str, options: dict[str, Any]) -> None:
    recipe = codec.override(Recipe(), options)
    with pytest.raises(EngineError, match="no stand-alone script") as refusal:
        script_facts.refuse(recipe)
    assert refusal.value.code == "REC-01" and refusal.value.field == field
    assert "Reproduce" not in card.model_card(recipe, "run-1", 60, 1.0, {})


def test_that_the_card_names_the_command_that_repeats_the_run() -> None:
    text = card.model_card(Recipe(), "a run; rm x", 60, 1.0, {})
    assert "tunesmith script 'a run; rm x' --out train.py" in text


def test_that_a_run_that_has_not_begun_is_refused(tmp_path: Path) -> None:
    from engine.runs import store

    recipe = codec.override(Recipe(), {"data.train": ["rows.jsonl"]})
    with pytest.raises(EngineError, match="no rows and no model yet") as refusal:
        script.write_script(store.create_run(recipe, tmp_path / "run"), tmp_path / "train.py")
    assert refusal.value.code == "RUN-05" and not (tmp_path / "train.py").exists()


@pytest.mark.parametrize("optim", ["adamw", "adamw_8bit", "paged_adamw", "adafactor", "lion", "muon", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "warmup_stable_decay", "polynomial"])
def test_that_every_optimizer_and_schedule_is_python(optim: str, schedule: str) -> None:
    options = {"training.optim": optim, "training.lr_scheduler_type": schedule, "training.adam_beta2": 0.95}
    recipe = codec.override(Recipe(), options)
    ast.parse(f"def main():\n{optimizer_source(recipe)}\n{schedule_source(recipe, 40)}\n")
