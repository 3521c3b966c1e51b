"""Layouts that files have besides the four well-known ones, each recognised from its rows with the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.data.conversation import Conversation, ConversationOptions, to_conversation
from engine.data.mapping import Mapping, choose, guess
from engine.data.rows import Finding, Row
from engine.errors import EngineError

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
HI = ["Hi", "Hello"]


def convert(value: dict[str, Any], mapping: Mapping, **options: Any) -> Conversation | Finding:
    return to_conversation(Row(value, 3), mapping, ConversationOptions("/d/a.jsonl", "a.jsonl", **options))


def words(value: dict[str, Any], mapping: Mapping | None = None, **options: Any) -> list[str]:
    made = convert(value, mapping or guess([value]), **options)
    assert isinstance(made, Conversation), made
    return [m["content"] for m in made.messages]


SQUAD = {"id": "1", "title": "T", "context": "Hello there.", "question": "Hi", "answer": "Hello"}


@pytest.mark.parametrize(
    ("row", "format", "expected", "reason"),
    [
        (SQUAD, "prompt_completion", ["Hello there.\n\nHi", "Hello"], "context before the question"),
        (
            {**SQUAD, "answer": None, "answers": {"text": ["Hello", "Hi"], "answer_start": [0, 1]}},
            "prompt_completion",
            ["Hello there.\n\nHi", "Hello"],
            "first of several answers",
        ),
        (
            {"question": "Hi", "answers": ["Hello", "Hey"]},
            "prompt_completion",
            HI,
            "first of several answers",
        ),
        (
            {"question": "How many?", "schema": "CREATE TABLE t (n int)", "sql": "SELECT count(*) FROM t"},
            "prompt_completion",
            ["CREATE TABLE t (n int)\n\nHow many?", "SELECT count(*) FROM t"],
            "a question in words and its SQL",
        ),
        (
            {"sql_prompt": "How many?", "sql_context": "CREATE TABLE t (n int)", "sql": "SELECT 1"},
            "prompt_completion",
            ["CREATE TABLE t (n int)\n\nHow many?", "SELECT 1"],
            "SQL",
        ),
        (
            {"premise": "It rains.", "hypothesis": "It is wet.", "label_text": "entailment", "label": 0},
            "prompt_completion",
            ["It rains.\n\nIt is wet.", "entailment"],
            "two texts",
        ),
        ({"translation": {"en": "Hi", "de": "Hallo"}}, "prompt_completion", ["Hi", "Hallo"], "two languages"),
        ({"conversation": ["Hi", "Hello"]}, "messages", HI, "in turn"),
        ({"conversation": [["Hi", "Hello"], ["a", "b"]]}, "messages", [*HI, "a", "b"], "in turn"),
        (
            {
                "conversation": [
                    {"system": "S", "input": "Hi", "output": "Hello"},
                    {"input": "a", "output": "b"},
                ]
            },
            "messages",
            ["S", *HI, "a", "b"],
            "each with input and output",
        ),
        (
            {"messages": [{"toy_system": "S", "toy_input": "Hi", "toy_output": "Hello"}]},
            "messages",
            ["S", *HI],
            "toy_input and toy_output",
        ),
        ({"text": "\n\nHuman: Hi\n\nAssistant: Hello"}, "messages", HI, "transcripts"),
        (
            {"prompt": "\n\nHuman: Hi\n\nAssistant:", "completion": " Hello"},
            "prompt_completion",
            ["\n\nHuman: Hi\n\nAssistant:", " Hello"],
            "",
        ),
        ({"messages": json.dumps([USER, ANSWER])}, "messages", HI, "role and content"),
        ({"body": {"messages": [USER, ANSWER]}, "id": 1}, "messages", HI, "body.messages"),
        (
            {"dialog": [{"speaker": "user", "text": "Hi"}, {"speaker": "bot", "text": "Hello"}]},
            "messages",
            HI,
            "speaker and text",
        ),
        ({"prompt": [USER], "completion": "Hello"}, "prompt_completion", HI, "hold messages"),
        ({"prompt": "Hi", "completion": [ANSWER]}, "prompt_completion", HI, ""),
        ({"prompt": "Hi", "chosen": [USER, ANSWER], "rejected": [USER]}, "preference", HI, "preference"),
        ({"prompt": "Hi", "chosen": [ANSWER], "rejected": [ANSWER]}, "preference", HI, "preference"),
        ({"prompt": [USER], "chosen": "Hello", "rejected": "No"}, "preference", HI, "preference"),
        ({"prompt": [USER], "chosen": [ANSWER], "rejected": [ANSWER]}, "preference", HI, "preference"),
        (
            {"prompt": "\n\nHuman: Hi\n\nAssistant:", "chosen": " Hello", "rejected": " No"},
            "preference",
            HI,
            "preference",
        ),
        (
            {"instruction": "Do", "input": "this", "chosen": "Done", "rejected": "No"},
            "preference",
            ["Do\n\nthis", "Done"],
            "preference",
        ),
        ({"instruction": "Hi", "input": "", "output": ["Hello", "No"]}, "alpaca", HI, "first of several"),
        ({"system_prompt": "S", "question": "Hi", "response": "Hello"}, "prompt_completion", ["S", *HI], ""),
    ],
)
def test_that_a_layout_is_recognised(
    row: dict[str, Any], format: str, expected: list[str], reason: str
) -> None:
    mapping = guess([row, row])
    assert mapping.format == format
    assert reason in mapping.reason
    assert words(row, mapping) == expected


def test_that_calls_of_a_column_of_their_own_belong_to_the_answers_without_words() -> None:
    silent = {"role": "assistant", "content": ""}
    call = [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]
    row = {"messages": [USER, silent], "tool_calls": json.dumps([call]), "tools": "[]"}
    mapping = guess([row])
    made = convert(row, mapping)
    assert isinstance(made, Conversation)
    assert made.messages[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": {}}
    assert convert({**row, "tool_calls": json.dumps(call)}, mapping) == made
    finding = convert({**row, "tool_calls": json.dumps([call, call])}, mapping)
    assert isinstance(finding, Finding) and "2 expected, 1 found" in finding.message
    finding = convert({**row, "tool_calls": ""}, mapping)
    assert isinstance(finding, Finding) and finding.code == "DATA-06"


LETTERED = "Which?\n\nA. one\nB. two\nC. three"


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Which?", "choices": ["one", "two", "three"], "answer": "B"},
        {"question": "Which?", "choices": ["one", "two", "three"], "answer": "(b)"},
        {"question": "Which?", "choices": ["one", "two", "three"], "answer": 1},
        {"question": "Which?", "choices": ["one", "two", "three"], "answer": "1"},
        {"question": "Which?", "choices": ["one", "two", "three"], "answer": "two"},
        {
            "question": "Which?",
            "choices": {"text": ["one", "two", "three"], "label": ["A", "B", "C"]},
            "answerKey": "B",
        },
        {
            "question": "Which?",
            "choices": {"text": ["one", "two", "three"], "label": ["1", "2", "3"]},
            "answerKey": "2",
        },
        {
            "question": "Which?",
            "options": {"A": "one", "B": "two", "C": "three"},
            "answer": "two",
            "answer_idx": "B",
        },
        {
            "question": {
                "stem": "Which?",
                "choices": [
                    {"text": "one", "label": "A"},
                    {"text": "two", "label": "B"},
                    {"text": "three", "label": "C"},
                ],
            },
            "answerKey": "B",
        },
        {"question": "Which?", "A": "one", "B": "two", "C": "three", "answer": "B"},
        {"question": "Which?", "opa": "one", "opb": "two", "opc": "three", "cop": 1},
        {"goal": "Which?", "sol1": "one", "sol2": "two", "sol3": "three", "label": 1},
        {"column_1": "Which?", "column_2": "one", "column_3": "two", "column_4": "three", "column_5": "B"},
        {"question": "Which?", "choices": '["one", "two", "three"]', "answer": "B"},
    ],
)
def test_that_a_question_with_choices_is_answered_by_the_letter_and_its_text(row: dict[str, Any]) -> None:
    mapping = guess([row, row])
    assert mapping.format == "prompt_completion" and "choices" in mapping.columns
    assert words(row, mapping) == [LETTERED, "B. two"]


def test_that_choices_counted_from_one_are_told_by_the_rows() -> None:
    rows = [{"sentence": "Which?", "option1": "one", "option2": "two", "answer": n} for n in ("1", "2")]
    mapping = guess(rows)
    assert [words(row, mapping)[1] for row in rows] == ["A. one", "B. two"]


def test_that_marked_choices_get_an_order_of_their_own() -> None:
    rows = [
        {"question": f"Which {n}?", "mc1_targets": {"right": 1, "wrong": 0, "false": 0, "no": 0}}
        for n in range(50)
    ]
    mapping = guess(rows)
    answers = [words(row, mapping)[1] for row in rows]
    assert {answer.split(". ")[1] for answer in answers} == {"right"}
    assert len({answer[0] for answer in answers}) == 4
    assert answers == [words(row, mapping)[1] for row in rows]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"answer": "E"}, "answer: one of A, B expected, E found"),
        ({"answer": None}, "answer: one of A, B expected, null found"),
        ({"choices": ["one"]}, "choices: 2 to 26 choices expected, 1 found"),
        ({"choices": ["one", 2]}, "choices[1]: text expected, a number found"),
        ({"choices": None}, "choices: a list of choices expected, null found"),
    ],
)
def test_that_a_choice_that_is_none_is_refused(changed: dict[str, Any], said: str) -> None:
    row = {"question": "Which?", "choices": ["one", "two"], "answer": "B"}
    finding = convert({**row, **changed}, guess([row]))
    assert isinstance(finding, Finding)
    assert finding.code == "DATA-04" and said in finding.message


def test_that_choices_can_be_named_by_a_recipe() -> None:
    row = {"q": "Which?", "first": "one", "second": "two", "key": "B"}
    columns = {"prompt": "q", "choices": "first, second", "completion": "key"}
    mapping = choose([row], "auto", columns)
    assert words(row, mapping) == ["Which?\n\nA. one\nB. two", "B. two"]
    assert mapping.unused == ()


def test_that_numbers_of_labels_get_the_names_of_the_file_or_the_recipe() -> None:
    rows = [{"sentence": "fine", "label": 1}, {"sentence": "bad", "label": 0}]
    mapping = choose(rows, column_labels={"label": ("negative", "positive")})
    assert [words(row, mapping)[1] for row in rows] == ["positive", "negative"]
    mapping = choose(rows, label_names={"1": "good"}, column_labels={"label": ("negative", "positive")})
    assert [words(row, mapping)[1] for row in rows] == ["good", "negative"]
    texts = [{"text": "fine", "label": "1"}]
    assert "bare numbers" in choose(texts).reason
    assert words(texts[0], choose(texts), label_names={"1": "good"}) == ["fine", "good"]


def test_that_rows_marked_undesirable_are_left_out_and_told() -> None:
    for row in ({"messages": [USER, ANSWER]}, {"prompt": "Hi", "completion": "Hello"}):
        rows = [{**row, "label": True}, {**row, "label": False}]
        mapping = guess(rows)
        assert mapping.columns["desirable"] == "label" and "left out" in mapping.reason
        assert words(rows[0], mapping) == HI
        finding = convert(rows[1], mapping)
        assert isinstance(finding, Finding)
        assert (finding.severity, finding.line) == ("report", 3)
        assert "left out: marked undesirable" in finding.message
        finding = convert({**row, "label": None}, mapping)
        assert isinstance(finding, Finding) and finding.severity == "error"


def test_that_a_question_without_an_answer_is_told() -> None:
    row = {**SQUAD, "answer": None, "answers": {"text": ["Hello"], "answer_start": [0]}}
    finding = convert({**row, "answers": {"text": [], "answer_start": []}}, guess([row]))
    assert isinstance(finding, Finding)
    assert (
        finding.code == "DATA-06" and "no answer is given (answers.text is an empty list)" in finding.message
    )


def test_that_answers_that_are_numbers_are_shown_as_the_answers_they_are() -> None:
    row = {"question": "6 times 7?", "answer": 42}
    mapping = guess([row])
    assert mapping.columns == {"prompt": "question", "completion": "answer"}
    finding = convert(row, mapping)
    assert isinstance(finding, Finding) and "answer: text expected, a number found" in finding.message


def test_that_other_mappings_that_work_are_offered_with_their_reasons() -> None:
    row = {"instruction": "Do", "input": "this", "output": "Done", "text": "Do this. Done"}
    mapping = guess([row] * 5)
    assert mapping.format == "alpaca" and mapping.unused == ("text",)
    assert {"text": "text"} in [other.columns for other in mapping.alternatives]
    assert all(other.reason and other.as_dict()["format"] for other in mapping.alternatives)
    for other in mapping.alternatives:
        assert isinstance(convert(row, other), Conversation)
    pair = guess([{"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "x"}] * 3)
    assert all("rejected" not in other.columns.values() for other in pair.alternatives)


def test_that_a_role_can_be_taken_away_and_given_anew() -> None:
    row = {"instruction": "Do", "input": "this", "output": "Done", "meta": [{"note": {"text": "that"}}]}
    assert words(row, choose([row], "alpaca", {"input": "meta[0].note.text"})) == ["Do\n\nthat", "Done"]
    assert words(row, choose([row], "alpaca", {"input": ""})) == ["Do", "Done"]
    assert words(row, choose([row], "alpaca", {"instruction": "input", "output": "output"})) == [
        "this",
        "Done",
    ]


def test_that_a_role_alone_is_of_the_format_that_the_rows_have() -> None:
    row = {"instruction": "Do", "input": "", "output": "Done", "persona": "S"}
    mapping = choose([row], "auto", {"system": "persona"})
    assert mapping.format == "alpaca" and words(row, mapping) == ["S", "Do", "Done"]
    chat = {"messages": [USER, ANSWER], "persona": "S"}
    assert words(chat, choose([chat], "sharegpt", {"system": "persona"})) == ["S", *HI]
    pick = {"question": "Which?", "choices": ["one", "two"], "answer": "B", "why": "Since."}
    assert words(pick, choose([pick], "auto", {"completion": "why"})) == ["Which?", "Since."]


def test_that_turns_of_other_names_can_be_named() -> None:
    row = {"log": [{"who": "user", "said": "Hi"}, {"who": "assistant", "said": "Hello"}]}
    columns = {"messages": "log", "role": "who", "content": "said"}
    assert words(row, choose([row], "messages", columns)) == HI
    row = {"log": [{"q": "Hi", "a": "Hello"}]}
    assert words(row, choose([row], "messages", {"messages": "log", "question": "q", "answer": "a"})) == HI
    with pytest.raises(EngineError) as caught:
        choose([row], "messages", {"messages": "log", "question": "q"})
    assert caught.value.field == "data.columns"


def test_that_the_way_out_names_columns_of_the_file() -> None:
    with pytest.raises(EngineError) as caught:
        guess([{"emoji": ":)", "description": "smile", "tags": ["a"], "n": 1}])
    assert "{prompt: emoji, completion: description}" in caught.value.hint
