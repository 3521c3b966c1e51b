"""The verb advise on real recipes: what it answers, and that the presets are beyond reproach."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.advice import evidence
from engine.advice.finding import SEVERITIES
from engine.cli import main
from engine.models.facts import look_at
from engine.paths import resources
from engine.recipe import codec
from engine.recipe.presets import presets
from engine.recipe.recipe import Recipe
from tests.unit.advice.situations import LLAMA_7B, QWEN_EXPERTS, SMOLLM

SUPPORT = resources("examples") / "support" / "train.jsonl"
SMALL_QWEN = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}
SIZES = {"starter's shape": SMOLLM, "7B": LLAMA_7B, "small Qwen": SMALL_QWEN}
ROOMY = "48e9"  # bytes of a card that a 7B model in 16 bits leaves room on
FITTING = {"every-weight": "200e9", "little-memory": "8e9"}  # full finetuning needs more, QLoRA less


@pytest.fixture
def shaped(tmp_path: Path, tiny_model: Path) -> Any:
    """Make a model folder of a shape: its config.json beside a real tokenizer, without weights."""

    def make(config: dict[str, Any]) -> Path:
        folder = tmp_path / "shaped"
        folder.mkdir()
        for file in tiny_model.iterdir():
            if file.suffix not in (".safetensors", ".bin") and file.name != "config.json":
                shutil.copy(file, folder)
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Return what `advise --json` answers."""
    code = main(["advise", *words, "--json"])
    out = capsys.readouterr().out
    assert code == 0, out
    found: dict[str, Any] = json.loads(out)
    return found


def written(folder: Path, values: dict[str, Any]) -> str:
    """Write a recipe with some values to a file."""
    file = folder / "recipe.yaml"
    file.write_text(codec.dumps(codec.override(Recipe(), values)))
    return str(file)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [preset.name for preset in presets()])
def test_that_a_preset_earns_no_error_and_no_warning(
    name: str, size: str, shaped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shaped(SIZES[size])
    preset = next(each for each in presets() if each.name == name)
    values = {
        "model.path": str(model),
        "data.train": [str(SUPPORT)],
        **preset.overrides_for(look_at(model).parameters),
    }
    recipe = written(tmp_path, values)
    found = answer(capsys, recipe, "--device-memory", FITTING.get(name, ROOMY))["findings"]
    assert [each for each in found if each["severity"] != "hint"] == []


@pytest.mark.parametrize("name", [preset.name for preset in presets()])
def test_that_a_configuration_alone_is_advised_on_a_card_of_24_gb(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "config-alone"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**LLAMA_7B, "torch_dtype": "bfloat16"}))
    preset = next(each for each in presets() if each.name == name)
    values = {"model.path": str(folder), "data.train": [str(SUPPORT)], **preset.overrides_for(7 * 10**9)}
    recipe = written(tmp_path, values)
    found = answer(capsys, recipe, "--device-memory", "24e9")["findings"]
    grave = [each for each in found if each["severity"] != "hint"]
    if name != "every-weight":
        assert grave == []
        return
    assert [each["rule"] for each in grave] == ["R01"]  # 7 billion weights are not trained on 24 GB
    assert grave[0]["fix"] == {"adapter.method": "lora", "training.learning_rate": 2e-4}
    sets = [word for path, value in grave[0]["fix"].items() for word in ("--set", f"{path}={value}")]
    again = answer(capsys, recipe, *sets, "--device-memory", "24e9")["findings"]
    assert [each for each in again if each["severity"] != "hint"] == []


def test_that_a_measured_skill_without_a_row_is_warned_of(
    shaped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "Where is the key?", "completion": "On the table."}\n' * 60)
    values = {
        "model.path": str(shaped(SMOLLM)),
        "data.train": [str(rows)],
        "evaluation.benchmarks": ["arithmetic_2"],
    }
    recipe = written(tmp_path, values)
    found = answer(capsys, recipe, "--device-memory", "24e9")["findings"]
    said = next(each for each in found if each["rule"] == "R41")
    assert said["message"].startswith("No examples for arithmetic;") and said["evidence"] == ["A16", "S4"]
    with rows.open("a") as file:
        file.write('{"prompt": "How many are 17 + 25?", "completion": "42"}\n')
    found = answer(capsys, recipe, "--device-memory", "24e9")["findings"]
    assert "R41" not in [each["rule"] for each in found]


def test_that_a_plan_notes_what_of_a_mixture_no_adapter_reaches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mixture"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN_EXPERTS))
    recipe = written(tmp_path, {"model.path": str(folder), "data.train": [str(SUPPORT)]})
    assert main(["plan", recipe, "--device-memory", "80e9", "--json"]) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert "attention only" in note and "95 % of the weights" in note


def test_that_findings_are_told_with_fix_and_sources_and_the_fix_ends_them(
    shaped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {
        "model.path": str(shaped(LLAMA_7B)),
        "data.train": [str(SUPPORT)],
        "adapter.r": 256,
        "data.max_length": 2048,
        "training.per_device_train_batch_size": 64,
        "adapter.target_modules": ["q_proj"],
        "training.learning_rate": 0.02,
    }
    recipe = written(tmp_path, values)
    found = answer(capsys, recipe, "--device-memory", "14e9")["findings"]
    assert {"R01", "R25"} <= {each["rule"] for each in found}
    for each in found:
        assert set(each) >= {"rule", "severity", "message", "fix", "evidence"}
        assert each["severity"] in SEVERITIES and all(name in evidence.load() for name in each["evidence"])
    first = next(each for each in found if each["rule"] == "R01")
    sets = [word for path, value in first["fix"].items() for word in ("--set", f"{path}={json.dumps(value)}")]
    again = answer(capsys, recipe, *sets, "--device-memory", "14e9")["findings"]
    assert "R01" not in {each["rule"] for each in again}


def test_that_text_names_the_change_the_source_and_what_puts_it_right(
    shaped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"model.path": str(shaped(LLAMA_7B)), "data.train": [str(SUPPORT)], "model.load_in_4bit": True}
    assert main(["advise", written(tmp_path, values), "--device-memory", "80e9"]) == 0
    told = capsys.readouterr().out
    assert "hint   R03" in told
    assert "--set model.load_in_4bit=false" in told
    assert "A3 (article)" in told and "50.8 %" in told


def test_that_a_recipe_without_data_is_advised_on_what_is_known(
    shaped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written(tmp_path, {"model.path": str(shaped(LLAMA_7B)), "training.learning_rate": 1e-5})
    found = answer(capsys, recipe, "--device-memory", "80e9")["findings"]
    assert [each["rule"] for each in found] == ["R24"]
