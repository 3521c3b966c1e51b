"""For every family of templates: exactly the answers and their ends are trained; ids are transformers'."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data.conversation import Conversation
from engine.data.dataset import prepare
from engine.data.masks import Tokenised, tokenise
from engine.data.measure import Measured, measure
from engine.data.select import select
from engine.data.survey import survey
from engine.data.templates import BUILT_IN, ChatTemplate, load_template, read_special_tokens
from engine.data.tokenizer import ModelTokenizer
from engine.data.told import all_checks
from engine.errors import EngineError
from engine.recipe.data_options import DataOptions
from tests.unit.data import chat_templates as known
from tests.unit.data.chat_templates import FAMILIES, write_model

CASES: dict[str, list[dict[str, Any]]] = {
    "one turn": known.ONE_TURN,
    "many turns": known.MANY_TURNS,
    "system": [known.SYSTEM, *known.ONE_TURN],
    "system, many turns": [known.SYSTEM, *known.MANY_TURNS],
}
CALL = '{"name": "weather", "arguments": {"city": "Köln"}}'
# (template, how the call is written, its end)
WITH_TOOLS = {
    "qwen": (known.QWEN, f"\n<tool_call>\n{CALL}\n</tool_call>", "<|im_end|>"),
    "mistral": (known.MISTRAL_TOOLS, f"[TOOL_CALLS] [{CALL}]", "</s>"),
    "llama3.1": (known.LLAMA31_TOOLS, CALL.replace("arguments", "parameters"), "<|eot_id|>"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> ModelTokenizer:
    return ModelTokenizer(folder)


def template(folder: Path, source: str) -> ChatTemplate:
    return ChatTemplate(source, "tested", read_special_tokens(folder))


def trained(
    conversation: Conversation, chat: ChatTemplate, tokenizer: ModelTokenizer, train_on: str
) -> list[str]:
    """Return the decoded runs of trained tokens, which both passes have to agree on."""
    made = next(tokenise([conversation], chat, tokenizer, train_on))
    fast = next(measure([conversation], chat, tokenizer, train_on))
    assert isinstance(made, Tokenised), made
    assert isinstance(fast, Measured)
    assert (fast.ids, fast.ranges) == (made.ids.tolist(), made.ranges)
    return [tokenizer.decode(fast.ids[a:b]) for a, b in fast.ranges]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_that_each_family_trains_the_answers_and_their_end(
    family: str, case: str, folder: Path, tokenizer: ModelTokenizer
) -> None:
    source, before, after = FAMILIES[family]
    chat, messages = template(folder, source), CASES[case]
    if messages[0]["role"] == "system" and not chat.takes_system:
        pytest.skip("the family has no system message")
    row = Conversation(tuple(messages))
    answers = [before + m["content"] + after for m in messages if m["role"] == "assistant"]
    assert trained(row, chat, tokenizer, "assistant") == answers
    assert trained(row, chat, tokenizer, "last") == answers[-1:]
    assert trained(row, chat, tokenizer, "all") == [tokenizer.decode(tokenizer.encode(chat.render(messages)))]


@pytest.mark.parametrize("family", WITH_TOOLS)
def test_that_calls_and_answers_are_trained_and_results_are_not(
    family: str, folder: Path, tokenizer: ModelTokenizer
) -> None:
    source, call, end = WITH_TOOLS[family]
    row = Conversation(tuple(known.TOOL_TURNS), (known.WEATHER,))
    found = trained(row, template(folder, source), tokenizer, "assistant")
    assert [f.strip() for f in found] == [(call + end).strip(), "It is grey." + end]
    assert [f.strip() for f in trained(row, template(folder, source), tokenizer, "last")] == [
        "It is grey." + end
    ]


def asked_of_transformers(folder: Path, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("transformers_ids.py")), str(folder)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def test_that_ids_and_marked_answers_are_those_of_transformers(
    folder: Path, tokenizer: ModelTokenizer
) -> None:
    sources = {n: f[0] for n, f in FAMILIES.items()} | {
        name: load_template(folder, name).source for name in BUILT_IN
    }
    cases = [
        {"template": source, "messages": messages, "tools": None, "prompt": False}
        for source in sources.values()
        for messages in CASES.values()
        if messages[0]["role"] != "system" or template(folder, source).takes_system
    ]
    with_tools = [*(t[0] for t in WITH_TOOLS.values()), load_template(folder, "qwen").source]
    cases += [
        {"template": source, "messages": known.TOOL_TURNS, "tools": [known.WEATHER], "prompt": False}
        for source in with_tools
    ]
    marked = 0
    for case, expected in zip(cases, asked_of_transformers(folder, cases), strict=True):
        row = Conversation(tuple(case["messages"]), tuple(case["tools"] or ()))
        made = next(measure([row], template(folder, case["template"]), tokenizer))
        assert isinstance(made, Measured), made
        assert made.ids == expected["ids"]
        if expected["mask"]:
            marked += 1
            mask = np.zeros(len(made.ids), dtype=int)
            for first, last in made.ranges:
                mask[first:last] = 1
            assert mask.tolist() == expected["mask"]
    assert marked == len(CASES)


@pytest.mark.parametrize("name", BUILT_IN)
def test_that_our_templates_take_a_system_message(name: str, folder: Path) -> None:
    assert load_template(folder, name).takes_system


def test_that_a_template_without_a_system_message_is_known(folder: Path) -> None:
    assert not template(folder, known.GEMMA).takes_system
    assert template(folder, known.MISTRAL_TOOLS).takes_system
    ignores = (
        "{% for m in messages %}{% if m.role != 'system' %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
    )
    assert not template(folder, ignores).takes_system


def test_d36_that_a_system_message_without_a_place_is_refused_until_it_goes_before_the_question(
    folder: Path, tmp_path: Path
) -> None:
    ignores = (
        "{% for m in messages %}{% if m.role != 'system' %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
    )
    row = {"messages": [known.SYSTEM, *known.ONE_TURN]}
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(row)}\n" * 3, "utf-8")
    data = DataOptions(train=[str(path)], validation_split=0, chat_template=ignores)
    with pytest.raises(EngineError) as caught:
        prepare(data, folder, seed=1)
    assert (caught.value.code, caught.value.line) == ("DATA-05", 1)
    assert "first_question" in caught.value.hint
    found = survey(data, folder)
    checks = all_checks(found, select(found.table, data, 1), data)
    (check,) = [c for c in checks if c.fix == {"data.system_message": "first_question"}]
    assert (check.count, check.severity) == (3, "bad")
    mended = data.model_copy(update={"system_message": "first_question"})
    made = prepare(mended, folder, seed=1)
    assert made.report.train_examples == 3
    text = ModelTokenizer(folder).decode(made.train[0].ids.tolist())
    assert text.startswith(known.SYSTEM["content"])


# Published examples of each format: system "S", question "Q", answer "A".
PUBLISHED = {
    "chatml": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
    "<|im_start|>assistant\nA<|im_end|>\n",
    "qwen": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
    "<|im_start|>assistant\nA<|im_end|>\n",
    "llama2": "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST] A </s>",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>",
    "mistral": "<s>[INST] S\n\nQ [/INST] A</s>",
    "gemma": "<s><start_of_turn>user\nS\n\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n",
    "phi": "<|system|>\nS<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>\nA<|end|>\n",
    "deepseek": "<s>S<｜User｜>Q<｜Assistant｜>A</s>",
    "zephyr": "<|system|>\nS</s>\n<|user|>\nQ</s>\n<|assistant|>\nA</s>\n",
    "vicuna": "S USER: Q ASSISTANT: A</s>",
    "alpaca": "S\n\n### Instruction:\nQ\n\n### Response:\nA</s>\n\n",
    "plain": "S\n\nUser: Q\n\nAssistant: A</s>\n\n",
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_that_our_templates_write_the_published_format(name: str, folder: Path) -> None:
    roles = zip(("system", "user", "assistant"), "SQA", strict=True)
    messages = [{"role": role, "content": words} for role, words in roles]
    chat = load_template(folder, name)
    assert chat.render(messages) == PUBLISHED[name]
    asked = chat.render(messages[:2], add_generation_prompt=True)
    assert PUBLISHED[name].startswith(asked)
    assert PUBLISHED[name][len(asked) :].strip().startswith("A")


def write_rows(path: Path, answers: list[int]) -> Path:
    """Write rows of one turn, each with the weight its answer has."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Question {i}?"},
                {"role": "assistant", "content": f"Answer {i}.", "weight": weight},
            ]
        }
        for i, weight in enumerate(answers)
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    return path


def test_d31_that_a_row_that_trains_nothing_is_listed_and_left_out(folder: Path, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "some.jsonl", [1, 0, 1])
    data = DataOptions(train=[str(path)], validation_split=0, chat_template="chatml")
    made = prepare(data, folder, seed=1)
    assert made.report.train_examples == 2
    found = [p for p in made.report.problems if p.code == "DATA-06"]
    assert [p.line for p in found] == [2]


def test_d31_that_data_that_trains_nothing_at_all_is_refused(folder: Path, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "none.jsonl", [0, 0, 0])
    data = DataOptions(train=[str(path)], validation_split=0, chat_template="chatml")
    with pytest.raises(EngineError) as caught:
        prepare(data, folder, seed=1)
    assert caught.value.code == "DATA-06"
    assert caught.value.line == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_d31_that_a_pad_token_that_is_the_end_token_stays_trained(
    family: str, folder: Path, tokenizer: ModelTokenizer
) -> None:
    source, _, after = FAMILIES[family]
    assert tokenizer.pad_id == tokenizer.eos_id
    row = Conversation(tuple(known.ONE_TURN))
    assert trained(row, template(folder, source), tokenizer, "assistant")[0].endswith(after)
