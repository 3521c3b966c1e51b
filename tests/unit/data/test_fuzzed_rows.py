"""Whatever a row holds, it becomes a conversation, a finding with its line, or an error with a code."""

from __future__ import annotations

import random
from typing import Any

from engine.data.columns import NEEDED, OPTIONAL
from engine.data.conversation import Conversation, ConversationOptions, to_conversation
from engine.data.kinds import KindWatch
from engine.data.mapping import choose
from engine.data.rows import Finding, Row
from engine.errors import EngineError

KEYS = (
    "messages conversations conversation role from content value instruction input output prompt "
    "completion question answer answers context text label labels choices options chosen rejected "
    "tools tool_calls system history instances type arguments name weight stem mc1_targets A B C D "
    "translation a.b x[0] kto_tag train function reasoning_content "
).split()
TEXTS = (
    "",
    " ",
    "\u200b",
    "Hi",
    "user",
    "assistant",
    "gpt",
    "human",
    "system",
    "tool",
    "function_call",
    "text",
    "A",
    "0",
    "1",
    "²",
    "true",
    "[1, 2]",
    '[{"role": "user", "content": "x"}]',
    "\n\nHuman: a\n\nAssistant: b",
    '{"name": "f", "arguments": {}}',
    "[" * 3000,
    "\ud800",
)
PATHS = (
    "messages",
    "a.b",
    "x[0]",
    "answers.text[0]",
    "A, B, C",
    "[]",
    ".",
    "messages[0].content",
    "",
    "a[999999999999]",
)
ROWS, EACH = 10_000, 4
ASKED, ANSWERED = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
SOUND: tuple[dict[str, Any], ...] = (
    {"messages": [ASKED, ANSWERED, ASKED, CALL, {"role": "tool", "content": "3"}, ANSWERED], "tools": "[]"},
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}], "system": "S"},
    {"messages": [{"toy_input": "Hi", "toy_output": "Hello"}, {"toy_input": "a", "toy_output": "b"}]},
    {"conversation": ["Hi", "Hello"]},
    {"messages": [ASKED, ANSWERED], "label": True},
    {"instruction": "Do", "input": "this", "output": "Done", "history": [["a", "b"]]},
    {"instruction": "Do", "instances": [{"input": "this", "output": "Done"}]},
    {"question": "Hi", "context": "There", "answers": {"text": ["Hello"], "answer_start": [0]}},
    {"question": "Which?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"},
    {"question": "Which?", "A": "a", "B": "b", "C": "c", "answer": "C"},
    {"question": "Which?", "mc1_targets": {"a": 1, "b": 0}},
    {"text": "Hi", "label": 1},
    {"prompt": [ASKED], "completion": [ANSWERED]},
    {"prompt": "Hi", "chosen": [ASKED, ANSWERED], "rejected": "No"},
    {"translation": {"en": "Hi", "de": "Hallo"}},
    {"text": "Hello"},
)


def value(rng: random.Random, depth: int) -> Any:
    """Return a JSON value: mostly small, sometimes nested, often nearly a message."""
    pick = rng.random()
    if depth <= 0 or pick < 0.4:
        simple = (
            rng.choice(TEXTS),
            rng.choice(TEXTS),
            None,
            True,
            False,
            0,
            1,
            -1,
            10**30,
            0.5,
            1e300,
            float("nan"),
        )
        return rng.choice(simple)
    if pick < 0.6:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if pick < 0.8:
        return [message(rng, depth - 1) for _ in range(rng.randrange(1, 4))]
    return {rng.choice(KEYS): value(rng, depth - 1) for _ in range(rng.randrange(5))}


def message(rng: random.Random, depth: int) -> Any:
    """Return what is nearly a message: now and then a part is missing or of the wrong kind."""
    made: dict[str, Any] = {
        rng.choice(("role", "from")): rng.choice(
            ("user", "human", "assistant", "gpt", "system", "tool", "x")
        ),
        rng.choice(("content", "value")): "Hi" if rng.random() < 0.6 else value(rng, depth - 1),
    }
    if rng.random() < 0.3:
        made[rng.choice(KEYS)] = value(rng, depth - 1)
    if rng.random() < 0.1:
        made.popitem()
    return made if rng.random() < 0.95 else value(rng, 1)


def row(rng: random.Random) -> dict[str, Any]:
    """Return a row of known and unknown columns."""
    return {rng.choice(KEYS): value(rng, 4) for _ in range(rng.randrange(1, 6))}


def near(rng: random.Random, sound: Any, depth: int = 0) -> Any:
    """Return a sound value with a place in it that is now and then another, missing or one too many."""
    if rng.random() < 0.03 + 0.02 * depth:
        return value(rng, 2)
    if isinstance(sound, dict):
        kept = {k: near(rng, v, depth + 1) for k, v in sound.items() if rng.random() > 0.02}
        return {**kept, rng.choice(KEYS): value(rng, 2)} if rng.random() < 0.05 else kept
    if isinstance(sound, list):
        return [near(rng, v, depth + 1) for v in sound if rng.random() > 0.02]
    return sound


def rows_of(rng: random.Random) -> list[dict[str, Any]]:
    """Return some rows of one kind, or of none."""
    if rng.random() < 0.3:
        return [row(rng) for _ in range(EACH)]
    sound = rng.choice(SOUND)
    found = [near(rng, sound) for _ in range(EACH)]
    return [each if isinstance(each, dict) and each else row(rng) for each in found]


def columns(rng: random.Random, format: str) -> dict[str, str]:
    """Return columns as a recipe might name them, for some roles of a format."""
    roles = (*NEEDED[format], *OPTIONAL[format])
    return {role: rng.choice((*KEYS, *PATHS)) for role in roles if rng.random() < 0.6}


def test_r06_that_random_rows_are_used_or_refused_with_their_line() -> None:
    rng = random.Random(11)
    made, refused, errors = 0, 0, 0
    for start in range(0, ROWS, EACH):
        rows = rows_of(rng)
        explicit = rng.random() < 0.3
        format = rng.choice(list(NEEDED)) if explicit else "auto"
        options = ConversationOptions(
            "/d/f.jsonl",
            "f.jsonl",
            rng.choice((None, "S")),
            rng.choice(({}, {"0": "no", "true": "yes"})),
            rng.choice(({}, {"x": "user"})),
            rng.choice(("keep", "first_question")),
        )
        try:
            mapping = choose(rows, format, columns(rng, format) if explicit else {})
        except EngineError as error:
            assert error.code in ("DATA-04", "REC-01") and error.message
            errors += 1
            continue
        assert mapping.reason
        watch = KindWatch(mapping, "/d/f.jsonl", "f.jsonl")
        for number, each in enumerate([*rows, "text", row(rng)], start + 1):
            watch.see(Row(each, number))
            result = to_conversation(Row(each, number), mapping, options)
            if isinstance(result, Finding):
                refused += 1
                assert result.line == number and result.message and result.code.startswith("DATA-")
                assert result.severity in ("error", "report")
            else:
                made += 1
                check(result)
        if watch.found:
            assert watch.as_finding().line
    assert made > 1500 and refused > 2000 and errors > 200, (made, refused, errors)


def check(made: Conversation) -> None:
    """Look whether a conversation is one: roles in turn, an answer at the end, and text everywhere."""
    if made.text is not None:
        assert made.text.strip() and not made.messages
        return
    assert made.messages[-1]["role"] == "assistant"
    for number, each in enumerate(made.messages):
        assert each["role"] in ("system", "user", "assistant", "tool") and isinstance(each["content"], str)
        assert each["role"] != "system" or number == 0
        if each["role"] == "assistant" and number not in made.untrained:
            assert each["content"].strip() or each.get("tool_calls")
