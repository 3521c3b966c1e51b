"""Several speakers on one loaded base, strengths, saved strengths, chances: against peft and each alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from engine.errors import EngineError
from engine.runtime import chat_room
from engine.runtime.chances import BLOCK
from engine.runtime.chat import ChatModel
from engine.runtime.chat_room import ChatRoom
from engine.runtime.generate import Sampling
from tests.data.make_adapters import KINDS, REFUSED
from tests.integration.adapters import make_adapters

# One of each kind of change: sums, magnitudes, singular values, shared matrices, factors, rotations, wholes.
METHODS = ("dora", "adalora", "vera", "ia3", "oft", "coft", "wholeboth", "embedding", "patterns")
LENT = ("biased", "biasedlora")
MESSAGES = [{"role": "user", "content": "Where is my parcel? Answer in one sentence."}]
SHORT = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def adapters(tiny_model: Path) -> Path:
    return make_adapters(tiny_model, *KINDS, *REFUSED)


@pytest.fixture
def room(adapters: Path) -> ChatRoom:
    made = ChatRoom()
    made.load(str(adapters / "plain-adapter"), device="cpu")
    return made


def scores(room: ChatRoom, name: str) -> Tensor:
    """Return what a speaker answers to the row of tokens that make_adapters.py asks with."""
    model, who = room.seat(name)
    with model.adapted.speaking(who), torch.inference_mode():
        found: Tensor = model.adapted.model(input_ids=torch.arange(3, 43)[None], use_cache=False).logits[0]
    return found.float()


def kept(adapters: Path, name: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = load_file(adapters / f"{name}-logits.safetensors")
    return found


def loaded_models(room: ChatRoom) -> int:
    return len({id(seat.model) for seat in room.seats.values() if seat.model is not None})


def test_that_adapters_of_all_methods_share_one_base_and_answer_as_each_does_alone(
    room: ChatRoom, adapters: Path
) -> None:
    base = scores(room, "base")
    assert torch.equal(base, kept(adapters, "plain")["base"])
    for name in METHODS:
        told = room.join(name, str(adapters / f"{name}-adapter"), str(adapters / "plain-base"), device="cpu")
        assert told["shares"] and not told["in_turn"]
    assert loaded_models(room) == 1
    prints = set()
    for name in ("adapter", *METHODS, *reversed(METHODS), "adapter"):
        expected = kept(adapters, "plain" if name == "adapter" else name)["adapter"]
        assert torch.allclose(scores(room, name), expected, atol=2e-5), name
        model, who = room.seat(name)
        answer, fingerprint = model.answer(who, MESSAGES, SHORT)
        prints.add((name, fingerprint))
        assert torch.equal(scores(room, "base"), base), name
    assert len(prints) == len({fingerprint for _, fingerprint in prints}) == len(METHODS) + 1


@pytest.mark.parametrize("name", ["plain", *METHODS, *LENT])
def test_that_a_saved_strength_answers_in_plain_peft_as_it_did_here(
    adapters: Path, name: str, tmp_path: Path
) -> None:
    room = ChatRoom()
    room.load(str(adapters / f"{name}-adapter"), device="cpu")
    base, full = scores(room, "base"), scores(room, "adapter")
    for strength in (0.5, 1.25):
        room.set_strength("adapter", strength)
        here = scores(room, "adapter")
        assert not torch.allclose(here, base, atol=1e-4) and not torch.allclose(here, full, atol=1e-4)
        out = room.save_scaled("adapter", strength, tmp_path / f"x{strength}")
        plain = AutoModelForCausalLM.from_pretrained(adapters / f"{name}-base")
        with torch.inference_mode():
            ids = torch.arange(3, 43)[None]
            there = peft.PeftModel.from_pretrained(plain, out).eval()(input_ids=ids).logits[0]
        assert torch.allclose(here, there, atol=5e-5), (name, strength, float((here - there).abs().max()))
    room.set_strength("adapter", 0.0)
    assert torch.equal(scores(room, "adapter"), base)
    room.set_strength("adapter", 1.0)
    assert torch.equal(scores(room, "adapter"), full)


def test_that_strength_0_says_what_the_base_says_and_1_what_the_adapter_says(room: ChatRoom) -> None:
    def says(name: str, strength: float = 1.0) -> tuple[int, ...]:
        room.set_strength("adapter", strength)
        model, who = room.seat(name)
        return model.answer(who, MESSAGES, Sampling(max_new_tokens=60))[0].ids

    base, adapter = says("base"), says("adapter")
    assert base != adapter
    assert says("adapter", 0.0) == base
    assert says("adapter", 1.0) == adapter
    room.set_strength("adapter", 1.0)
    whole, nothing = scores(room, "adapter"), scores(room, "base")
    far = (whole - nothing).norm()
    room.set_strength("adapter", 0.5)
    half = scores(room, "adapter")
    assert (half - nothing).norm() < far and (whole - half).norm() < far


def test_that_a_saved_strength_is_an_adapter_of_the_library_and_of_its_run(
    room: ChatRoom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from engine.models import library

    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    first, second = (room.save_scaled("adapter", 0.7) for _ in range(2))
    assert first.name == "plain-adapter-x0.70" and second.name == "plain-adapter-x0.70-2"
    assert first in [facts.path for facts in library.list_adapters()]
    assert json.loads((first / "tunesmith.json").read_text())["strength"] == 0.7
    for wrong in (0.0, -1.0, 9.0):
        with pytest.raises(EngineError, match="strength"):
            room.save_scaled("adapter", wrong)


def test_that_a_model_that_does_not_fit_says_so_before_it_is_loaded_and_may_answer_in_turn(
    room: ChatRoom, adapters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {name: scores(room, name) for name in ("base", "adapter")}
    other = str(adapters / "biased-adapter")
    monkeypatch.setattr(chat_room, "free_bytes", lambda compute: 1000)
    with pytest.raises(EngineError, match="beside what is loaded") as told:
        room.join("third", other, device="cpu")
    assert told.value.code == "GPU-01" and "third" not in room.seats
    assert room.join("third", other, device="cpu", in_turn=True)["in_turn"]
    assert torch.allclose(scores(room, "third"), kept(adapters, "biased")["adapter"], atol=2e-5)
    assert loaded_models(room) == 1
    for name, expected in alone.items():
        assert torch.equal(scores(room, name), expected)
        assert loaded_models(room) == 1
    monkeypatch.undo()
    assert not room.join("third", other, device="cpu")["in_turn"]
    assert loaded_models(room) == 2
    room.leave("third")
    assert loaded_models(room) == 1 and set(room.seats) == {"base", "adapter"}


def test_that_an_adapter_that_does_not_fit_leaves_the_others_as_they_were(
    room: ChatRoom, adapters: Path
) -> None:
    before = scores(room, "base"), scores(room, "adapter")
    with pytest.raises(EngineError):
        room.join("third", str(adapters / "biased-adapter"), str(adapters / "plain-base"), device="cpu")
    with pytest.raises(EngineError):
        room.join("base", str(adapters / "plain-adapter"), device="cpu")
    assert torch.equal(scores(room, "base"), before[0]) and torch.equal(scores(room, "adapter"), before[1])


def test_that_chances_are_those_of_the_plain_model_and_spell_the_answer(
    room: ChatRoom, adapters: Path
) -> None:
    model, who = room.seat("base")
    text = "Grüße, the parcel is under way; 日本語 too. " * 4
    ids = model.tokenizer.encode(text)
    assert len(ids) > BLOCK
    found = model.chances(who, MESSAGES, ids)
    plain = AutoModelForCausalLM.from_pretrained(adapters / "plain-base")
    prompt = model.prompt_ids(MESSAGES)
    with torch.inference_mode():
        rows = plain(input_ids=torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
    expected = rows.softmax(-1)
    for row, (token, chance) in enumerate(zip(ids, found, strict=True)):
        assert chance.chance == pytest.approx(float(expected[row, token]), abs=1e-5)
        assert len(chance.likeliest) == 5
        shares = [share for _, share in chance.likeliest]
        assert shares == sorted(shares, reverse=True) and shares[0] >= chance.chance - 1e-6
        assert chance.place == 1 + int((expected[row] > expected[row, token]).sum())
    assert "".join(chance.text for chance in found) == text


def test_that_another_template_is_heard_by_all_and_one_that_nobody_named_is_called_a_guess(
    room: ChatRoom, adapters: Path, tmp_path: Path, tiny_model: Path
) -> None:
    import shutil

    trained = room.seat("adapter")[0].prompt_text("adapter", MESSAGES)
    room.use_template("alpaca")
    assert room.seat("adapter")[0].prompt_text("base", MESSAGES) != trained
    room.use_template(None)
    assert room.seat("adapter")[0].prompt_text("adapter", MESSAGES) == trained
    with pytest.raises(EngineError, match="no chat template"):
        room.use_template("pirate")
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model, bare)
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    settings: dict[str, Any] = json.loads((bare / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    model = ChatRoom().load(str(bare), device="cpu")
    assert model.describe()["template_guessed"]
    assert not ChatModel(room.seats["base"].target, device="cpu").describe()["template_guessed"]
