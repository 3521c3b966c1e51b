"""Chat: the words of transformers' own generate, from one loaded model, over the child's pipes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.errors import EngineError
from engine.jobs.process import child_command, child_environment
from engine.runtime.chat import ChatModel, answer_once
from engine.runtime.generate import Sampling, TextStream, generate
from engine.runtime.target import resolve_target
from tests.integration.adapters import make_adapters

QUESTION = "Where is my parcel? Answer in one sentence."
MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": QUESTION}]
LONG = Sampling(max_new_tokens=40)


@pytest.fixture(scope="session")
def adapters(tiny_model: Path) -> Path:
    return make_adapters(tiny_model)


@pytest.fixture(scope="module")
def chat_model(adapters: Path) -> ChatModel:
    return ChatModel(resolve_target(str(adapters / "plain-adapter")), device="cpu")


def greedy(model: Any, tokenizer: Any, messages: list[dict[str, str]], count: int) -> list[int]:
    ids = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    with torch.no_grad():
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            do_sample=False,
            pad_token_id=0,
        )
    return [int(i) for i in out[0, ids.shape[1] :]]


def test_that_greedy_answers_are_those_of_transformers_token_for_token(
    chat_model: ChatModel, adapters: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(adapters / "plain-base")
    plain = AutoModelForCausalLM.from_pretrained(adapters / "plain-base")
    expected = {"base": greedy(plain, tokenizer, MESSAGES, 40)}
    adapted = PeftModel.from_pretrained(plain, adapters / "plain-adapter").eval()
    expected["adapter"] = greedy(adapted, tokenizer, MESSAGES, 40)
    assert expected["base"] != expected["adapter"]
    for who, ids in expected.items():
        answer, _ = chat_model.answer(who, MESSAGES, LONG)
        ended = ids[-1] == tokenizer.eos_token_id
        assert list(answer.ids) == (ids[:-1] if ended else ids)
        assert answer.ended == ("eos" if ended else "length")


def test_that_base_and_adapter_have_their_own_fingerprints_whoever_speaks_first(
    chat_model: ChatModel,
) -> None:
    said = {}
    for who in ("adapter", "base", "base", "adapter"):
        answer, fingerprint = chat_model.answer(who, MESSAGES, LONG)
        assert said.setdefault((who, fingerprint), answer.ids) == answer.ids
    assert len(said) == 2
    (_, base), (_, adapter) = sorted(said, key=lambda key: key[0] != "base")
    assert adapter.startswith(base + "+")


def test_that_strength_zero_is_the_base_and_a_half_is_neither(chat_model: ChatModel) -> None:
    ids = chat_model.prompt_ids(MESSAGES)

    def scores(who: str, strength: float) -> torch.Tensor:
        chat_model.adapted.set_strength(strength)
        with chat_model.adapted.speaking(who), torch.no_grad():
            return chat_model.adapted.model(torch.tensor([ids])).logits

    base = scores("base", 1.0)
    assert torch.equal(scores("adapter", 0.0), base)
    half, full = scores("adapter", 0.5), scores("adapter", 1.0)
    assert not torch.equal(half, base) and not torch.equal(half, full)
    assert torch.equal(scores("adapter", 1.0), full)


def test_that_a_seed_repeats_an_answer_and_another_does_not(chat_model: ChatModel) -> None:
    lively = [Sampling(temperature=1.5, top_p=0.98, max_new_tokens=24, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (chat_model.answer("base", MESSAGES, s)[0].ids for s in lively)
    assert first == again != other


def test_that_top_k_1_is_greedy_and_a_penalty_changes_what_repeats(chat_model: ChatModel) -> None:
    greedy_ids = chat_model.answer("base", MESSAGES, LONG)[0].ids
    one = Sampling(temperature=1.0, top_k=1, max_new_tokens=40, seed=3)
    narrow = Sampling(temperature=1.0, top_p=0.001, max_new_tokens=40, seed=3)
    assert chat_model.answer("base", MESSAGES, one)[0].ids == greedy_ids
    assert chat_model.answer("base", MESSAGES, narrow)[0].ids == greedy_ids
    penalised = chat_model.answer("base", MESSAGES, Sampling(repetition_penalty=5.0, max_new_tokens=40))[
        0
    ].ids
    assert penalised != greedy_ids


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.5}, {"max_new_tokens": 0}, {"repetition_penalty": 0}],
)
def test_that_sampling_out_of_bounds_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(EngineError) as told:
        Sampling(**wrong)  # type: ignore[arg-type]
    assert told.value.field == next(iter(wrong))


@pytest.mark.parametrize("text", ["Grüße, 日本語 und 👩‍👩‍👧 mit \u0301 Ende", "a\ufffdb", "", "🙂" * 5])
def test_that_streamed_text_never_holds_a_part_of_a_character(chat_model: ChatModel, text: str) -> None:
    decode = lambda ids: chat_model.tokenizer.decode(ids, skip_special_tokens=True)  # noqa: E731
    stream, pieces = TextStream(decode), []
    for token in chat_model.tokenizer.encode(text):
        piece = stream.push(token)
        assert "\ufffd" not in piece or "\ufffd" in text
        pieces.append(piece)
    pieces.append(stream.rest())
    assert "".join(pieces) == text


def test_that_an_answer_can_be_stopped_between_tokens(chat_model: ChatModel) -> None:
    told: list[int] = []
    answer, _ = chat_model.answer(
        "base", MESSAGES, Sampling(max_new_tokens=200), lambda text, n: told.append(n), lambda: len(told) >= 3
    )
    assert answer.ended in ("stopped", "eos")
    assert len(answer.ids) < 20


def test_that_a_conversation_longer_than_the_model_says_so(chat_model: ChatModel) -> None:
    with pytest.raises(EngineError, match="512") as told:
        generate(chat_model.adapted.model, [5] * 600, LONG, stops=frozenset(), decode=str)
    assert told.value.code == "MODEL-05"


def test_that_one_answer_carries_the_contracts_fields(adapters: Path) -> None:
    told = answer_once(str(adapters / "plain-adapter"), QUESTION, compare_base=True, max_new_tokens=8)
    base, adapter = told["replies"]
    assert (base["who"], adapter["who"]) == ("base", "adapter")
    assert base["target"] == "plain-base" and adapter["target"] == "plain-adapter"
    for reply in told["replies"]:
        assert set(reply) >= {"target", "text", "tokens", "seconds", "ended", "fingerprint"}
        assert 0 < reply["tokens"] <= 8


class Child:
    """A chat child on its real pipes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            child_command(["chat-child"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
        )

    def say(self, **message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, *kinds: str) -> dict[str, Any]:
        """Return the next message of one of these kinds; every line is one JSON object."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            message: dict[str, Any] = json.loads(line)
            if message["type"] in kinds:
                return message
        raise AssertionError("the child ended")

    def end(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(120)


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    made = Child()
    yield made
    assert made.end() == 0


def test_that_the_child_loads_streams_and_tells_who_answered(child: Child, adapters: Path) -> None:
    child.say(command="load", id="l", target=str(adapters / "plain-adapter"), device="cpu")
    loaded = child.hear("loaded", "failed")
    assert loaded["adapter"] == "plain-adapter" and loaded["base"] == "plain-base"
    for who in ("adapter", "base"):
        child.say(command="generate", id=who, who=who, messages=MESSAGES, sampling={"max_new_tokens": 12})
    for who in ("adapter", "base"):
        text = ""
        while (message := child.hear("token", "done", "failed"))["type"] == "token":
            assert message["id"] == who
            text += message["text"]
        assert (message["id"], message["text"]) == (who, text)
        assert message["fingerprint"] == loaded["fingerprints"][who]


def test_that_the_child_stops_what_it_says_and_goes_on(child: Child) -> None:
    child.say(command="generate", id="a", who="base", messages=MESSAGES, sampling={"max_new_tokens": 400})
    child.say(command="generate", id="b", who="adapter", messages=MESSAGES, sampling={"max_new_tokens": 400})
    child.hear("token", "done")
    child.say(command="stop")
    for identity in ("a", "b"):
        done = child.hear("done")
        assert done["id"] == identity
        assert done["ended"] in ("stopped", "eos") and done["tokens"] < 400
    child.say(command="generate", id="c", who="base", messages=MESSAGES, sampling={"max_new_tokens": 2})
    assert child.hear("done")["tokens"] == 2


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"command": "load", "target": "/no/where"}, "RUN-03"),
        ({"command": "generate", "who": "base", "messages": []}, "REC-01"),
        ({"command": "generate", "who": "base", "messages": [{"role": "pirate", "content": "x"}]}, "REC-01"),
        ({"command": "generate", "who": "base", "messages": MESSAGES, "sampling": {"top_p": 7}}, "REC-01"),
        ({"command": "generate", "who": "base", "messages": MESSAGES, "sampling": {"top_p": "x"}}, "REC-01"),
    ],
)
def test_that_the_child_tells_what_is_wrong_and_lives(
    child: Child, message: dict[str, Any], code: str
) -> None:
    child.say(id="wrong", **message)
    failed = child.hear("failed", "done", "loaded")
    assert (failed["type"], failed["code"], failed["id"]) == ("failed", code, "wrong")
    assert failed["message"]
