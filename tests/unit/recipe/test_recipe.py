"""The one list of options: reading, refusing, overriding, and describing itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EngineError
from engine.recipe import codec
from engine.recipe.fields import field_spec, field_specs, parse_number, parse_text
from engine.recipe.presets import presets
from engine.recipe.recipe import Recipe

ROOT = Path(__file__).resolve().parents[3]


def test_that_a_recipe_survives_writing_and_reading() -> None:
    recipe = codec.override(
        Recipe(),
        {"data.train": ["a.jsonl"], "training.learning_rate": 1e-4, "adapter.rank_pattern": {"q_proj": 4}},
    )
    assert codec.loads(codec.dumps(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "field", "line"),
    [
        ("adapter:\n  rr: 3\n", "adapter.rr", 2),
        ("adapter: {r: 0}\n", "adapter.r", 1),
        ("training:\n  optim: adamax\n", "training.optim", 2),
        ("model: {load_in_4bit: 'yes'}\n", "model.load_in_4bit", 1),
        ("nonsense: 1\n", "nonsense", 1),
        ("data: {max_length: 10}\ndata: {max_length: 20}\n", "data", 2),
        ("evaluation: {eval_steps: 0}\n", "evaluation.eval_steps", 1),
    ],
)
def test_that_a_problem_is_told_with_its_line_and_field(text: str, field: str, line: int) -> None:
    with pytest.raises(EngineError) as caught:
        codec.loads(text, "r.yaml")
    assert (caught.value.code, caught.value.file, caught.value.line) == ("REC-01", "r.yaml", line)
    assert caught.value.field == field and caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1\nb: *x\n",
        "a: !!python/object:os.system x\n",
        "<<: {a: 1}\n",
        "data: {train: [a]\n",
        "- 1\n",
        "x",
        "a: " + "[" * 5000,
    ],
)
def test_that_yaml_beyond_plain_values_is_refused(text: str) -> None:
    with pytest.raises(EngineError) as caught:
        codec.loads(text)
    assert caught.value.code == "REC-01"


def test_that_numbers_and_words_of_yaml_mean_what_people_mean() -> None:
    recipe = codec.loads("training: {learning_rate: 1e-4}\ndata: {system_prompt: no}\n")
    assert recipe.training.learning_rate == 1e-4
    assert recipe.data.system_prompt == "no"


def test_that_warmup_ratio_of_older_recipes_is_read() -> None:
    assert codec.loads("training: {warmup_ratio: 0.1}\n").training.warmup_steps == 0.1


def test_that_relative_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    recipe = codec.loads("data: {train: data/a.jsonl, validation: b.jsonl}\n")
    fixed = codec.absolute(recipe, tmp_path)
    assert fixed.data.train == [str(tmp_path / "data" / "a.jsonl")]
    assert fixed.data.validation == str(tmp_path / "b.jsonl")
    assert fixed.model.path == "starter"


@pytest.mark.parametrize(
    ("text", "value"),
    [("2e-4", 2e-4), ("0.0002", 2e-4), ("2,048", 2048), ("2k", 2000), ("5 %", 0.05), ("1,5", 1.5)],
)
def test_that_numbers_are_read_as_people_paste_them(text: str, value: float) -> None:
    assert parse_number(text) == pytest.approx(value)


@given(st.floats(min_value=1e-8, max_value=1e8, allow_nan=False))
def test_that_every_number_written_plainly_is_read_back(value: float) -> None:
    assert parse_number(repr(value)) == value


def test_that_typed_text_becomes_values() -> None:
    assert parse_text(field_spec("adapter.target_modules"), "q_proj, v_proj") == ["q_proj", "v_proj"]
    assert parse_text(field_spec("evaluation.eval_steps"), "auto") == "auto"
    assert parse_text(field_spec("training.max_steps"), "") is None
    assert parse_text(field_spec("adapter.rank_pattern"), "q_proj: 4") == {"q_proj": 4}
    with pytest.raises(ValueError, match="whole number"):
        parse_text(field_spec("adapter.r"), "3.5")


def test_that_every_field_describes_itself() -> None:
    for spec in field_specs():
        assert spec.label and spec.help.endswith("."), spec.path
        assert spec.level in ("simple", "all", "expert")


def test_that_every_field_is_read_by_some_line_of_the_engine() -> None:
    rooms = [ROOT / "engine" / room for room in ("runtime", "data", "jobs", "runs")]
    files = [p for room in rooms for p in room.rglob("*.py")]
    files += [ROOT / "engine/recipe/schedules.py", ROOT / "engine/plan/pace.py"]
    source = "\n".join(p.read_text("utf-8") for p in files)
    refused = codec.UNSUPPORTED_FIELDS
    for spec in field_specs():
        if spec.path not in refused:
            assert re.search(rf"\.{spec.name}\b", source), f"{spec.path} changes nothing"


@pytest.mark.parametrize("path", sorted(codec.UNSUPPORTED_FIELDS))
def test_that_an_option_of_a_later_version_has_a_remedy(path: str) -> None:
    remedy = next(hint for field, _, hint in codec.UNSUPPORTED if field == path)
    assert remedy.endswith(".")
    assert field_spec(path).path == path


def test_that_presets_are_sound_recipes() -> None:
    found = presets()
    assert [p.name for p in found] == (
        "balanced quick thorough little-memory gentle much-to-learn raw-text few-numbers every-weight".split()
    )
    for preset in found:
        for parameters in (None, 135_000_000, 7_000_000_000):
            values = preset.overrides_for(parameters)
            assert codec.problems(codec.override(Recipe(), values).model_dump()) == []
        assert preset.title and preset.description.endswith(".")
