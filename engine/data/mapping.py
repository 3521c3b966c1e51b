"""Finding out how rows are laid out: the format and the role of each column, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from typing import Any, get_args

from engine.data.answer_layouts import ANSWERED, LABELS, WEAK
from engine.data.chat_layouts import CHATS, find_dialogue
from engine.data.choices import reading_of
from engine.data.columns import INSIDE, MISSING, NEEDED, OPTIONAL, Format, Mapping, lookup, roots_of
from engine.data.conversation import Conversation, ConversationOptions, to_conversation
from engine.data.rows import Row
from engine.data.sample import Finder, Sample
from engine.errors import EngineError
from engine.paths import show_name

__all__ = ["Conversation", "ConversationOptions", "Mapping", "choose", "guess", "to_conversation"]

FORMATS: tuple[str, ...] = get_args(Format)
STRONG: tuple[Finder, ...] = (*CHATS, *ANSWERED, find_dialogue)
FINDERS: tuple[Finder, ...] = (*STRONG, *WEAK)
ALTERNATIVES = 6
TRIED = 20
LONGEST = 600  # characters of a message or reason
LabelNames = MappingOf[str, str]
ColumnLabels = MappingOf[str, Sequence[str]]


def guess(
    rows: Iterable[dict[str, Any] | str],
    label_names: LabelNames | None = None,
    column_labels: ColumnLabels | None = None,
) -> Mapping:
    """Return the mapping that fits some first rows; raises EngineError DATA-04 where none does."""
    everything = list(rows)
    sample = Sample([row for row in everything if isinstance(row, dict)])
    if not sample.rows:
        return Mapping("text", {}, "The file is plain text." if everything else "The file has no rows.")
    found = [made for made in (find(sample) for find in FINDERS) if made is not None]
    if not found:
        raise EngineError(
            show_name(f"No answer column was found among {sample.shown()}.", LONGEST),
            show_name(
                f"Say which column asks and which answers, as in columns: {_example(sample)}.", LONGEST
            ),
            "DATA-04",
            field="data.columns",
        )
    first, *rest = (_finished(made, sample, label_names, column_labels) for made in found)
    others: list[Mapping] = []
    for made in rest:
        if all(made.columns != other.columns for other in (first, *others)) and _works(made, first, sample):
            others.append(made)
    return replace(first, alternatives=tuple(others[:ALTERNATIVES]))


def _works(made: Mapping, first: Mapping, sample: Sample) -> bool:
    """Say whether an alternative can be offered: its rows can be used, and it learns no refused answer."""
    if first.columns.get("rejected", "") in made.columns.values():
        return False
    options = ConversationOptions()
    rows = [Row(row, 1) for row in sample.rows[:TRIED]]
    used = sum(isinstance(to_conversation(row, made, options), Conversation) for row in rows)
    return 2 * used >= len(rows)


def _example(sample: Sample) -> str:
    texts = [column for column in sample.names.values() if sample.is_text(column)]
    asked, answer = texts[:2] if len(texts) > 1 else ("question", "answer")
    return f"{{prompt: {asked}, completion: {answer}}}"


def choose(
    rows: Iterable[dict[str, Any] | str],
    format: str = "auto",
    columns: MappingOf[str, str] | None = None,
    label_names: LabelNames | None = None,
    column_labels: ColumnLabels | None = None,
) -> Mapping:
    """Return the mapping a recipe asks for: its columns over the guess, its format over the guessed one.

    A role whose column is empty is not used. `label_names` are the recipe's names of labels, `column_labels`
    those the file itself has for the numbers of a column.
    """
    everything, given = list(rows), dict(columns or {})
    sample = Sample([row for row in everything if isinstance(row, dict)])
    if format not in ("auto", *FORMATS):
        raise EngineError(
            f"The format {format} is not known.",
            f"Allowed: auto, {', '.join(FORMATS)}.",
            "REC-01",
            field="data.format",
        )
    if format == "auto" and not given:
        return guess(everything, label_names, column_labels)
    if format == "auto":
        format = _format_of(given, sample)
    known = {*NEEDED.get(format, ()), *OPTIONAL.get(format, ())}
    if odd := set(given) - known:
        raise EngineError(
            f"{sorted(odd)[0]} is no role of the format {format}.",
            f"Roles are {', '.join(sorted(known) or sorted({r for n in NEEDED.values() for r in n}))}.",
            "REC-01",
            field="data.columns",
        )
    if format == "text" and not sample.rows:
        return Mapping("text", {}, "The file is plain text.")
    taken = given if set(NEEDED[format]) <= set(given) else {**_own_columns(sample, format, given), **given}
    taken = {role: path for role, path in taken.items() if path.strip()}
    _check_columns(sample, format, taken, given)
    made = Mapping(format, taken, "As the recipe says.")  # type: ignore[arg-type]
    return _finished(made, sample, label_names, column_labels)


def _check_columns(sample: Sample, format: str, taken: dict[str, str], given: dict[str, str]) -> None:
    if format == "messages" and ("question" in taken) != ("answer" in taken):
        raise EngineError(
            "Turns that hold a question and its answer need both names.",
            "Name question and answer, or neither.",
            "REC-01",
            field="data.columns",
        )
    missing = [role for role in NEEDED[format] if role not in taken]
    absent = [path for role, path in given.items() if path and not _is_there(sample, role, path)]
    if missing or absent:
        what = f"No row has the column {absent[0]}." if absent else f"No column was found for {missing[0]}."
        hint = show_name(f"Columns are {sample.shown()}.", LONGEST)
        raise EngineError(show_name(what, LONGEST), hint, "DATA-04", field="data.columns")


def _is_there(sample: Sample, role: str, path: str) -> bool:
    if role in INSIDE:
        return True
    paths = [part.strip() for part in path.split(",")] if role == "choices" else []
    return any(
        lookup(row, path) is not MISSING
        or (len(paths) > 1 and any(lookup(row, p) is not MISSING for p in paths))
        for row in sample.rows
    )


def _finished(
    made: Mapping, sample: Sample, label_names: LabelNames | None, column_labels: ColumnLabels | None
) -> Mapping:
    """Add what the rows tell of a mapping: unused columns, names of labels, how answers name choices."""
    used = {root for roots in roots_of(made, sample.names.values()).values() for root in roots}
    unused = tuple(column for column in sample.names.values() if column not in used)
    answer = made.columns.get("completion") or made.columns.get("output") or ""
    own = (column_labels or {}).get(answer, ())
    names = {**{str(number): name for number, name in enumerate(own)}, **(label_names or {})}
    answer_by, reason = made.answer_by, made.reason
    if "choices" in made.columns:
        answer_by = answer_by or reading_of(sample.rows, made.columns["choices"], answer)[0]
        names = {}
    elif answer and not names and _holds_numbers(sample, answer):
        reason = f"{reason} Its numbers have no names: say what each means in label names, as in 0: negative."
    elif answer and not names and _holds_digits(sample, answer):
        reason = f"{reason} Its labels are bare numbers: label names can say what each means."
    reason = show_name(reason, LONGEST)
    return replace(made, unused=unused, label_names=names, answer_by=answer_by, reason=reason)


def _holds_numbers(sample: Sample, path: str) -> bool:
    return sample.mostly(path, lambda value: isinstance(value, (bool, int, float)), 0.5)


def _holds_digits(sample: Sample, path: str) -> bool:
    named = path.strip().lower() in LABELS
    return named and sample.mostly(path, lambda value: isinstance(value, str) and value.isdecimal(), 1.0)


def _format_of(columns: dict[str, str], sample: Sample) -> str:
    """Return the format whose needed roles are all named, else the guessed or first one that has them."""
    for format in ("prompt_completion", "alpaca", "preference", "sharegpt", "messages", "text"):
        if set(NEEDED[format]) <= set(columns):
            return format
    fits = [format for format in NEEDED if set(columns) <= {*NEEDED[format], *OPTIONAL[format]}]
    guessed = next((m.format for m in (find(sample) for find in FINDERS) if m and m.format in fits), None)
    return guessed or next(iter(fits), "auto")


def _own_columns(sample: Sample, format: str, given: dict[str, str]) -> dict[str, str]:
    """Return what the guess, or the plain names of the roles, say for one format."""
    known = {*NEEDED[format], *OPTIONAL[format]}
    for find in FINDERS:
        made = find(sample)
        if made is None:
            continue
        if made.format == format:
            own = dict(made.columns)
            if "completion" in given and "choices" not in given:
                own.pop("choices", None)
            return own
        if {made.format, format} == {"messages", "sharegpt"} and "question" not in made.columns:
            own = {NEEDED[format][0]: made.columns[NEEDED[made.format][0]], **made.columns}
            return {role: path for role, path in own.items() if role in known}
    roles = (*NEEDED[format], *OPTIONAL[format])
    return {role: sample.names[role] for role in roles if role in sample.names and role not in INSIDE}
