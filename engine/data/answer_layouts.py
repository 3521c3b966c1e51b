"""Layouts of a question and its answer, recognised from the first rows of a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import ascii_lowercase
from typing import Any

from engine.data.choices import reading_of
from engine.data.columns import Mapping
from engine.data.sample import CONTEXTS, HALF, MOST, Finder, Sample, marked_words, several

# Pairs of names, the most telling first: what is asked, and what is answered.
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
    ("question", "correct_answer"),
    ("question", "output"),
    ("question", "solution"),
    ("question", "query"),
    ("question", "sql"),
    ("question", "answers"),
    ("sql_prompt", "sql"),
    ("problem", "solution"),
    ("problem", "answer"),
    ("context", "completion"),
    ("input", "output"),
    ("input", "target"),
    ("input", "label"),
    ("inputs", "targets"),
    ("input_text", "target_text"),
    ("input_text", "output_text"),
    ("source", "target"),
    ("source_text", "target_text"),
    ("src", "tgt"),
    ("query", "response"),
    ("query", "answer"),
    ("user", "assistant"),
    ("human", "assistant"),
    ("message", "reply"),
    ("article", "summary"),
    ("document", "summary"),
    ("dialogue", "summary"),
    ("text", "summary"),
    ("article", "highlights"),
)
ANSWERS = ("output", "response", "answer", "completion", "solution", "target")
LABELS = (
    "label_text",
    "label_name",
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
    "sentence_good",
)
TWO_TEXTS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
)
CHOICES = ("choices", "options", "mc1_targets", "endings", "candidates")
CHOICE_QUESTIONS = (
    "question",
    "question.stem",
    "stem",
    "prompt",
    "goal",
    "ctx",
    "problem",
    "query",
    "sentence",
)
CHOICE_ANSWERS = (
    "answerkey",
    "answer_key",
    "answer_idx",
    "answer_index",
    "correct_option",
    "cop",
    "answer",
    "label",
    "correct",
    "correct_answer",
    "gold",
    "target",
)
_NUMBERED = re.compile(r"(|opt|option|op|choice|sol|answer|ending)[_ ]?([a-h]|[0-9])")
_GENERIC = re.compile(r"column_\d+")


def _choice_columns(sample: Sample) -> Iterator[str]:
    """Yield where choices may lie: a column, one inside the question, or several named in order."""
    for name in CHOICES:
        if name in sample.names:
            yield sample.names[name]
        if "question" in sample.names:
            yield f"{sample.names['question']}.{name}"
    groups: dict[str, list[str]] = {}
    for name, column in sample.names.items():
        parts = _NUMBERED.fullmatch(name)
        if parts and sample.is_text(column):
            groups.setdefault(parts[1] + ("9" if parts[2].isdigit() else "z"), []).append(column)
    for columns in groups.values():
        if 2 <= len(columns) and not any("," in column for column in columns):
            yield ", ".join(columns)


def find_choices(sample: Sample) -> Mapping | None:
    """Take a question with several choices and the right one."""
    if (made := _unnamed_choices(sample)) is not None:
        return made
    for choices in _choice_columns(sample):
        inside = choices.rpartition(".")[0]
        questions = (
            [f"{inside}.stem"] if inside else [sample.names[n] for n in CHOICE_QUESTIONS if n in sample.names]
        )
        question = next((path for path in questions if sample.is_text(path)), None)
        if question is None:
            continue
        answers = [choices] if "," not in choices else []
        for answer in (*[sample.names[n] for n in CHOICE_ANSWERS if n in sample.names], *answers):
            answer_by, count = reading_of(sample.rows, choices, answer)
            if not count or count < MOST * len(sample.rows) or (answer == choices and answer_by):
                continue
            if not answer_by:
                answer = choices
            columns = {"prompt": question, "choices": choices, "completion": answer}
            context = sample.first(CONTEXTS, sample.is_text)
            columns |= {"context": context} if context and context != question else {}
            how = f"{answer} names the right one" if answer_by else "the one marked 1 is right"
            reason = f"Columns {question} and {choices}: a question with choices; {how}."
            return Mapping("prompt_completion", columns, reason, answer_by=answer_by)
    return None


def _unnamed_choices(sample: Sample) -> Mapping | None:
    """Take a table without a header: question, choices, and a letter at the end."""
    columns = list(sample.names.values())
    if not 4 <= len(columns) <= 12 or not all(_GENERIC.fullmatch(name) for name in sample.names):
        return None
    letters = set(ascii_lowercase[: len(columns) - 2])
    last = columns[-1]
    if not sample.mostly(
        last, lambda value: isinstance(value, str) and value.strip().lower() in letters, 1.0
    ):
        return None
    choices = ", ".join(columns[1:-1])
    reason = (
        f"The last column names one of {len(columns) - 2} choices by its letter: a question with choices."
    )
    chosen = {"prompt": columns[0], "choices": choices, "completion": last}
    return Mapping("prompt_completion", chosen, reason, answer_by="key")


def find_alpaca(sample: Sample) -> Mapping | None:
    """Take an instruction, perhaps with an input, and its output."""
    if "instruction" not in sample.names:
        return None
    instruction = sample.names["instruction"]
    nested = sample.names.get("instances")
    if nested and sample.is_text(f"{nested}[0].output"):
        columns = {"instruction": instruction, "input": f"{nested}[0].input", "output": f"{nested}[0].output"}
        reason = f"Columns {instruction} and {nested}: Alpaca; the first instance is taken."
        return Mapping("alpaca", columns, reason)
    for name in ANSWERS:
        output = sample.answer_path(sample.names[name]) if name in sample.names else None
        if output is None:
            continue
        columns = {"instruction": instruction, "output": output}
        extra = sample.first(("input", *CONTEXTS))
        columns |= {"input": extra} if extra else {}
        columns |= {"history": sample.names["history"]} if "history" in sample.names else {}
        columns |= sample.extras("system", "desirable")
        reason = f"Columns {instruction} and {output}: Alpaca.{several(output)}{marked_words(columns)}"
        return Mapping("alpaca", columns, reason)
    return None


def find_pair(sample: Sample) -> Mapping | None:
    """Take a question and its answer, perhaps with what the answer is to be found in."""
    for prompt, completion in PAIRS:
        if prompt not in sample.names or completion not in sample.names:
            continue
        asked, answer = sample.names[prompt], sample.answer_path(sample.names[completion])
        if answer is None or not sample.is_text(asked):
            continue
        columns = {"prompt": asked, "completion": answer}
        context = sample.first((n for n in CONTEXTS if n not in (prompt, completion)), sample.is_text)
        columns |= {"context": context} if context else {}
        columns |= sample.extras("system", "desirable")
        what = "a question in words and its SQL" if _is_sql(sample, answer) else "question and answer"
        beside = f", with {context} before the question" if context else ""
        reason = f"Columns {asked} and {answer}: {what}{beside}.{several(answer)}{marked_words(columns)}"
        return Mapping("prompt_completion", columns, reason)
    return None


def _is_sql(sample: Sample, path: str) -> bool:
    starts = ("select", "with", "insert", "update", "delete", "create")
    return sample.mostly(path, lambda v: isinstance(v, str) and v.lstrip("( \n").lower().startswith(starts))


def _is_label(value: Any) -> bool:
    return isinstance(value, (str, int)) or isinstance(value, float) and value.is_integer()


def find_label(sample: Sample) -> Mapping | None:
    """Take a text, or two of them, and its label, which may be a number."""

    def fits(column: str) -> bool:
        if column.strip().lower() == "language" and len(sample.rows) > 2:
            return len({str(v) for v in sample.values(column)}) > 1
        return sample.mostly(column, _is_label)

    label = sample.first(LABELS, fits)
    if label is None:
        return None
    two = next((p for p in TWO_TEXTS if all(n in sample.names for n in p)), None)
    if two is not None:
        first, second = sample.names[two[0]], sample.names[two[1]]
        columns = {"context": first, "prompt": second, "completion": label}
        where = f"Columns {first}, {second} and {label}: the label is the answer to the two texts"
    else:
        text = sample.first((n for n in TEXTS if n != "completion"), sample.is_text)
        if text is None:
            return None
        columns = {"prompt": text, "completion": label}
        where = f"Columns {text} and {label}: the label is the answer to the text"
    kinds = sorted({str(value) for value in sample.values(label)})
    shown = f" ({', '.join(kinds[:3])}{', ...' if len(kinds) > 3 else ''})" if all(kinds) else ""
    return Mapping("prompt_completion", columns, f"{where}{shown[:80]}.")


def find_translation(sample: Sample) -> Mapping | None:
    """Take an object that holds a text in two languages."""
    column = sample.names.get("translation")
    first = next((v for v in sample.values(column) if isinstance(v, dict)), {}) if column else {}
    languages = [key for key, value in first.items() if isinstance(value, str)]
    if len(languages) != 2:
        return None
    columns = {"prompt": f"{column}.{languages[0]}", "completion": f"{column}.{languages[1]}"}
    reason = f"Column {column} holds texts in two languages: {languages[1]} answers {languages[0]}."
    return Mapping("prompt_completion", columns, reason)


def find_text(sample: Sample) -> Mapping | None:
    """Take one column of text to be learnt as it is."""

    def lines(value: Any) -> bool:
        return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)

    def fits(column: str) -> bool:
        return sample.is_text(column) or sample.mostly(column, lines)

    column = sample.first(TEXTS, fits)
    if column is None and len(sample.names) == 1 and fits(next(iter(sample.names.values()))):
        column = next(iter(sample.names.values()))
    if column is None:
        return None
    return Mapping("text", {"text": column}, f"Column {column}: text to be learnt as it is.")


def find_suffixes(sample: Sample) -> Mapping | None:
    """Take columns like my_input and my_output by the end of their names."""
    for prompt, completion in PAIRS:
        asked = [c for n, c in sample.names.items() if n.endswith(f"_{prompt}") and sample.is_text(c)]
        answers = [c for n, c in sample.names.items() if n.endswith(f"_{completion}") and sample.is_text(c)]
        if len(asked) == 1 and len(answers) == 1 and asked != answers:
            columns = {"prompt": asked[0], "completion": answers[0]}
            system = [c for n, c in sample.names.items() if n.endswith("_system")]
            columns |= {"system": system[0]} if len(system) == 1 else {}
            reason = f"The names of {asked[0]} and {answers[0]} end like a question and its answer."
            return Mapping("prompt_completion", columns, reason)
    return None


def find_two(sample: Sample) -> Mapping | None:
    """Take two columns of text."""
    columns = list(sample.names.values())
    if len(columns) != 2 or not all(sample.is_text(c) for c in columns):
        return None
    chosen = {"prompt": columns[0], "completion": columns[1]}
    return Mapping("prompt_completion", chosen, "Two columns: the second answers the first.")


def find_numbers(sample: Sample) -> Mapping | None:
    """Take a question whose answers are numbers: every row is then told how to mend it."""
    for prompt, completion in PAIRS:
        asked, answer = sample.names.get(prompt), sample.names.get(completion)
        if asked is None or answer is None or not sample.is_text(asked):
            continue
        if sample.mostly(answer, lambda value: isinstance(value, (int, float)), HALF):
            reason = (
                f"Columns {asked} and {answer}: question and answer, but {answer} holds numbers, not text."
            )
            return Mapping("prompt_completion", {"prompt": asked, "completion": answer}, reason)
    return None


ANSWERED: tuple[Finder, ...] = (find_choices, find_alpaca, find_pair)
# What stands on less than the names of a question and its answer.
WEAK: tuple[Finder, ...] = (find_label, find_translation, find_text, find_suffixes, find_two, find_numbers)
