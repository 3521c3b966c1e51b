"""A .gguf becomes a plain folder: the same model, the same words, and answers that end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.errors import EngineError
from engine.models import library
from engine.models.facts import read_facts
from engine.runtime.chat import answer_once
from engine.runtime.chat_room import ChatRoom
from engine.runtime.generate import Sampling

SCRIPT = Path(__file__).parents[1] / "data" / "make_gguf.py"
TEXT = "Hello, my parcel 123 is late! <|im_start|>user\nGrüße 🙂<|im_end|>\n"


@pytest.fixture(scope="module")
def gguf(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tiny_model), str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def converted(gguf: Path) -> Path:
    return library.resolve_model(str(gguf))


def test_that_the_folder_is_plain_and_the_same_model(converted: Path, tiny_model: Path) -> None:
    ours, original = (AutoModelForCausalLM.from_pretrained(f) for f in (converted, tiny_model))
    ids = torch.arange(3, 60)[None]
    with torch.no_grad():
        assert float((ours(ids).logits - original(ids).logits).abs().max()) < 1e-5
    assert ours.config.tie_word_embeddings
    config = json.loads((converted / "config.json").read_text())
    assert "quantization_config" not in config and "_name_or_path" not in config
    facts, expected = read_facts(converted), read_facts(tiny_model)
    assert facts.parameters == expected.parameters
    assert facts.linears == expected.linears
    assert facts.quantization is None and facts.chat_template


def test_that_words_and_the_end_of_a_turn_are_kept(converted: Path, tiny_model: Path) -> None:
    ours, original = (AutoTokenizer.from_pretrained(folder) for folder in (converted, tiny_model))
    assert ours.encode(TEXT) == original.encode(TEXT)
    assert ours.chat_template == original.chat_template
    assert (
        json.loads((converted / "tokenizer_config.json").read_text())["tokenizer_class"]
        == "PreTrainedTokenizerFast"
    )
    stops = json.loads((converted / "generation_config.json").read_text())["eos_token_id"]
    assert original.convert_tokens_to_ids("<|im_end|>") in stops


def test_that_it_is_converted_once_and_can_be_spoken_to(
    gguf: Path, converted: Path, tiny_model: Path
) -> None:
    made = (converted / "model.safetensors").stat().st_mtime_ns
    reply = answer_once(str(gguf), "Hello", max_new_tokens=4)["replies"][0]
    assert reply["tokens"] > 0
    room = ChatRoom()
    room.load(str(tiny_model), device="cpu")
    told = room.join("c3", str(gguf), device="cpu")  # beside the model that it was made from
    model, who = room.seat("c3")
    answer, fingerprint = model.answer(
        who, [{"role": "user", "content": "Hello"}], Sampling(max_new_tokens=4)
    )
    assert (answer.text, fingerprint) == (reply["text"], told["fingerprint"])
    assert (converted / "model.safetensors").stat().st_mtime_ns == made
    assert sorted(p.name for p in converted.parent.iterdir() if "tiny" in p.name) == [converted.name]


def test_that_a_family_that_is_not_known_is_said_in_words(gguf: Path, tmp_path: Path) -> None:
    strange = tmp_path / "strange.gguf"
    strange.write_bytes(gguf.read_bytes().replace(b"llama", b"lamma"))
    with pytest.raises(EngineError, match="lamma") as told:
        library.resolve_model(str(strange))
    assert told.value.code == "MODEL-05"
    assert not list(tmp_path.glob("*safetensors*"))
