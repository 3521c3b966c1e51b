"""Layouts of conversations and of preference pairs, recognised from the first rows of a file."""

from __future__ import annotations

from collections.abc import Iterator

from engine.data.columns import Mapping
from engine.data.messages import is_transcript
from engine.data.sample import Finder, Sample, listed, marked_words

PREFERENCES = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
    ("preferred", "rejected"),
    ("accepted", "rejected"),
    ("preferred", "dispreferred"),
    ("preferred_response", "rejected_response"),
    ("response_j", "response_k"),
    ("win", "lose"),
    ("good", "bad"),
)
ASKED = (
    "prompt",
    "question",
    "instruction",
    "input",
    "query",
    "context",
    "conversations",
    "messages",
    "history",
)
DIALOGUES = (
    "conversation",
    "conversations",
    "messages",
    "dialog",
    "dialogue",
    "dialogs",
    "turns",
    "utterances",
    "chat",
)
TURN_PAIRS = (
    ("input", "output"),
    ("question", "answer"),
    ("prompt", "response"),
    ("prompt", "completion"),
    ("human", "assistant"),
    ("user", "assistant"),
    ("human", "gpt"),
    ("query", "response"),
    ("instruction", "output"),
)


def find_preference(sample: Sample) -> Mapping | None:
    """Take an answer that is preferred and one that is not."""
    for chosen, rejected in PREFERENCES:
        if chosen not in sample.names or rejected not in sample.names:
            continue
        preferred, other = sample.names[chosen], sample.names[rejected]
        columns = {"chosen": preferred, "rejected": other}
        if (prompt := sample.first(ASKED)) is not None:
            columns["prompt"] = prompt
            extra = sample.first(("input", "context"), sample.is_text)
            if extra is not None and prompt == sample.names.get("instruction"):
                columns["input"] = extra
        reason = f"Columns {preferred} and {other}: preference pairs; {preferred} is learnt."
        return Mapping("preference", columns | sample.extras("system", "tools"), reason)
    return None


def find_turn_pair(sample: Sample) -> Mapping | None:
    """Take a prompt that is a list of messages, and a completion that is another or a text."""
    for prompt, completion in (("prompt", "completion"), ("prompt", "response"), ("messages", "completion")):
        if prompt not in sample.names or completion not in sample.names:
            continue
        asked, answer = sample.names[prompt], sample.names[completion]
        in_turns = [sample.has_turns(column, "role") for column in (asked, answer)]
        if any(in_turns) and (in_turns[1] or sample.is_text(answer)):
            columns = {"prompt": asked, "completion": answer, **sample.extras("system", "tools", "desirable")}
            reason = (
                f"Columns {asked} and {answer} hold messages: question and answer.{marked_words(columns)}"
            )
            return Mapping("prompt_completion", columns, reason)
    return None


def _paths(sample: Sample) -> Iterator[str]:
    """Yield the columns, then those one step inside them, where messages may lie."""
    yield from sample.names.values()
    for column in sample.names.values():
        inside = next((v for v in sample.values(column) if isinstance(v, dict)), {})
        for key in ("messages", "conversations", "conversation"):
            if key in inside:
                yield f"{column}.{key}"


def find_messages(sample: Sample) -> Mapping | None:
    """Take lists of messages with role and content."""
    for path in _paths(sample):
        if sample.has_turns(path, "role"):
            columns = {"messages": path, **sample.extras("system", "tools", "tool_calls", "desirable")}
            reason = f"Column {path} holds messages with role and content.{marked_words(columns)}"
            return Mapping("messages", columns, reason)
    for path in _paths(sample):
        for role, content in (("speaker", "text"), ("speaker", "utterance"), ("author", "text")):
            if sample.has_turns(path, role, content):
                columns = {"messages": path, "role": role, "content": content}
                reason = f"Column {path} holds messages with {role} and {content}."
                return Mapping("messages", columns | sample.extras("system", "tools"), reason)
    return None


def find_sharegpt(sample: Sample) -> Mapping | None:
    """Take lists of turns with from and value."""
    for path in _paths(sample):
        if sample.has_turns(path, "from", "value"):
            columns = {"conversations": path, **sample.extras("system", "tools", "desirable")}
            reason = f"Column {path} holds turns with from and value: ShareGPT.{marked_words(columns)}"
            return Mapping("sharegpt", columns, reason)
    return None


def find_double_turns(sample: Sample) -> Mapping | None:
    """Take lists of turns that hold a question and its answer, with names that end so."""
    for column in () if "instruction" in sample.names else sample.names.values():
        lists = [value for value in map(listed, sample.values(column)) if isinstance(value, list) and value]
        if not lists or not all(isinstance(value[0], dict) for value in lists):
            continue
        keys = list(lists[0][0])
        for question, answer in TURN_PAIRS:
            asks = [key for key in keys if key == question or key.endswith(f"_{question}")]
            answers = [key for key in keys if key == answer or key.endswith(f"_{answer}")]
            if len(asks) == 1 and len(answers) == 1:
                columns = {"messages": column, "question": asks[0], "answer": answers[0]}
                system = [key for key in keys if key == "system" or key.endswith("_system")]
                columns |= (
                    {"system": f"{column}[0].{system[0]}"} if len(system) == 1 else sample.extras("system")
                )
                reason = f"Column {column} holds turns, each with {asks[0]} and {answers[0]}."
                return Mapping("messages", columns | sample.extras("tools"), reason)
    return None


def find_dialogue(sample: Sample) -> Mapping | None:
    """Take lists of texts, or of pairs of them, said in turn."""

    def said_in_turn(column: str) -> bool:
        return sample.mostly(
            column,
            lambda value: (
                isinstance(value, list)
                and len(value) > 1
                and all(isinstance(item, str) for item in value)
                or isinstance(value, list)
                and bool(value)
                and all(isinstance(item, list) and len(item) == 2 for item in value)
            ),
        )

    column = sample.first(DIALOGUES, said_in_turn)
    if column is None:
        return None
    reason = f"Column {column} holds texts said in turn: the first asks, the second answers."
    return Mapping("messages", {"messages": column, **sample.extras("system", "tools")}, reason)


def find_transcript(sample: Sample) -> Mapping | None:
    """Take a text written as `Human: ... Assistant: ...`."""
    for column in sample.names.values():
        if sample.mostly(column, lambda value: isinstance(value, str) and is_transcript(value)):
            reason = f"Column {column} holds transcripts of Human and Assistant."
            return Mapping("messages", {"messages": column, **sample.extras("system")}, reason)
    return None


CHATS: tuple[Finder, ...] = (
    find_preference,
    find_turn_pair,
    find_messages,
    find_sharegpt,
    find_double_turns,
    find_transcript,
)
