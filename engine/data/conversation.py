"""One row as one conversation (or piece of text), or the finding that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

from engine.data.choices import answer_of, with_choices
from engine.data.columns import MISSING, Mapping, lookup, root_of
from engine.data.messages import (
    CALLS,
    ROLES,
    Message,
    check_roles,
    give_calls,
    is_transcript,
    messages_of,
    pair_of,
    plain_turns,
    tools_of,
    transcript,
    written_messages,
)
from engine.data.refused import LOOK, VISIBLE, Wrong, expected, is_blank
from engine.data.rows import Finding, Row
from engine.errors import EngineError
from engine.paths import show_name

__all__ = ["Conversation", "ConversationOptions", "to_conversation"]

SystemMessage = Literal["keep", "first_question"]
_YES, _NO = ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True)
class Conversation:
    """Messages to be rendered by the chat template, or `text` to be trained as it is.

    `untrained` are the positions of assistant messages that the row itself keeps from training (`weight: 0`);
    `file` is set where the rows of a folder come from several files.
    """

    messages: tuple[dict[str, Any], ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    text: str | None = None
    continues: bool = False
    line: int = 0
    untrained: frozenset[int] = field(default=frozenset())
    file: str = ""

    @property
    def prompt(self) -> str:
        """Return the last question, as a person reads it."""
        asked = [m["content"] for m in self.messages if m["role"] == "user"]
        return str(asked[-1]) if asked else ""


@dataclass(frozen=True)
class ConversationOptions:
    """What is the same for every row of a file, as the recipe's data section says.

    `file` and `name` stand in findings; `label_names` says what a label is called in the answer, `role_names`
    what other names of roles mean. Raises EngineError REC-01 for a role that there is not.
    """

    file: str = ""
    name: str = ""
    system_prompt: str | None = None
    label_names: MappingOf[str, str] = field(default_factory=dict)
    role_names: MappingOf[str, str] = field(default_factory=dict)
    system_message: SystemMessage = "keep"
    roles: dict[str, str] = field(init=False, repr=False, compare=False)
    plain_roles: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Put the recipe's names of roles over the usual ones."""
        known = ("system", "user", "assistant", "tool")
        for name, role in self.role_names.items():
            if role not in known:
                raise EngineError(
                    f"{name} cannot mean {role}: there is no such role.",
                    f"Allowed: {', '.join(known)}.",
                    "REC-01",
                    field="data.role_names",
                )
        roles = {**ROLES, **{name.strip().lower(): role for name, role in self.role_names.items()}}
        object.__setattr__(self, "roles", roles)
        plain = {name: role for name, role in roles.items() if name not in CALLS and role != "tool"}
        object.__setattr__(self, "plain_roles", plain)


def to_conversation(row: Row, mapping: Mapping, options: ConversationOptions) -> Conversation | Finding:
    """Return the conversation a row holds under `mapping`, or the finding that says why not."""
    try:
        if "desirable" in mapping.columns:
            _refuse_undesirable(row, mapping)
        return _MAKERS[mapping.format](row, mapping, options)
    except Wrong as wrong:
        message = f"{_place(row, wrong.path, options)}: {show_name(wrong.message, 600)}"
        file, hint = row.file or options.file, show_name(wrong.hint, 600)
        return Finding(wrong.code, file, row.line, None, message, hint, wrong.severity)


def _place(row: Row, path: str | None, options: ConversationOptions) -> str:
    """Return where a row, or a cell of a sheet, stands, as it is told to a person."""
    name = show_name(PurePath(row.file).name) if row.file else options.name
    where = f"line {row.line}"
    if row.cells and path is not None and (column := root_of(path, row.cells)) in row.cells:
        where = f"cell {show_name(row.cells[column])}{row.line}"
    return f"{name}, {where}" if name else where


def _text_at(row: Row, path: str, *, optional: bool = False, lines: bool = False) -> str:
    """Return the text of a column; with `lines` a list of lines is joined. Nothing else becomes text."""
    value = lookup(row.value, path)  # type: ignore[arg-type]
    if type(value) is str:
        return value
    if optional and (value is MISSING or value is None):
        return ""
    if lines and isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return "\n".join(value)
    raise expected(path, "text", value)


def _object(row: Row, mapping: Mapping) -> MappingOf[str, Any]:
    if isinstance(row.value, str):
        wanted = f"an object with {', '.join(mapping.columns.values())}"
        raise Wrong(
            "DATA-04", f"{wanted} expected, text found.", "Correct such rows, or choose the format text."
        )
    return row.value


def _optional(row: Row, mapping: Mapping, role: str) -> str:
    columns = mapping.columns
    return _text_at(row, columns[role], optional=True, lines=True) if role in columns else ""


def _refuse_undesirable(row: Row, mapping: Mapping) -> None:
    """Leave a row out that is marked as an answer not to be given; its absence is a report, no fault."""
    path = mapping.columns["desirable"]
    value = lookup(_object(row, mapping), path)
    said = str(value).strip().lower() if isinstance(value, (bool, int, float, str)) else ""
    said = said.removesuffix(".0")
    if said in _NO:
        raise Wrong(
            "DATA-06",
            f"left out: marked undesirable ({path} is {said}).",
            "Only answers marked true are learnt.",
            "report",
        )
    if said not in _YES:
        raise expected(path, "true or false", value)


def _finished(
    messages: list[Message],
    row: Row,
    options: ConversationOptions,
    tools: tuple[dict[str, Any], ...] = (),
    untrained: frozenset[int] = frozenset(),
    sound: bool = False,
) -> Conversation:
    """Return the conversation with the recipe's system prompt where it has none; `sound` needs no check."""
    first = messages[0]["role"] if messages else ""
    if options.system_prompt and messages and first != "system":
        messages.insert(0, {"role": "system", "content": options.system_prompt})
        untrained = frozenset(i + 1 for i in untrained)
        first = "system"
    if not sound:
        check_roles(messages, untrained)
    if first == "system" and options.system_message == "first_question":
        system, asked = messages[0]["content"], messages[1]
        words = "\n\n".join(text for text in (system, asked["content"]) if text.strip())
        messages[:2] = [{**asked, "content": words}]
        untrained = frozenset(i - 1 for i in untrained)
    return Conversation(tuple(messages), tools, line=row.line, untrained=untrained)


def _turns(
    system: str,
    question: str,
    answer: str,
    column: str,
    row: Row,
    options: ConversationOptions,
    history: Any = (),
) -> Conversation:
    if VISIBLE.search(answer) is None:
        raise Wrong("DATA-06", f"the answer ({column}) is empty.", LOOK)
    messages = [{"role": "system", "content": system}] if system and system.strip() else []
    if history:
        if not isinstance(history, (list, tuple)):
            raise expected("history", "a list of [question, answer]", history)
        for pair in history:
            messages += pair_of(pair, "history")
        check_roles(messages)
    messages.append({"role": "user", "content": question})
    messages.append({"role": "assistant", "content": answer})
    return _finished(messages, row, options, sound=True)


def _alpaca(row: Row, mapping: Mapping, options: ConversationOptions) -> Conversation:
    value, columns = _object(row, mapping), mapping.columns
    question = _text_at(row, columns["instruction"])
    if "input" in columns:
        extra = _optional(row, mapping, "input")
        if extra and extra.strip():
            question = f"{question}\n\n{extra}"
    history = lookup(value, columns["history"]) if "history" in columns else None
    answer = _answer(row, mapping, "output", options)
    system = _optional(row, mapping, "system")
    history = None if history is MISSING else history
    return _turns(system, question, answer, columns["output"], row, options, history)


def _prompt_completion(row: Row, mapping: Mapping, options: ConversationOptions) -> Conversation:
    value, columns = _object(row, mapping), mapping.columns
    prompt = lookup(value, columns["prompt"])
    if type(prompt) is list and prompt and isinstance(prompt[0], dict):
        return _continued(prompt, row, mapping, options)
    question = prompt if type(prompt) is str else _text_at(row, columns["prompt"])
    if "choices" in columns:
        question, answer = with_choices(question, value, mapping)
    else:
        answer = _answer(row, mapping, "completion", options)
    if "context" in columns:
        context = _optional(row, mapping, "context")
        if context and context.strip():
            question = f"{context}\n\n{question}"
    system = _optional(row, mapping, "system")
    return _turns(system, question, answer, columns["completion"], row, options)


def _answer(row: Row, mapping: Mapping, role: str, options: ConversationOptions) -> str:
    """Return the answer of a row: its text, the last message of a list, or what its label is called."""
    path = mapping.columns[role]
    value = lookup(row.value, path)  # type: ignore[arg-type]
    if type(value) is str and not options.label_names and not mapping.label_names:
        return value
    return answer_of(value, path, {**mapping.label_names, **options.label_names}, row.value)


def _continued(prompt: list[Any], row: Row, mapping: Mapping, options: ConversationOptions) -> Conversation:
    """Return a conversation whose beginning is a list of messages, and its end another list, or a text."""
    columns = mapping.columns
    end = lookup(row.value, columns["completion"])  # type: ignore[arg-type]
    if isinstance(end, dict):
        end = [end]
    if not isinstance(end, list) or not end:
        end = [{"role": "assistant", "content": _answer(row, mapping, "completion", options)}]
    return _from_list([*prompt, *end], columns["prompt"], row, mapping, options)


def _text(row: Row, mapping: Mapping, options: ConversationOptions) -> Conversation:
    value = row.value
    text = value if isinstance(value, str) else _text_at(row, mapping.columns.get("text", "text"), lines=True)
    if is_blank(text):
        raise Wrong("DATA-06", f"{mapping.columns.get('text', 'the text')} is empty.", "Leave such rows out.")
    return Conversation(text=text, line=row.line, continues=row.continues)


def _messages(row: Row, mapping: Mapping, options: ConversationOptions) -> Conversation:
    columns = mapping.columns
    path = columns["messages"] if "messages" in columns else columns["conversations"]
    found = lookup(_object(row, mapping), path)
    if isinstance(found, str) and found.strip():
        found = written_messages(found, path)
    if not isinstance(found, list) or not found:
        raise expected(path, "a list of messages", found)
    return _from_list(found, path, row, mapping, options)


def _from_list(
    found: list[Any], path: str, row: Row, mapping: Mapping, options: ConversationOptions
) -> Conversation:
    """Return the conversation of a list of messages with what the row says beside them."""
    columns = mapping.columns
    tools: tuple[dict[str, Any], ...] = ()
    if "tools" in columns:
        tools = tools_of(lookup(row.value, columns["tools"]), columns["tools"])  # type: ignore[arg-type]
    plain = plain_turns(found, options.plain_roles)
    messages, untrained = (plain, frozenset()) if plain else messages_of(found, path, options.roles, columns)
    if "tool_calls" in columns:
        give_calls(messages, lookup(row.value, columns["tool_calls"]), columns["tool_calls"])  # type: ignore[arg-type]
    if "system" in columns and messages[0]["role"] != "system":
        system = _optional(row, mapping, "system")
        if system.strip():
            messages.insert(0, {"role": "system", "content": system})
            untrained = frozenset(i + 1 for i in untrained)
    return _finished(messages, row, options, tools, untrained, sound=plain is not None)


def _preference(row: Row, mapping: Mapping, options: ConversationOptions) -> Conversation:
    """Return the preferred answer with its question: a pair used for plain finetuning."""
    value, columns = _object(row, mapping), mapping.columns
    chosen = lookup(value, columns["chosen"])
    prompt = lookup(value, columns["prompt"]) if "prompt" in columns else MISSING
    if isinstance(prompt, dict):
        prompt = prompt.get("messages", [prompt])
    if isinstance(prompt, str) and (extra := _optional(row, mapping, "input")).strip():
        prompt = f"{prompt}\n\n{extra}"
    answers = [chosen] if isinstance(chosen, dict) else chosen
    if isinstance(answers, list) and answers:
        whole = _preferred(prompt, answers, options)
        return _from_list(whole, columns["chosen"], row, mapping, options)
    answer = _text_at(row, columns["chosen"])
    if isinstance(prompt, list) and prompt:
        whole = [*prompt, {"role": "assistant", "content": answer}]
        return _from_list(whole, columns["prompt"], row, mapping, options)
    if is_transcript(answer):
        return _finished(transcript(answer, columns["chosen"]), row, options)
    if isinstance(prompt, str):
        before = transcript(prompt.removesuffix("\n\nAssistant:"), "prompt") if _asks_in_turn(prompt) else []
        if before:
            return _finished([*before, {"role": "assistant", "content": answer.strip()}], row, options)
        system = _optional(row, mapping, "system")
        return _turns(system, prompt, answer, columns["chosen"], row, options)
    if prompt is not MISSING:
        raise expected(columns["prompt"], "text or messages", prompt)
    return _finished(transcript(answer, columns["chosen"]), row, options)


def _asks_in_turn(prompt: str) -> bool:
    return prompt.lstrip().startswith("Human:") and prompt.rstrip().endswith("\n\nAssistant:")


def _preferred(prompt: Any, answers: list[Any], options: ConversationOptions) -> list[Any]:
    """Return the messages of a preferred answer; one that begins with the question needs no prompt."""
    first = answers[0] if isinstance(answers[0], dict) else {}
    name = first.get("role", first.get("from"))
    if not isinstance(name, str) or options.roles.get(name.strip().lower()) != "assistant":
        return answers
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}, *answers]
    return [*prompt, *answers] if isinstance(prompt, list) else answers


_MAKERS: dict[str, Callable[[Row, Mapping, ConversationOptions], Conversation]] = {
    "messages": _messages,
    "sharegpt": _messages,
    "alpaca": _alpaca,
    "prompt_completion": _prompt_completion,
    "text": _text,
    "preference": _preference,
}
