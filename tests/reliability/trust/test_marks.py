"""Tokenizers whose marks are ordinary text, and what of a tokenizer_config.json goes along with a model."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.data.probe_tokenizer import look
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.models.companions import copy_companion
from engine.models.tokenizer_files import PLAIN_CLASS, rebuild_tokenizer
from tests.reliability.trust.strangers import edit


def tokenizer(tiny: Path, folder: Path, added: list[dict[str, Any]] | None = None, **config: Any) -> Path:
    """Copy the tiny model's tokenizer, with more added tokens and other fields."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny / name, folder / name)
    edit(folder / "tokenizer_config.json", **config)
    if added:
        values = json.loads((folder / "tokenizer.json").read_text())
        switches = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        values["added_tokens"] += [{**switches, "special": True, **each} for each in added]
        (folder / "tokenizer.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize("eos", ["a", "7", "Ġthe"])
def test_m28_that_an_answer_never_ends_at_a_letter_or_a_word(
    tiny_model: Path, tmp_path: Path, eos: str
) -> None:
    with pytest.raises(EngineError, match="eos_token") as told:
        ModelTokenizer(tokenizer(tiny_model, tmp_path / "odd", eos_token=eos))
    assert told.value.code == "MODEL-05"


def test_m28_that_no_letter_is_a_mark_that_texts_would_lose(tiny_model: Path, tmp_path: Path) -> None:
    letter = json.loads((tiny_model / "tokenizer.json").read_text())["model"]["vocab"]["e"]
    folder = tokenizer(tiny_model, tmp_path / "odd", [{"id": letter, "content": "e"}])
    with pytest.raises(EngineError, match="added_tokens") as told:
        ModelTokenizer(folder)
    assert told.value.code == "MODEL-05"


def test_m28_that_an_added_token_has_no_number_of_another_one(tiny_model: Path, tmp_path: Path) -> None:
    folder = tokenizer(tiny_model, tmp_path / "moved", [{"id": 40, "content": "<evil>"}])
    with pytest.raises(EngineError, match="<evil> on the number of") as told:
        look(folder / "tokenizer.json")
    assert told.value.code == "MODEL-05"
    look(tiny_model / "tokenizer.json")


def test_m28_that_a_class_of_its_own_becomes_the_plain_one(tiny_model: Path, tmp_path: Path) -> None:
    stored = {
        "tokenizer_class": "EvilTokenizer",
        "auto_map": {"AutoTokenizer": ["evil.EvilTokenizer", None]},
        "eos_token": {"content": "</s>", "__type": "AddedToken", "special": True, "lstrip": False},
        "added_tokens_decoder": {"2": {"content": "</s>", "special": True}},
        "model_max_length": 1000000000000000019884624838656,
        "sp_model_kwargs": {"evil": 1},
        "padding_side": "evil",
    }
    found = rebuild_tokenizer(stored)
    assert found.values["tokenizer_class"] == PLAIN_CLASS
    assert {"eos_token", "added_tokens_decoder", "model_max_length"} <= found.values.keys()
    assert found.dropped == ("auto_map", "padding_side", "sp_model_kwargs", "tokenizer_class")
    folder = tokenizer(tiny_model, tmp_path / "own", **stored)
    copy_companion(folder / "tokenizer_config.json", tmp_path / "copied.json")
    assert "Evil" not in (tmp_path / "copied.json").read_text()
    copy_companion(tiny_model / "tokenizer_config.json", tmp_path / "same.json")
    assert (tmp_path / "same.json").read_bytes() == (tiny_model / "tokenizer_config.json").read_bytes()


@pytest.mark.parametrize(
    "name", ["LlamaTokenizer", "LlamaTokenizerFast", "Qwen2Tokenizer", "GPT2TokenizerFast"]
)
def test_m28_that_classes_of_transformers_stay(name: str) -> None:
    assert rebuild_tokenizer({"tokenizer_class": name}).values == {"tokenizer_class": name}


def test_m16_that_the_doctor_warns_of_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.doctor import examine

    def told() -> list[dict[str, Any]]:
        return [check for check in examine()["checks"] if check["name"] == "kernels"]

    monkeypatch.delitem(sys.modules, "kernels", raising=False)  # blocked by a test that loaded a model here
    assert told() == []
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "hub" in told()[0]["detail"] and told()[0]["hint"]
