"""Finding out how rows are laid out: the format and the role of each column, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

from engine.data.columns import MISSING, NEEDED, OPTIONAL, Format, Mapping, lookup
from engine.data.conversation import Conversation, ConversationOptions, to_conversation
from engine.errors import EngineError

__all__ = ["Conversation", "ConversationOptions", "Mapping", "choose", "guess", "to_conversation"]

FORMATS: tuple[str, ...] = get_args(Format)

# Pairs of names, the most telling first: what is asked, what is answered, and what stands beside it.
PAIRS: tuple[tuple[str, str], ...] = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("prompt", "output"),
    ("prompt", "canonical_solution"),
    ("question", "answer"),
    ("question", "response"),
    ("question", "best answer"),
    ("question", "best_answer"),
    ("question", "output"),
    ("question", "solution"),
    ("question", "query"),
    ("question", "sql"),
    ("problem", "solution"),
    ("context", "completion"),
    ("input", "output"),
    ("input", "target"),
    ("input", "label"),
    ("inputs", "targets"),
    ("source", "target"),
    ("src", "tgt"),
    ("query", "response"),
    ("query", "answer"),
    ("user", "assistant"),
    ("human", "assistant"),
    ("article", "summary"),
    ("document", "summary"),
    ("dialogue", "summary"),
    ("article", "highlights"),
)
LABELS = (
    "label_text",
    "label",
    "labels",
    "category",
    "class",
    "intent",
    "sentiment",
    "topic",
    "tag",
    "language",
)
TEXTS = (
    "text",
    "sentence",
    "content",
    "review",
    "message",
    "utterance",
    "body",
    "document",
    "paragraphs",
    "paragraph",
    "article",
    "story",
    "completion",
)
CONTEXTS = ("context", "passage", "schema", "create_table_statement", "sql_context")
Rows = Sequence[dict[str, Any]]


def guess(rows: Iterable[dict[str, Any] | str]) -> Mapping:
    """Return the mapping that fits some first rows; raises EngineError DATA-04 where none does."""
    sample = list(rows)
    objects = [r for r in sample if isinstance(r, dict)]
    if not objects:
        return Mapping("text", {}, "The file is plain text." if sample else "The file has no rows.")
    names = _names(objects)
    found = [m for m in (find(objects, names) for find in _FINDERS) if m is not None]
    if not found:
        shown = ", ".join(list(names.values())[:12])
        raise EngineError(
            f"No answer column was found among {shown}.",
            "Say which column asks and which answers, as in columns: {prompt: question, completion: answer}.",
            "DATA-04",
            field="data.columns",
        )
    first = found[0]
    others = tuple(m for m in found[1:] if m.columns != first.columns)
    return Mapping(first.format, first.columns, first.reason, others)


def choose(
    rows: Iterable[dict[str, Any] | str], format: str = "auto", columns: dict[str, str] | None = None
) -> Mapping:
    """Return the mapping a recipe asks for: its columns over the guess, its format over the guessed one."""
    sample, columns = list(rows), dict(columns or {})
    objects = [r for r in sample if isinstance(r, dict)]
    if format not in ("auto", *FORMATS):
        raise EngineError(
            f"The format {format} is not known.",
            f"Allowed: auto, {', '.join(FORMATS)}.",
            "REC-01",
            field="data.format",
        )
    if format == "auto" and columns:
        format = _format_of(columns)
    if format == "auto":
        return guess(sample)
    known = {*NEEDED[format], *OPTIONAL[format]}
    if odd := set(columns) - known:
        raise EngineError(
            f"{sorted(odd)[0]} is no role of the format {format}.",
            f"Roles are {', '.join(sorted(known))}.",
            "REC-01",
            field="data.columns",
        )
    if format == "text" and not objects:
        return Mapping("text", {}, "The file is plain text.")
    taken = {**_own_names(objects, format), **columns}
    missing = [role for role in NEEDED[format] if role not in taken]
    absent = [c for c in columns.values() if all(lookup(r, c) is MISSING for r in objects)]
    if missing or absent:
        what = f"No row has the column {absent[0]}." if absent else f"No column was found for {missing[0]}."
        shown = ", ".join(list(_names(objects).values())[:12])
        raise EngineError(what, f"Columns are {shown}.", "DATA-04", field="data.columns")
    return Mapping(format, taken, "As the recipe says.")  # type: ignore[arg-type]


def _format_of(columns: dict[str, str]) -> str:
    """Return the one format whose needed roles are all named."""
    for format in ("prompt_completion", "alpaca", "preference", "sharegpt", "messages", "text"):
        if set(NEEDED[format]) <= set(columns):
            return format
    for format, needed in NEEDED.items():
        if set(columns) <= {*needed, *OPTIONAL[format]}:
            return format
    return "auto"


def _own_names(objects: Rows, format: str) -> dict[str, str]:
    """Return what the guess, or the plain names of the roles, say for one format."""
    names = _names(objects)
    for find in _FINDERS:
        made = find(objects, names)
        if made is not None and made.format == format:
            return made.columns
    roles = (*NEEDED[format], *OPTIONAL[format])
    return {role: names[role] for role in roles if role in names}


def _names(objects: Rows) -> dict[str, str]:
    """Return the columns of some rows by their name in lower case, in order of appearance."""
    names: dict[str, str] = {}
    for row in objects:
        for column in row:
            names.setdefault(column.strip().lower(), column)
    return names


def _values(objects: Rows, column: str) -> list[Any]:
    return [row[column] for row in objects if row.get(column) is not None]


def _is_text(objects: Rows, column: str) -> bool:
    values = _values(objects, column)
    return bool(values) and sum(isinstance(v, str) for v in values) >= 0.9 * len(values)


def _turns_with(objects: Rows, column: str, keys: tuple[str, ...]) -> bool:
    values = _values(objects, column)
    fits = [
        v
        for v in values
        if isinstance(v, list) and v and isinstance(v[0], dict) and all(k in v[0] for k in keys)
    ]
    return bool(values) and len(fits) >= 0.5 * len(values)


def _extras(names: dict[str, str], *roles: str) -> dict[str, str]:
    return {role: names[role] for role in roles if role in names}


def _find_preference(objects: Rows, names: dict[str, str]) -> Mapping | None:
    for chosen, rejected in (("chosen", "rejected"), ("preferred_output", "non_preferred_output")):
        if chosen in names and rejected in names:
            columns = {"chosen": names[chosen], "rejected": names[rejected]}
            for prompt in ("prompt", "question", "instruction", "input", "conversations", "messages"):
                if prompt in names:
                    columns["prompt"] = names[prompt]
                    break
            reason = (
                f"Columns {names[chosen]} and {names[rejected]}: preference pairs; {names[chosen]} is learnt."
            )
            return Mapping("preference", columns | _extras(names, "system"), reason)
    return None


def _find_turn_pair(objects: Rows, names: dict[str, str]) -> Mapping | None:
    """Take a prompt and a completion that are both lists of messages."""
    columns = _extras(names, "prompt", "completion", "system")
    if {"prompt", "completion"} <= set(columns) and all(
        _turns_with(objects, columns[role], ("role",)) for role in ("prompt", "completion")
    ):
        reason = (
            f"Columns {columns['prompt']} and {columns['completion']} hold messages: question and answer."
        )
        return Mapping("prompt_completion", columns, reason)
    return None


def _find_messages(objects: Rows, names: dict[str, str]) -> Mapping | None:
    for column in names.values():
        if _turns_with(objects, column, ("role",)):
            reason = f"Column {column} holds messages with role and content."
            return Mapping("messages", {"messages": column} | _extras(names, "system", "tools"), reason)
    return None


def _find_sharegpt(objects: Rows, names: dict[str, str]) -> Mapping | None:
    for column in names.values():
        if _turns_with(objects, column, ("from", "value")):
            reason = f"Column {column} holds turns with from and value: ShareGPT."
            return Mapping("sharegpt", {"conversations": column} | _extras(names, "system", "tools"), reason)
    return None


def _find_alpaca(objects: Rows, names: dict[str, str]) -> Mapping | None:
    if "instruction" not in names:
        return None
    instruction = names["instruction"]
    nested = names.get("instances")
    if nested and isinstance(lookup(objects[0], f"{nested}[0].output"), str):
        columns = {"instruction": instruction, "input": f"{nested}[0].input", "output": f"{nested}[0].output"}
        return Mapping(
            "alpaca", columns, f"Columns {instruction} and {nested}: Alpaca; the first instance is taken."
        )
    for output in ("output", "response", "answer", "completion"):
        if output in names and _is_text(objects, names[output]):
            columns = {"instruction": instruction, "output": names[output]}
            extra = next((names[n] for n in ("input", *CONTEXTS) if n in names), None)
            columns |= {"input": extra} if extra else {}
            reason = f"Columns {instruction} and {names[output]}: Alpaca."
            return Mapping("alpaca", columns | _extras(names, "system", "history"), reason)
    return None


def _find_pair(objects: Rows, names: dict[str, str]) -> Mapping | None:
    for prompt, completion in PAIRS:
        if prompt not in names or completion not in names:
            continue
        p, c = names[prompt], names[completion]
        if _is_text(objects, p) and _is_text(objects, c):
            columns = {"prompt": p, "completion": c}
            context = next((names[n] for n in CONTEXTS if n in names and n != prompt), None)
            columns |= {"context": context} if context and _is_text(objects, context) else {}
            return Mapping(
                "prompt_completion",
                columns | _extras(names, "system"),
                f"Columns {p} and {c}: question and answer.",
            )
    return None


def _find_label(objects: Rows, names: dict[str, str]) -> Mapping | None:
    text = next((names[n] for n in TEXTS if n in names and _is_text(objects, names[n])), None)
    label = next((names[n] for n in LABELS if n in names and _is_text(objects, names[n])), None)
    if text is None or label is None:
        return None
    reason = f"Columns {text} and {label}: the label is the answer to the text."
    return Mapping("prompt_completion", {"prompt": text, "completion": label}, reason)


def _find_text(objects: Rows, names: dict[str, str]) -> Mapping | None:
    def fits(column: str) -> bool:
        values = _values(objects, column)
        lines = [v for v in values if isinstance(v, list) and v and all(isinstance(t, str) for t in v)]
        return _is_text(objects, column) or bool(values) and len(lines) >= 0.9 * len(values)

    column = next((names[n] for n in TEXTS if n in names and fits(names[n])), None)
    if column is None and len(names) == 1 and fits(next(iter(names.values()))):
        column = next(iter(names.values()))
    return (
        Mapping("text", {"text": column}, f"Column {column}: text to be learnt as it is.") if column else None
    )


def _find_suffixes(objects: Rows, names: dict[str, str]) -> Mapping | None:
    """Take columns like my_input and my_output by the end of their names."""
    for prompt, completion in PAIRS:
        p = [c for n, c in names.items() if n.endswith(f"_{prompt}") and _is_text(objects, c)]
        c = [c for n, c in names.items() if n.endswith(f"_{completion}") and _is_text(objects, c)]
        if len(p) == 1 and len(c) == 1:
            columns = {"prompt": p[0], "completion": c[0]}
            system = [c for n, c in names.items() if n.endswith("_system")]
            columns |= {"system": system[0]} if len(system) == 1 else {}
            return Mapping(
                "prompt_completion",
                columns,
                f"The names of {p[0]} and {c[0]} end like a question and its answer.",
            )
    return None


def _find_two(objects: Rows, names: dict[str, str]) -> Mapping | None:
    columns = list(names.values())
    if len(columns) != 2 or not all(_is_text(objects, c) for c in columns):
        return None
    return Mapping(
        "prompt_completion",
        {"prompt": columns[0], "completion": columns[1]},
        "Two columns: the second answers the first.",
    )


_FINDERS: tuple[Callable[[Rows, dict[str, str]], Mapping | None], ...] = (
    _find_preference,
    _find_turn_pair,
    _find_messages,
    _find_sharegpt,
    _find_alpaca,
    _find_pair,
    _find_label,
    _find_text,
    _find_suffixes,
    _find_two,
)
