"""The format of a file is found with its reason, and every row becomes a conversation or a finding."""

from __future__ import annotations

from typing import Any

import pytest

from engine.data.conversation import Conversation
from engine.data.mapping import ConversationOptions, Mapping, choose, guess, to_conversation
from engine.data.rows import Finding, Row
from engine.errors import EngineError

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
HUMAN = {"from": "human", "value": "Hi"}
GPT = {"from": "gpt", "value": "Hello"}


def convert(value: Any, mapping: Mapping | None = None, system: str | None = None) -> Conversation | Finding:
    mapping = mapping or guess([value])
    return to_conversation(Row(value, 7), mapping, ConversationOptions("/d/a.jsonl", "a.jsonl", system))


def turns(value: Any, mapping: Mapping | None = None, system: str | None = None) -> list[tuple[str, str]]:
    made = convert(value, mapping, system)
    assert isinstance(made, Conversation), made
    return [(m["role"], m["content"]) for m in made.messages]


HI = [("user", "Hi"), ("assistant", "Hello")]


@pytest.mark.parametrize(
    ("row", "format", "expected"),
    [
        ({"messages": [USER, ANSWER]}, "messages", HI),
        ({"chat": [USER, ANSWER], "id": 3}, "messages", HI),
        ({"conversations": [HUMAN, GPT]}, "sharegpt", HI),
        ({"conversations": [HUMAN, GPT], "system": "S"}, "sharegpt", [("system", "S"), *HI]),
        ({"instruction": "Hi", "input": "", "output": "Hello"}, "alpaca", HI),
        (
            {"instruction": "Do", "input": "this", "output": "Ok"},
            "alpaca",
            [("user", "Do\n\nthis"), ("assistant", "Ok")],
        ),
        ({"instruction": "Hi", "instances": [{"input": "", "output": "Hello"}]}, "alpaca", HI),
        ({"instruction": "Hi", "context": "", "response": "Hello"}, "alpaca", HI),
        ({"prompt": "Hi", "completion": "Hello"}, "prompt_completion", HI),
        ({"question": "Hi", "answer": "Hello", "id": "x"}, "prompt_completion", HI),
        ({"Question": "Hi", "Best Answer": "Hello"}, "prompt_completion", HI),
        ({"text": "Hi", "category": "Hello"}, "prompt_completion", HI),
        ({"question": "Hi", "query": "Hello", "db_id": "c"}, "prompt_completion", HI),
        ({"column_1": "Hi", "column_2": "Hello"}, "prompt_completion", HI),
        ({"toy_input": "Hi", "toy_output": "Hello", "toy_n": "1"}, "prompt_completion", HI),
        ({"prompt": [USER], "completion": [ANSWER]}, "prompt_completion", HI),
        ({"prompt": "Hi", "chosen": "Hello", "rejected": "No"}, "preference", HI),
        ({"conversations": [HUMAN], "chosen": GPT, "rejected": GPT}, "preference", HI),
        ({"chosen": [USER, ANSWER], "rejected": [USER, ANSWER]}, "preference", HI),
        ({"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "x"}, "preference", HI),
        (
            {"input": {"messages": [USER]}, "preferred_output": [ANSWER], "non_preferred_output": [ANSWER]},
            "preference",
            HI,
        ),
    ],
)
def test_that_a_row_is_recognised(row: dict[str, Any], format: str, expected: list[tuple[str, str]]) -> None:
    mapping = guess([row, row])
    assert mapping.format == format
    assert mapping.reason
    assert turns(row, mapping) == expected


def test_that_text_is_recognised_as_it_is() -> None:
    assert guess(["some text"]).format == "text"
    made = convert("some text")
    assert isinstance(made, Conversation) and made.text == "some text"
    made = convert({"title": "T", "paragraphs": ["one", "two"]})
    assert isinstance(made, Conversation) and made.text == "one\ntwo"


def test_that_columns_can_be_chosen() -> None:
    row = {"question": "Hi", "answer": "No", "other": {"deep": ["Hello"]}}
    mapping = choose([row], "auto", {"prompt": "question", "completion": "other.deep[0]"})
    assert mapping.format == "prompt_completion"
    assert turns(row, mapping) == HI
    assert choose([row], "prompt_completion", {"completion": "answer"}).columns["prompt"] == "question"


@pytest.mark.parametrize(
    ("format", "columns", "code"),
    [
        ("auto", {"prompt": "question", "completion": "nowhere"}, "DATA-04"),
        ("messages", {}, "DATA-04"),
        ("alpaca", {"prompt": "question"}, "REC-01"),
        ("nonsense", {}, "REC-01"),
    ],
)
def test_that_a_wrong_choice_names_its_field(format: str, columns: dict[str, str], code: str) -> None:
    with pytest.raises(EngineError) as caught:
        choose([{"question": "a", "answer": "b"}], format, columns)
    assert caught.value.code == code
    assert caught.value.field in ("data.columns", "data.format")


def test_that_what_has_no_answer_asks_for_columns() -> None:
    with pytest.raises(EngineError) as caught:
        guess([{"emoji": "x", "tags": ["a"], "n": 3}])
    assert caught.value.code == "DATA-04"
    assert "emoji" in caught.value.message


def test_that_the_recipes_system_prompt_does_not_replace_a_rows_own() -> None:
    row = {"messages": [USER, ANSWER]}
    assert turns(row, system="S")[0] == ("system", "S")
    own = {"messages": [{"role": "system", "content": "Own"}, USER, ANSWER]}
    assert turns(own, system="S")[0] == ("system", "Own")


def test_that_tools_and_calls_get_transformers_shape() -> None:
    row = {
        "conversations": [
            HUMAN,
            {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
            {"from": "observation", "value": "3"},
            GPT,
        ],
        "tools": '[{"name": "f", "parameters": {}}]',
    }
    made = convert(row)
    assert isinstance(made, Conversation)
    assert [m["role"] for m in made.messages] == ["user", "assistant", "tool", "assistant"]
    call = made.messages[1]["tool_calls"][0]
    assert call == {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    assert made.tools[0]["function"]["name"] == "f"


def test_that_text_parts_are_joined_and_pictures_refused() -> None:
    parts = [{"type": "text", "text": "He"}, {"type": "text", "text": "llo"}]
    assert turns({"messages": [USER, {"role": "assistant", "content": parts}]}) == HI
    picture = [{"type": "image_url", "image_url": {"url": "x"}}]
    made = convert({"messages": [{"role": "user", "content": picture}, ANSWER]})
    assert isinstance(made, Finding)
    assert made.code == "DATA-04" and "messages[0].content[0]" in made.message


@pytest.mark.parametrize(
    ("messages", "code", "word"),
    [
        ([USER, USER, ANSWER], "DATA-05", "message 2"),
        ([USER, ANSWER, ANSWER], "DATA-05", "message 3"),
        ([USER], "DATA-05", "ends the row"),
        ([USER, ANSWER, USER], "DATA-05", "message 3"),
        ([USER, {"role": "narrator", "content": "x"}], "DATA-05", "narrator"),
        ([USER, {"role": "system", "content": "x"}, ANSWER], "DATA-05", "not the first"),
        ([USER, {"role": "assistant", "content": " \u200b\n"}], "DATA-06", "empty"),
        ([USER, {"role": "assistant", "content": None}], "DATA-04", "messages[1].content"),
        ([USER, {"role": "assistant", "content": 5}], "DATA-04", "a number"),
        ([USER, "x"], "DATA-04", "messages[1]"),
        ([], "DATA-04", "messages"),
        (None, "DATA-04", "messages"),
    ],
)
def test_that_a_wrong_conversation_says_where(messages: Any, code: str, word: str) -> None:
    mapping = Mapping("messages", {"messages": "messages"})
    made = convert({"messages": messages}, mapping)
    assert isinstance(made, Finding)
    assert (made.code, made.line, made.file) == (code, 7, "/d/a.jsonl")
    assert word in made.message and "a.jsonl, line 7" in made.message


@pytest.mark.parametrize(
    ("answer", "code"), [("", "DATA-06"), (None, "DATA-04"), (3, "DATA-04"), (True, "DATA-04")]
)
def test_that_an_answer_that_is_no_text_is_refused(answer: Any, code: str) -> None:
    mapping = Mapping("prompt_completion", {"prompt": "q", "completion": "a"})
    made = convert({"q": "Hi", "a": answer}, mapping)
    assert isinstance(made, Finding) and made.code == code
    missing = convert({"q": "Hi"}, mapping)
    assert isinstance(missing, Finding) and "nothing found" in missing.message
