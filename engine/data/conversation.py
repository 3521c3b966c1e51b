"""One row as one conversation (or piece of text), or the finding that says what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from engine.data.columns import MISSING, Mapping, lookup
from engine.data.rows import Finding, Row

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
INVISIBLE = re.compile(r"[\s\u200b-\u200f\u2060\ufeff\u00ad]*")
_TRANSCRIPT = re.compile(r"(?:^|\n\n)(Human|Assistant):[ ]?")


@dataclass(frozen=True)
class Conversation:
    """Messages to be rendered by the chat template, or `text` to be trained as it is.

    `untrained` are the positions of assistant messages that the row itself keeps from training (`weight: 0`).
    """

    messages: tuple[dict[str, Any], ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    text: str | None = None
    continues: bool = False
    line: int = 0
    untrained: frozenset[int] = field(default=frozenset())

    @property
    def prompt(self) -> str:
        """Return the last question, as a person reads it."""
        asked = [m["content"] for m in self.messages if m["role"] == "user"]
        return str(asked[-1]) if asked else ""


@dataclass(frozen=True)
class ConversationOptions:
    """What is the same for every row: the file (for findings) and the recipe's system prompt."""

    file: str = ""
    name: str = ""
    system_prompt: str | None = None


class _Wrong(Exception):
    """A row that cannot become a conversation."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


def _expected(path: str, expected: str, value: Any) -> _Wrong:
    found = (
        {MISSING: "nothing", None: "null"}.get(value) if value is MISSING or value is None else _kind(value)
    )
    return _Wrong(
        "DATA-04",
        f"{path}: {expected} expected, {found} found.",
        "Choose another column or correct the value.",
    )


def _kind(value: Any) -> str:
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), type(value).__name__)


def to_conversation(row: Row, mapping: Mapping, options: ConversationOptions) -> Conversation | Finding:
    """Return the conversation a row holds under `mapping`, or the finding that says why not."""
    try:
        made = _MAKERS[mapping.format](row, mapping)
        if made.text is None:
            made = _with_system(made, options.system_prompt)
            _check_roles(made)
        elif INVISIBLE.fullmatch(made.text):
            raise _Wrong(
                "DATA-06", f"{mapping.columns.get('text', 'the text')} is empty.", "Leave such rows out."
            )
        return made
    except _Wrong as wrong:
        place = f"{options.name}, line {row.line}" if options.name else f"line {row.line}"
        return Finding(wrong.code, options.file, row.line, None, f"{place}: {wrong.message}", wrong.hint)


def _text_at(row: Row, path: str, *, optional: bool = False) -> str:
    """Return the text of a column; a list of lines is joined, nothing else is turned into text."""
    assert isinstance(row.value, dict)
    value = lookup(row.value, path)
    if isinstance(value, str):
        return value
    if optional and (value is MISSING or value is None):
        return ""
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return "\n".join(value)
    raise _expected(path, "text", value)


def _object(row: Row, mapping: Mapping) -> dict[str, Any]:
    if isinstance(row.value, dict):
        return row.value
    raise _Wrong(
        "DATA-04",
        f"an object with {', '.join(mapping.columns.values())} expected, text found.",
        "Choose the format text.",
    )


def _optional(row: Row, mapping: Mapping, role: str) -> str:
    return _text_at(row, mapping.columns[role], optional=True) if role in mapping.columns else ""


def _turns(system: str, question: str, answer: str, column: str, row: Row, history: Any = ()) -> Conversation:
    if INVISIBLE.fullmatch(answer):
        raise _Wrong(
            "DATA-06",
            f"the answer ({column}) is empty.",
            "Leave such rows out, or look at the answer column.",
        )
    messages = [{"role": "system", "content": system}] if system.strip() else []
    for pair in history or ():
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(p, str) for p in pair)):
            raise _expected("history", "a list of [question, answer]", pair)
        messages += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Conversation(tuple(messages), line=row.line)


def _alpaca(row: Row, mapping: Mapping) -> Conversation:
    value, columns = _object(row, mapping), mapping.columns
    question = _text_at(row, columns["instruction"])
    extra = _optional(row, mapping, "input")
    if extra.strip():
        question = f"{question}\n\n{extra}"
    history = lookup(value, columns["history"]) if "history" in columns else ()
    answer = _text_at(row, columns["output"])
    system = _optional(row, mapping, "system")
    return _turns(system, question, answer, columns["output"], row, () if history is MISSING else history)


def _prompt_completion(row: Row, mapping: Mapping) -> Conversation:
    value, columns = _object(row, mapping), mapping.columns
    prompt, completion = lookup(value, columns["prompt"]), lookup(value, columns["completion"])
    if isinstance(prompt, list) and isinstance(completion, list) and prompt and isinstance(prompt[0], dict):
        return _from_messages([*prompt, *completion], columns["prompt"], row)
    question = _text_at(row, columns["prompt"])
    context = _optional(row, mapping, "context")
    if context.strip():
        question = f"{context}\n\n{question}"
    system = _optional(row, mapping, "system")
    return _turns(system, question, _text_at(row, columns["completion"]), columns["completion"], row)


def _text(row: Row, mapping: Mapping) -> Conversation:
    if isinstance(row.value, str):
        return Conversation(text=row.value, line=row.line, continues=row.continues)
    return Conversation(text=_text_at(row, mapping.columns["text"]), line=row.line)


def _messages(row: Row, mapping: Mapping) -> Conversation:
    value = _object(row, mapping)
    path = mapping.columns.get("messages") or mapping.columns["conversations"]
    found = lookup(value, path)
    if not isinstance(found, list) or not found:
        raise _expected(path, "a list of messages", found)
    tools = lookup(value, mapping.columns["tools"]) if "tools" in mapping.columns else None
    made = _from_messages(found, path, row, _tools(tools, mapping.columns.get("tools", "tools")))
    system = _optional(row, mapping, "system")
    return _with_system(made, system) if system.strip() else made


def _tools(tools: Any, path: str) -> tuple[dict[str, Any], ...]:
    if tools is MISSING or tools is None or tools in ("", "[]"):
        return ()
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError:
            raise _Wrong(
                "DATA-04", f"{path}: a list of tools as JSON expected.", "Correct the value."
            ) from None
    if not isinstance(tools, list) or not all(isinstance(t, dict) for t in tools):
        raise _expected(path, "a list of tools", tools)
    return tuple(t if "function" in t else {"type": "function", "function": t} for t in tools)


def _from_messages(
    found: list[Any], path: str, row: Row, tools: tuple[dict[str, Any], ...] = ()
) -> Conversation:
    messages, untrained = [], set()
    for i, message in enumerate(found):
        if not isinstance(message, dict):
            raise _expected(f"{path}[{i}]", "a message", message)
        if message.get("weight") in (0, 0.0) or message.get("train") is False:
            untrained.add(i)
        messages.append(_message(message, f"{path}[{i}]", i))
    return Conversation(tuple(messages), tools, line=row.line, untrained=frozenset(untrained))


def _message(message: dict[str, Any], path: str, number: int) -> dict[str, Any]:
    """Return one message with transformers' names; the roles of other programs are translated."""
    name_key = next((k for k in ("role", "from", "speaker") if k in message), "role")
    text_key = next((k for k in ("content", "value", "text") if k in message), "content")
    named = message.get(name_key)
    role = ROLES.get(named.lower()) if isinstance(named, str) else None
    if role is None:
        shown = named if isinstance(named, str) else _kind(named)
        raise _Wrong(
            "DATA-05",
            f'message {number + 1}: role "{shown}" is not known.',
            "Roles go system, then user and assistant in turn; map other names.",
        )
    made: dict[str, Any] = {"role": role}
    calls = message.get("tool_calls")
    if isinstance(named, str) and named.lower() in ("function_call", "tool_call"):
        calls = _written_calls(message.get(text_key), f"{path}.{text_key}")
        made["content"] = ""
    else:
        content, reasoning = _content(message.get(text_key), f"{path}.{text_key}", bool(calls))
        made["content"] = content
        reasoning = reasoning or message.get("reasoning_content") or message.get("thinking") or ""
        if isinstance(reasoning, str) and reasoning:
            made["reasoning_content"] = reasoning
    if calls:
        made["tool_calls"] = _calls(calls, path)
    for key in ("name", "tool_call_id"):
        if isinstance(message.get(key), str):
            made[key] = message[key]
    return made


def _content(value: Any, path: str, may_miss: bool) -> tuple[str, str]:
    """Return (text, reasoning); text parts are joined, pictures and the like are refused."""
    if isinstance(value, str):
        return value, ""
    if value is None and may_miss:
        return "", ""
    if not isinstance(value, list):
        raise _expected(path, "text", value)
    texts: dict[str, list[str]] = {"text": [], "reasoning": []}
    for i, part in enumerate(value):
        kind = part.get("type") if isinstance(part, dict) else None
        words = (part.get("text", part.get("value"))) if isinstance(part, dict) else None
        if not isinstance(kind, str) or kind not in texts or not isinstance(words, str):
            raise _Wrong(
                "DATA-04",
                f"{path}[{i}]: text expected, a part of type {kind} found.",
                "Only text can be trained on yet.",
            )
        texts[kind].append(words)
    return "".join(texts["text"]), "".join(texts["reasoning"])


def _written_calls(value: Any, path: str) -> list[Any]:
    try:
        parsed = json.loads(value)
    except (TypeError, ValueError):
        raise _expected(path, "a function call as JSON", value) from None
    return parsed if isinstance(parsed, list) else [parsed]


def _calls(calls: Any, path: str) -> list[dict[str, Any]]:
    """Return tool calls with their arguments as objects, as chat templates expect them."""
    made = []
    for call in calls if isinstance(calls, list) else [calls]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise _Wrong("DATA-04", f"{path}.tool_calls: a name and arguments expected.", "Correct the call.")
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            with suppress(ValueError):  # else left as written: templates print a text as it is
                arguments = json.loads(arguments)
        kept = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
        made.append(
            {"type": "function", "function": {"name": function["name"], "arguments": arguments}, **kept}
        )
    return made


def _preference(row: Row, mapping: Mapping) -> Conversation:
    """Return the preferred answer with its question: a pair used for plain finetuning."""
    value, columns = _object(row, mapping), mapping.columns
    chosen = lookup(value, columns["chosen"])
    prompt = lookup(value, columns["prompt"]) if "prompt" in columns else MISSING
    answers = [chosen] if isinstance(chosen, dict) else chosen
    if isinstance(answers, list) and answers:
        if isinstance(prompt, dict):
            prompt = prompt.get("messages", prompt)
        if isinstance(prompt, str):
            prompt = [{"role": "user", "content": prompt}]
        before = prompt if isinstance(prompt, list) and len(answers) == 1 else []
        return _from_messages([*before, *answers], columns["chosen"], row)
    answer = _text_at(row, columns["chosen"])
    if isinstance(prompt, str):
        return _turns(_optional(row, mapping, "system"), prompt, answer, columns["chosen"], row)
    if isinstance(prompt, list):
        return _from_messages([*prompt, {"role": "assistant", "content": answer}], columns["prompt"], row)
    return Conversation(tuple(_transcript(answer, columns["chosen"])), line=row.line)


def _transcript(text: str, path: str) -> list[dict[str, Any]]:
    """Return the turns of a text that is written as `Human: ... Assistant: ...`."""
    parts = _TRANSCRIPT.split(text)
    if len(parts) < 3:
        raise _Wrong(
            "DATA-04", f"{path}: no question found; choose a column for the prompt.", "Map the prompt column."
        )
    names, texts = parts[1::2], parts[2::2]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[n], "content": t.strip()} for n, t in zip(names, texts, strict=True)]


def _with_system(made: Conversation, system: str | None) -> Conversation:
    if not system or not made.messages or made.messages[0]["role"] == "system":
        return made
    moved = frozenset(i + 1 for i in made.untrained)
    first = {"role": "system", "content": system}
    return Conversation((first, *made.messages), made.tools, line=made.line, untrained=moved)


def _check_roles(made: Conversation) -> None:
    """Refuse two questions in a row, a system message in the middle, and a row without an answer."""
    hint = "Roles go system, then user and assistant in turn; map other names."
    before = ""
    for i, message in enumerate(made.messages):
        role = message["role"]
        if role == "system" and i:
            problem = "stands twice" if before == "system" else "is not the first"
            raise _Wrong("DATA-05", f'message {i + 1}: role "system" {problem}.', hint)
        if role == before and role == "user":
            raise _Wrong("DATA-05", f'message {i + 1}: role "{role}" comes twice in a row.', hint)
        if role == before == "assistant" and not made.messages[i - 1].get("tool_calls"):
            raise _Wrong("DATA-05", f'message {i + 1}: role "{role}" comes twice in a row.', hint)
        before = role
    answers = [m for m in made.messages if m["role"] == "assistant"]
    if before != "assistant" or not answers:
        shown = before or "none"
        raise _Wrong(
            "DATA-05", f'message {len(made.messages)}: role "{shown}" ends the row, without an answer.', hint
        )
    empty = [m for m in answers if INVISIBLE.fullmatch(m["content"]) and not m.get("tool_calls")]
    if len(empty) == len(answers):
        raise _Wrong("DATA-06", "the answer is empty.", "Leave such rows out, or look at the answer column.")


_MAKERS: dict[str, Callable[[Row, Mapping], Conversation]] = {
    "messages": _messages,
    "sharegpt": _messages,
    "alpaca": _alpaca,
    "prompt_completion": _prompt_completion,
    "text": _text,
    "preference": _preference,
}
