"""Messages in the ways programs write them, as transformers' chat templates expect them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from engine.data.columns import MISSING
from engine.data.refused import CORRECT, VISIBLE, Wrong, expected, is_blank, kind_name

Message = dict[str, Any]

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}
CALLS = frozenset({"function_call", "tool_call"})  # roles whose text is a call
ROLE_KEYS = ("role", "from", "speaker", "author")
TEXT_KEYS = ("content", "value", "text", "utterance")
# What names of roles usually mean; only ever offered, never taken by itself.
_LIKELY = {
    "assistant": (
        "agent",
        "advisor",
        "answerer",
        "chatbot",
        "clerk",
        "computer",
        "consultant",
        "counselor",
        "doctor",
        "expert",
        "helper",
        "machine",
        "operator",
        "robot",
        "support",
        "teacher",
        "therapist",
        "tutor",
    ),
    "system": ("context", "instruction", "instructions", "narrator", "preamble", "scenario"),
    "tool": ("api", "environment", "output", "result"),
}
_TRANSCRIPT = re.compile(r"(?:^|\n\n)(Human|Assistant):[ ]?")
_PART_TEXT = {"text": "text", "input_text": "text", "output_text": "text"}
_PART_REASONING = {"reasoning": "reasoning", "thinking": "thinking"}
IN_TURN = "Roles go system, then user and assistant in turn."


def plain_turns(found: Sequence[Any], roles: Mapping[str, str]) -> list[Message] | None:
    """Return messages in order that hold a role and a text and nothing else, else None: the usual case, fast.

    `roles` are the names that need no further look. What is returned needs no check of its roles or answers.
    """
    made: list[Message] = []
    wanted = "user"
    sharegpt = type(found[0]) is dict and "from" in found[0]
    role_key, text_key = ("from", "value") if sharegpt else ("role", "content")
    for message in found:
        if type(message) is not dict or len(message) != 2:
            return None
        name, text = message.get(role_key), message.get(text_key)
        if type(name) is not str or type(text) is not str:
            return None
        role = roles.get(name)
        if role == wanted == "user":
            wanted = "assistant"
        elif role == wanted == "assistant" and VISIBLE.search(text):
            wanted = "user"
        elif role != "system" or made:
            return None
        made.append({"role": role, "content": text})
    return made if wanted == "user" and made[-1]["role"] == "assistant" else None


def messages_of(
    found: Sequence[Any], path: str, roles: Mapping[str, str], keys: Mapping[str, str]
) -> tuple[list[Message], frozenset[int]]:
    """Return messages with transformers' names, and which of them the row keeps from training.

    Beside messages these can be turns that hold question and answer (`keys` names them), pairs of texts, or
    texts that take turns.
    """
    if all(isinstance(text, str) for text in found):
        return [_said(i, text) for i, text in enumerate(found)], frozenset()
    made: list[Message] = []
    untrained = set()
    for i, message in enumerate(found):
        place = f"{path}[{i}]"
        if isinstance(message, (list, tuple)):
            made += pair_of(message, place)
            continue
        if not isinstance(message, dict):
            raise expected(place, "a message", message)
        if message.get("weight") in (0, 0.0) or message.get("train") is False:
            untrained.add(len(made))
        if {"question", "answer"} <= keys.keys() and not any(key in message for key in ("role", "from")):
            made += _turn(message, place, keys)
        else:
            made.append(_message(message, place, i, roles, keys))
    return made, frozenset(untrained)


def _said(number: int, text: str) -> Message:
    return {"role": "assistant" if number % 2 else "user", "content": text}


def pair_of(pair: Any, path: str) -> list[Message]:
    """Return the two messages of [question, answer]."""
    if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(p, str) for p in pair)):
        raise expected(path, "a list of [question, answer]", pair)
    return [_said(0, pair[0]), _said(1, pair[1])]


def _turn(turn: dict[str, Any], path: str, keys: Mapping[str, str]) -> list[Message]:
    made = []
    for number, key in enumerate((keys["question"], keys["answer"])):
        text = turn.get(key, MISSING)
        if not isinstance(text, str):
            raise expected(f"{path}.{key}", "text", text)
        made.append(_said(number, text))
    return made


def _message(
    message: dict[str, Any], path: str, number: int, roles: Mapping[str, str], keys: Mapping[str, str]
) -> Message:
    name_key = keys.get("role") or next((k for k in ROLE_KEYS if k in message), "role")
    text_key = keys.get("content") or next((k for k in TEXT_KEYS if k in message), "content")
    named = message.get(name_key, MISSING)
    name = named.strip().lower() if isinstance(named, str) else ""
    role = roles.get(name)
    if role is None:
        raise _unknown(named, name, number)
    made: Message = {"role": role}
    calls = message.get("tool_calls")
    if name in CALLS and role == "assistant":
        calls = _written_calls(message.get(text_key), f"{path}.{text_key}")
        made["content"] = ""
    else:
        value = message.get(text_key, MISSING)
        made["content"], reasoning, more = _content(value, f"{path}.{text_key}", bool(calls))
        calls = more or calls
        reasoning = reasoning or message.get("reasoning_content") or message.get("thinking") or ""
        if isinstance(reasoning, str) and reasoning:
            made["reasoning_content"] = reasoning
    if calls:
        made["tool_calls"] = _calls(calls, path)
    for key in ("name", "tool_call_id"):
        if isinstance(message.get(key), str):
            made[key] = message[key]
    return made


def _unknown(named: Any, name: str, number: int) -> Wrong:
    if not isinstance(named, str):
        shown = "nothing" if named is MISSING else kind_name(named)
        return Wrong("DATA-05", f"message {number + 1}: a role expected, {shown} found.", IN_TURN)
    likely = next((role for role, names in _LIKELY.items() if name in names), "user")
    return Wrong(
        "DATA-05",
        f'message {number + 1}: role "{named[:80]}" is not known.',
        f"{IN_TURN} Say what the name means, as in role names: {named[:80]} is {likely} "
        "(human is taken as user, gpt as assistant).",
    )


def _content(value: Any, path: str, may_miss: bool) -> tuple[str, str, list[Any]]:
    """Return (text, reasoning, calls); parts of text are joined, pictures and the like are refused."""
    if isinstance(value, str):
        return value, "", []
    if may_miss and (value is None or value is MISSING):
        return "", "", []
    if not isinstance(value, list) or not value:
        raise expected(path, "text", value)
    texts, reasoning, calls = [], [], []
    for i, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        kind = kind if isinstance(kind, str) else ""
        words = part.get("text", part.get("value", part.get(kind))) if isinstance(part, dict) else None
        if kind in _PART_TEXT and isinstance(words, str):
            texts.append(words)
        elif kind in _PART_REASONING and isinstance(words, str):
            reasoning.append(words)
        elif kind == "tool_call" and isinstance(words, str):
            calls += _written_calls(words, f"{path}[{i}]")
        else:
            shown = f"a part of type {kind[:40]}" if kind else kind_name(part)
            raise Wrong(
                "DATA-04",
                f"{path}[{i}]: text expected, {shown} found.",
                "Only text can be trained on yet: leave such rows out.",
            )
    return "".join(texts), "".join(reasoning), calls


def _written_calls(value: Any, path: str) -> list[Any]:
    try:
        parsed = json.loads(value)
    except (TypeError, ValueError, RecursionError):
        raise expected(path, "a function call as JSON", value) from None
    return parsed if isinstance(parsed, list) else [parsed]


def _calls(calls: Any, path: str) -> list[dict[str, Any]]:
    """Return tool calls with their arguments as objects, as chat templates expect them."""
    made = []
    for call in calls if isinstance(calls, list) else [calls]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Wrong("DATA-04", f"{path}.tool_calls: a name and arguments expected.", "Correct the call.")
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            with suppress(ValueError, RecursionError):  # else left as written: templates print it as it is
                arguments = json.loads(arguments)
        kept = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
        made.append(
            {"type": "function", "function": {"name": function["name"], "arguments": arguments}, **kept}
        )
    return made


def give_calls(messages: Sequence[Message], value: Any, path: str) -> None:
    """Give the tool calls of a column of their own to the answers without words, in order."""
    if value is None or value is MISSING or value in ("", "[]", "null"):
        return
    calls = _written_calls(value, path) if isinstance(value, str) else value
    if not isinstance(calls, list):
        raise expected(path, "a list of tool calls", calls)
    lists = calls if calls and all(isinstance(each, list) for each in calls) else [calls]
    silent = [
        m for m in messages if m["role"] == "assistant" and is_blank(m["content"]) and "tool_calls" not in m
    ]
    if calls and len(lists) != len(silent):
        found = f"{len(lists)} expected, {len(silent)} found"
        raise Wrong("DATA-04", f"{path}: answers without words for the calls: {found}.", CORRECT, path=path)
    for message, each in zip(silent, lists, strict=False):
        if each:
            message["tool_calls"] = _calls(each, path)


def tools_of(tools: Any, path: str) -> tuple[dict[str, Any], ...]:
    """Return tool descriptions, which may be written as JSON in a text."""
    if tools is MISSING or tools is None or tools in ("", "[]", "null"):
        return ()
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError):
            raise Wrong(
                "DATA-04", f"{path}: a list of tools as JSON expected.", "Correct the value."
            ) from None
    if not isinstance(tools, list) or not all(isinstance(t, dict) for t in tools):
        raise expected(path, "a list of tools", tools)
    return tuple(t if "function" in t else {"type": "function", "function": t} for t in tools)


def written_messages(text: str, path: str) -> list[Any]:
    """Return the messages of a text: a list as JSON, or a transcript (`Human: ... Assistant: ...`)."""
    if text.lstrip()[:1] == "[":
        with suppress(ValueError, RecursionError):
            parsed = json.loads(text)
            if isinstance(parsed, list) and parsed:
                return parsed
    return transcript(text, path)


def is_transcript(text: str) -> bool:
    """Say whether a text is written as `Human: ... Assistant: ...` up to an answer."""
    parts = _TRANSCRIPT.split(text) if text.lstrip().startswith("Human:") else []
    return len(parts) > 4 and parts[-2] == "Assistant" and not is_blank(parts[-1])


def transcript(text: str, path: str) -> list[Message]:
    """Return the turns of a text that is written as `Human: ... Assistant: ...`."""
    parts = _TRANSCRIPT.split(text)
    if len(parts) < 3:
        raise Wrong(
            "DATA-04", f"{path}: no question found; choose a column for the prompt.", "Map the prompt column."
        )
    names, texts = parts[1::2], parts[2::2]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[n], "content": t.strip()} for n, t in zip(names, texts, strict=True)]


def check_roles(messages: Sequence[Message], untrained: frozenset[int] = frozenset()) -> None:
    """Refuse roles out of turn, a row that does not end with an answer, and an answer with nothing in it."""
    before = ""
    for i, message in enumerate(messages):
        role = message["role"]
        if problem := _problem(role, before, i, messages):
            raise Wrong("DATA-05", f'message {i + 1}: role "{role}" {problem}.', IN_TURN)
        before = role
    if before != "assistant":
        shown = before or "none"
        raise Wrong(
            "DATA-05",
            f'message {len(messages)}: role "{shown}" ends the row, without an answer.',
            f"{IN_TURN} The last message must be an answer.",
        )
    for i, message in enumerate(messages):
        if message["role"] == "assistant" and i not in untrained and not message.get("tool_calls"):
            if is_blank(message["content"]):
                where = "" if i == len(messages) - 1 else f" (message {i + 1})"
                raise Wrong(
                    "DATA-06",
                    f"the answer{where} is empty.",
                    "Leave such rows out, or look at the answer column.",
                )


def _problem(role: str, before: str, number: int, messages: Sequence[Message]) -> str:
    if role == "system" and number:
        return "stands twice" if before == "system" or messages[0]["role"] == "system" else "is not the first"
    if role == "user" == before:
        return "comes twice in a row"
    if role == "assistant" == before and not messages[number - 1].get("tool_calls"):
        return "comes twice in a row"
    if role == "assistant" and before in ("", "system"):
        return "comes before any question"
    if role == "tool" and before in ("", "system", "user"):
        return "answers no call"
    return ""
