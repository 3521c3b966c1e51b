"""Chat templates render as transformers renders them, and exactly the answers are trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data.conversation import Conversation
from engine.data.masks import Tokenised, end_of_turn_id, segments, tokenise
from engine.data.templates import BUILT_IN, ChatTemplate, load_template, read_special_tokens
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from tests.unit.data import chat_templates as known
from tests.unit.data.chat_templates import FAMILIES, write_model, write_word_model

CASES: dict[str, list[dict[str, Any]]] = {
    "one turn": known.ONE_TURN,
    "many turns": known.MANY_TURNS,
    "system": [known.SYSTEM, *known.ONE_TURN],
    "system, many turns": [known.SYSTEM, *known.MANY_TURNS],
}
NO_SYSTEM = {"gemma"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> ModelTokenizer:
    return ModelTokenizer(folder)


def template(folder: Path, source: str) -> ChatTemplate:
    return ChatTemplate(source, "tested", read_special_tokens(folder))


def tokens(
    conversation: Conversation,
    chat_template: ChatTemplate,
    tokenizer: ModelTokenizer,
    train_on: str = "assistant",
) -> Tokenised:
    made = next(tokenise([conversation], chat_template, tokenizer, train_on))
    assert isinstance(made, Tokenised), made
    return made


def pieces(made: Tokenised, tokenizer: ModelTokenizer) -> list[str]:
    """Return the decoded runs of trained tokens."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], made.trained, [False]]).astype(int)))
    return [tokenizer.decode(made.ids[a:b].tolist()) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize(
    ("family", "case"),
    [(f, c) for f in FAMILIES for c in CASES if not (f in NO_SYSTEM and c.startswith("system"))],
)
def test_that_trained_tokens_are_the_answers_and_their_end(
    family: str, case: str, folder: Path, tokenizer: ModelTokenizer
) -> None:
    source, before, after = FAMILIES[family]
    messages = CASES[case]
    made = tokens(Conversation(tuple(messages)), template(folder, source), tokenizer)
    answers = [m["content"] for m in messages if m["role"] == "assistant"]
    assert pieces(made, tokenizer) == [before + a + after for a in answers]


@pytest.mark.parametrize("family", FAMILIES)
def test_that_train_on_last_takes_only_the_last_answer(
    family: str, folder: Path, tokenizer: ModelTokenizer
) -> None:
    source, before, after = FAMILIES[family]
    made = tokens(Conversation(tuple(known.MANY_TURNS)), template(folder, source), tokenizer, "last")
    assert pieces(made, tokenizer) == [before + "Four." + after]


def test_that_train_on_all_takes_every_token(folder: Path, tokenizer: ModelTokenizer) -> None:
    made = tokens(Conversation(tuple(known.ONE_TURN)), template(folder, known.CHATML), tokenizer, "all")
    assert made.trained.all()


def test_that_a_thought_the_template_moves_does_not_shift_the_mask(
    folder: Path, tokenizer: ModelTokenizer
) -> None:
    made = tokens(Conversation(tuple(known.MANY_TURNS)), template(folder, known.QWEN3), tokenizer)
    assert pieces(made, tokenizer) == [
        "Hello 😀, how can I help?<|im_end|>",
        "Four.\n\nIt is 4.<|im_end|>",
        "<think>\n\n</think>\n\nFour.<|im_end|>",
    ]


def test_that_tool_calls_are_trained_and_tool_results_are_not(
    folder: Path, tokenizer: ModelTokenizer
) -> None:
    conversation = Conversation(tuple(known.TOOL_TURNS), (known.WEATHER,))
    made = tokens(conversation, template(folder, known.QWEN), tokenizer)
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call><|im_end|>'
    assert [p.lstrip() for p in pieces(made, tokenizer)] == [call, "It is grey.<|im_end|>"]


def test_that_a_template_without_tools_still_shows_them(folder: Path, tokenizer: ModelTokenizer) -> None:
    conversation = Conversation(tuple(known.TOOL_TURNS), (known.WEATHER,))
    made = tokens(conversation, template(folder, known.CHATML), tokenizer)
    assert '"name": "weather"' in made.text.split("<|im_start|>user")[0]
    assert '"city": "Köln"' in pieces(made, tokenizer)[0]


def test_that_a_message_of_weight_zero_is_not_trained(folder: Path, tokenizer: ModelTokenizer) -> None:
    conversation = Conversation(tuple(known.MANY_TURNS), untrained=frozenset({1, 3}))
    made = tokens(conversation, template(folder, known.CHATML), tokenizer)
    assert pieces(made, tokenizer) == ["Four.<|im_end|>"]


def test_that_ids_are_those_of_transformers(folder: Path, tokenizer: ModelTokenizer) -> None:
    cases = [
        {"template": source, "messages": messages, "tools": None, "prompt": prompt}
        for family, source in {**{n: f[0] for n, f in FAMILIES.items()}, "qwen3": known.QWEN3}.items()
        for messages in CASES.values()
        for prompt in (False, True)
        if not (messages[0]["role"] == "system" and family in NO_SYSTEM)
    ]
    tools = {"template": known.QWEN, "messages": known.TOOL_TURNS, "tools": [known.WEATHER], "prompt": False}
    cases.append(tools)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("transformers_ids.py")), str(folder)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for case, expected in zip(cases, json.loads(done.stdout), strict=True):
        chat = template(folder, case["template"])
        text = chat.render(case["messages"], case["tools"], case["prompt"])
        assert text == expected["text"]
        assert tokenizer.encode(text) == expected["ids"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_that_our_own_templates_train_the_answer_and_an_end(
    name: str, folder: Path, tokenizer: ModelTokenizer
) -> None:
    chat = load_template(folder, name)
    made = tokens(Conversation((known.SYSTEM, *known.MANY_TURNS)), chat, tokenizer)
    end = end_of_turn_id(chat, tokenizer)
    assert end is not None
    answers = [m["content"] for m in known.MANY_TURNS if m["role"] == "assistant"]
    blank = " " if name == "llama2" else ""  # its published form has one before the end
    closed = [a + blank + tokenizer.decode([end]) for a in answers]
    assert [p.strip() for p in pieces(made, tokenizer)] == closed


def test_that_a_base_model_without_template_gets_a_sound_default(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "base", template=None)
    assert load_template(folder).name == "chatml"
    text = (folder / "tokenizer.json").read_text("utf-8")
    (folder / "tokenizer.json").write_text(text.replace("<|im_start|>", "<|other|>"), "utf-8")
    chat = load_template(folder)
    assert chat.name == "plain"
    asked = chat.render(known.ONE_TURN[:1], add_generation_prompt=True)
    assert chat.render(known.ONE_TURN).startswith(asked)


def test_that_an_unknown_template_is_refused_by_its_field(folder: Path) -> None:
    with pytest.raises(EngineError) as caught:
        load_template(folder, "nonsense")
    assert (caught.value.code, caught.value.field) == ("REC-01", "data.chat_template")


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(t='xxxxxxxx') %}"
        "{% for i in range(64) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t }}",
        "{{ 'x' * 100000000000 }}",
        "{{ messages.__class__.__mro__ }}{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ raise_exception('no') }}",
        "{% for message in messages %}{{ message['nothing'] + 'x' }}{% endfor %}",
        "x" * 100_000,
        "{% if %}",
    ],
)
def test_that_a_hostile_or_broken_template_is_stopped(source: str, folder: Path) -> None:
    with pytest.raises(EngineError) as caught:
        template(folder, source).render(known.ONE_TURN)
    assert caught.value.code == "MODEL-06"


def test_that_raw_text_ends_with_the_end_token_and_is_all_trained(
    folder: Path, tokenizer: ModelTokenizer
) -> None:
    chat = template(folder, known.CHATML)
    whole = tokens(Conversation(text="Once upon a time"), chat, tokenizer)
    assert whole.trained.all()
    assert whole.ids[-1] == tokenizer.eos_id
    part = tokens(Conversation(text="Once upon a time", continues=True), chat, tokenizer)
    assert part.ids[-1] != tokenizer.eos_id


def test_that_segments_put_together_are_the_text(folder: Path, tokenizer: ModelTokenizer) -> None:
    made = tokens(Conversation(tuple(known.MANY_TURNS)), template(folder, known.LLAMA3), tokenizer)
    parts = segments(made)
    assert "".join(p["text"] for p in parts) == made.text
    assert [p["text"] for p in parts if p["trained"]][0] == "Hello 😀, how can I help?<|eot_id|>"


def test_that_encoding_adds_nothing_and_decoding_gives_it_back(tokenizer: ModelTokenizer) -> None:
    text = "Hello 😀 there\n\tand <|im_end|> again"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode_batch([text, "a"]) == [tokenizer.encode(text), tokenizer.encode("a")]
    assert "<|im_end|>" not in tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True)
    assert len(tokenizer.fingerprint) == 64


def test_that_a_folder_without_a_fast_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        ModelTokenizer(tmp_path)
    assert caught.value.code == "MODEL-05"
    (tmp_path / "tokenizer.json").write_text("{", "utf-8")
    with pytest.raises(EngineError) as caught:
        ModelTokenizer(tmp_path)
    assert caught.value.code == "MODEL-06"


@pytest.mark.parametrize("metaspace", [True, False])
@pytest.mark.parametrize("family", ["llama2", "chatml", "mistral", "alpaca"])
def test_that_masks_hold_for_tokenizers_of_words_and_bytes(
    metaspace: bool, family: str, tmp_path: Path
) -> None:
    folder = write_word_model(tmp_path / "words", metaspace)
    words = ModelTokenizer(folder)
    source, before, after = FAMILIES[family]
    made = tokens(Conversation(tuple(known.MANY_TURNS)), template(folder, source), words)
    parts = segments(made)
    assert "".join(p["text"] for p in parts) == made.text
    answers = [m["content"] for m in known.MANY_TURNS if m["role"] == "assistant"]
    assert [p["text"] for p in parts if p["trained"]] == [before + a + after for a in answers]
    raw = tokens(Conversation(text="Hello there"), template(folder, source), words)
    assert (words.token(int(raw.ids[0])), words.token(int(raw.ids[-1]))) == ("<s>", "</s>")
