"""Rows that are not what they should be, as the table of malformed data says: D25 to D30 and D34 to D37."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.data.checks import Checks
from engine.data.conversation import Conversation, ConversationOptions, to_conversation
from engine.data.kinds import KindWatch
from engine.data.mapping import Mapping, choose, guess
from engine.data.readers import read_rows
from engine.data.rows import Finding, Row
from engine.errors import EngineError

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be kind."}
MESSAGES = Mapping("messages", {"messages": "messages"})
PAIR = Mapping("prompt_completion", {"prompt": "q", "completion": "a"})


def convert(value: Any, mapping: Mapping, **options: Any) -> Conversation | Finding:
    return to_conversation(Row(value, 7), mapping, ConversationOptions("/d/a.jsonl", "a.jsonl", **options))


def said(messages: list[Any], **options: Any) -> list[tuple[str, str]]:
    made = convert({"messages": messages}, MESSAGES, **options)
    assert isinstance(made, Conversation), made
    return [(m["role"], m["content"]) for m in made.messages]


def refused(value: Any, mapping: Mapping, code: str, **options: Any) -> Finding:
    made = convert(value, mapping, **options)
    assert isinstance(made, Finding), made
    assert (made.code, made.severity, made.line, made.file) == (code, "error", 7, "/d/a.jsonl")
    assert made.message.startswith("a.jsonl, line 7: ") and made.hint
    return made


def watch(rows: list[Any]) -> KindWatch:
    mapping = guess(rows[:100])
    made = KindWatch(mapping, "/d/a.jsonl", "a.jsonl")
    for line, value in enumerate(rows, 1):
        made.see(Row(value, line))
    return made


CHAT = {"messages": [USER, ANSWER]}
TASK = {"instruction": "Do", "input": "", "output": "Done"}


def test_d25_that_two_schemas_refuse_the_file_with_their_lines() -> None:
    error = watch([CHAT] * 400 + [TASK] * 30).as_error()
    assert isinstance(error, EngineError)
    assert (error.code, error.file, error.line) == ("DATA-03", "/d/a.jsonl", 401)
    assert error.message == "a.jsonl holds 2 kinds of rows: lines 1-400 chat, from 401 instruction."
    assert "Split" in error.hint and error.field == "data.columns"


def test_d25_that_kinds_in_turn_are_counted() -> None:
    asked, told = {"question": "a", "answer": "b"}, {"prompt": "a", "completion": "b"}
    finding = watch([asked, told, asked, told, asked]).as_finding()
    assert "question and answer (question, answer) (3 rows, first on line 1)" in finding.message
    assert "question and answer (prompt, completion) (2 rows, first on line 2)" in finding.message
    assert finding.line == 2


def test_d25_that_one_schema_of_a_table_with_all_columns_is_told_by_what_is_filled_in() -> None:
    empty = dict.fromkeys(("messages", *TASK))
    assert watch([{**empty, **CHAT}] * 3 + [{**empty, **TASK}]).as_error().line == 4


@pytest.mark.parametrize(
    "odd",
    [
        {"instruction": "Do", "output": "Done"},
        {"instruction": "Do", "input": None, "output": "Done", "more": 1},
        {"instruction": "Do", "input": ""},
        {"instruction": "Do", "output": None, "text": "x"},
        {"licence": "MIT", "author": "me"},
        {},
    ],
)
def test_d25_that_a_column_missing_now_and_then_is_no_other_kind(odd: dict[str, Any]) -> None:
    assert not watch([TASK, odd, TASK, TASK]).found


def test_d25_that_strings_among_objects_are_wrong_rows_and_no_kind() -> None:
    assert not watch([CHAT, CHAT, "some text"]).found


def test_d25_that_the_files_of_a_folder_are_named() -> None:
    made = KindWatch(guess([CHAT]), "/d", "d")
    for line, (value, file) in enumerate(
        ((CHAT, "/d/a.jsonl"), (CHAT, "/d/a.jsonl"), (TASK, "/d/b.jsonl")), 1
    ):
        made.see(Row(value, line, file=file))
    error = made.as_error()
    assert (error.file, error.line) == ("/d/b.jsonl", 3)
    assert "instruction (1 row, first in b.jsonl on line 3)" in error.message


@pytest.mark.parametrize("line", ['"text"', "5", "null", "true", '["a", "b"]'])
def test_d26_that_a_top_level_that_is_no_object_refuses_the_row(line: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(f"{json.dumps({'q': 'Hi', 'a': 'Hello'})}\n{line}\n", encoding="utf-8")
    options = ConversationOptions(str(file), file.name)
    rows = list(read_rows(file))
    found = [to_conversation(row, PAIR, options) if isinstance(row, Row) else row for row in rows]
    assert isinstance(found[0], Conversation)
    assert isinstance(found[1], Finding) and (found[1].code, found[1].line) == ("DATA-04", 2)


@pytest.mark.parametrize(
    ("value", "mapping", "words"),
    [
        (
            {"messages": [USER, ANSWER, {"role": "user"}]},
            MESSAGES,
            "messages[2].content: text expected, nothing",
        ),
        (
            {"messages": [USER, {**ANSWER, "content": None}]},
            MESSAGES,
            "messages[1].content: text expected, null",
        ),
        ({"messages": None}, MESSAGES, "messages: a list of messages expected, null found"),
        ({"other": 1}, MESSAGES, "messages: a list of messages expected, nothing found"),
        ({"q": "Hi"}, PAIR, "a: text expected, nothing found"),
        ({"q": None, "a": "Hello"}, PAIR, "q: text expected, null found"),
    ],
)
def test_d27_that_what_is_missing_or_null_is_named_by_its_path(
    value: Any, mapping: Mapping, words: str
) -> None:
    assert words in refused(value, mapping, "DATA-04").message


def test_that_a_cell_of_a_sheet_and_a_file_of_a_folder_are_named() -> None:
    options = ConversationOptions("/d/a.xlsx", "a.xlsx")
    made = to_conversation(Row({"q": "Hi", "a": 5}, 7, cells={"q": "S!A", "a": "S!B"}), PAIR, options)
    assert isinstance(made, Finding) and made.message.startswith("a.xlsx, cell S!B7: a: text expected")
    made = to_conversation(Row({"q": "Hi", "a": 5}, 7, file="/d/x/b.jsonl"), PAIR, options)
    assert isinstance(made, Finding) and made.file == "/d/x/b.jsonl"
    assert made.message.startswith("b.jsonl, line 7: ")


@pytest.mark.parametrize(
    ("value", "kind"),
    [(5, "a number"), (0.5, "a number"), (True, "true or false"), ({"x": 1}, "an object"), (["a"], "a list")],
)
def test_d28_that_what_is_no_text_is_never_made_into_text(value: Any, kind: str) -> None:
    assert f"a: text expected, {kind} found" in refused({"q": "Hi", "a": value}, PAIR, "DATA-04").message
    assert f"q: text expected, {kind} found" in refused({"q": value, "a": "Hi"}, PAIR, "DATA-04").message
    if value != ["a"]:
        row = {"messages": [USER, {"role": "assistant", "content": value}]}
        assert f"messages[1].content: text expected, {kind}" in refused(row, MESSAGES, "DATA-04").message


def test_d28_that_the_number_of_a_label_needs_a_name() -> None:
    rows = [{"text": "fine", "label": 1}, {"text": "bad", "label": 0}, {"text": "so so", "label": 2}]
    mapping = choose(rows)
    assert "label names" in mapping.reason
    finding = refused(rows[0], mapping, "DATA-04")
    assert "label: text expected, a number found" in finding.message and "label names" in finding.hint
    names = {"0": "negative", "1": "positive"}
    made = convert(rows[0], mapping, label_names=names)
    assert isinstance(made, Conversation) and made.messages[-1]["content"] == "positive"
    refused(rows[2], mapping, "DATA-04", label_names=names)


@pytest.mark.parametrize(
    "answer", ["", "  \n", "\u200b\u200d", "\ufeff", "\u2060\u00ad", "\U000e0041", "\u202e"]
)
def test_d29_that_an_answer_with_nothing_to_see_is_refused(answer: str) -> None:
    assert "empty" in refused({"q": "Hi", "a": answer}, PAIR, "DATA-06").message
    row = {"messages": [USER, {"role": "assistant", "content": answer}]}
    assert "empty" in refused(row, MESSAGES, "DATA-06").message
    refused({"text": answer}, Mapping("text", {"text": "text"}), "DATA-06")


def test_d29_that_an_empty_answer_between_others_is_named() -> None:
    row = {"messages": [USER, {"role": "assistant", "content": ""}, USER, ANSWER]}
    assert "message 2" in refused(row, MESSAGES, "DATA-06").message
    kept = {"role": "assistant", "content": "", "weight": 0}
    assert isinstance(convert({"messages": [USER, kept, USER, ANSWER]}, MESSAGES), Conversation)


@pytest.mark.parametrize("prompt", ["", "  ", "\u200b"])
def test_d30_that_an_empty_prompt_is_kept_and_told(prompt: str) -> None:
    for made in (
        convert({"q": prompt, "a": "Hello"}, PAIR),
        convert({"messages": [{"role": "user", "content": prompt}, ANSWER]}, MESSAGES),
    ):
        assert isinstance(made, Conversation)
        checks = Checks()
        checks.see("a.jsonl", 0, 1, made)
        assert [c.count for c in checks.found() if c.id == "empty_prompts"] == [1]


def test_d34_that_an_unknown_role_is_refused_and_a_mapping_offered() -> None:
    messages = [{"role": "Customer", "content": "Hi"}, {"role": "agent", "content": "Hello"}]
    finding = refused({"messages": messages}, MESSAGES, "DATA-05")
    assert 'message 1: role "Customer" is not known' in finding.message
    assert "Customer is user" in finding.hint
    finding = refused({"messages": [USER, messages[1]]}, MESSAGES, "DATA-05")
    assert "agent is assistant" in finding.hint
    names = {"customer": "user", "agent": "assistant"}
    assert said(messages, role_names=names) == [("user", "Hi"), ("assistant", "Hello")]


def test_d34_that_a_name_with_hidden_characters_is_shown_with_marks() -> None:
    finding = refused(
        {"messages": [{"role": "us\u202eer\x00", "content": "Hi"}, ANSWER]}, MESSAGES, "DATA-05"
    )
    assert "us<U+202E>er<U+0000>" in finding.message and "\x00" not in finding.hint


def test_d34_that_known_names_of_other_programs_are_taken_and_a_recipe_may_differ() -> None:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    assert said(turns) == [("user", "Hi"), ("assistant", "Hello")]
    assert said(turns[::-1], role_names={"gpt": "user", "human": "assistant"})[0] == ("user", "Hello")
    with pytest.raises(EngineError) as caught:
        ConversationOptions(role_names={"gpt": "narrator"})
    assert (caught.value.code, caught.value.field) == ("REC-01", "data.role_names")


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([USER, USER, ANSWER], 'message 2: role "user" comes twice in a row'),
        ([USER, ANSWER, ANSWER], 'message 3: role "assistant" comes twice in a row'),
        ([ANSWER, USER, ANSWER], 'message 1: role "assistant" comes before any question'),
        ([SYSTEM, ANSWER], 'message 2: role "assistant" comes before any question'),
        ([USER, ANSWER, USER], 'message 3: role "user" ends the row'),
        ([SYSTEM], 'message 1: role "system" ends the row'),
        ([USER, {"role": "tool", "content": "3"}, ANSWER], 'message 2: role "tool" answers no call'),
        (["Hi", "Hello", "Bye"], 'message 3: role "user" ends the row'),
    ],
)
def test_d35_that_roles_out_of_turn_are_refused_with_the_message(messages: list[Any], words: str) -> None:
    finding = refused({"messages": messages}, MESSAGES, "DATA-05")
    assert words in finding.message and "in turn" in finding.hint


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([USER, SYSTEM, ANSWER], 'message 2: role "system" is not the first'),
        ([SYSTEM, SYSTEM, USER, ANSWER], 'message 2: role "system" stands twice'),
        ([SYSTEM, USER, ANSWER, SYSTEM, USER, ANSWER], 'message 4: role "system" stands twice'),
    ],
)
def test_d36_that_a_system_message_stands_first_and_once(messages: list[Any], words: str) -> None:
    assert words in refused({"messages": messages}, MESSAGES, "DATA-05").message


def test_d36_that_the_system_message_can_go_before_the_first_question() -> None:
    messages = [SYSTEM, USER, {**ANSWER, "weight": 0}, USER, ANSWER]
    made = convert({"messages": messages}, MESSAGES, system_message="first_question")
    assert isinstance(made, Conversation)
    assert [m["role"] for m in made.messages] == ["user", "assistant", "user", "assistant"]
    assert made.messages[0]["content"] == "Be kind.\n\nHi" and made.messages[2]["content"] == "Hi"
    assert made.untrained == {1}
    made = convert({"q": "Hi", "a": "Hello"}, PAIR, system_prompt="S", system_message="first_question")
    assert isinstance(made, Conversation)
    assert [m["content"] for m in made.messages] == ["S\n\nHi", "Hello"]
    assert said([SYSTEM, USER, ANSWER])[0] == ("system", "Be kind.")


def test_d37_that_text_parts_are_joined_and_calls_kept() -> None:
    parts = [{"type": "text", "text": "He"}, {"type": "text", "text": "llo"}]
    assert said([USER, {"role": "assistant", "content": parts}]) == [("user", "Hi"), ("assistant", "Hello")]
    written = '{"name": "f", "arguments": {"x": 1}}'
    call = {"type": "tool_call", "value": written}
    thought = {"type": "reasoning", "value": "Well"}
    made = convert(
        {
            "messages": [
                USER,
                {"role": "assistant", "content": [thought, call]},
                {"role": "tool", "content": "1"},
                ANSWER,
            ]
        },
        MESSAGES,
    )
    assert isinstance(made, Conversation)
    assert made.messages[1]["tool_calls"] == [
        {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    ]
    assert made.messages[1]["reasoning_content"] == "Well"


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "image_url", "image_url": {"url": "x"}}, "a part of type image_url found"),
        ({"type": "text"}, "a part of type text found"),
        ({"type": "text", "text": 5}, "a part of type text found"),
        ("bare", "text found"),
        ({"no": "type"}, "an object found"),
    ],
)
def test_d37_that_other_parts_are_refused_with_their_path(part: Any, words: str) -> None:
    content = [{"type": "text", "text": "What is this?"}, part]
    row = {"messages": [USER, ANSWER, {"role": "user", "content": content}, ANSWER]}
    message = refused(row, MESSAGES, "DATA-04").message
    assert "messages[2].content[1]: " in message and words in message
