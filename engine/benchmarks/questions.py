"""A question as every model gets it, and how the rows of each data set become one."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.benchmarks import patterns
from engine.benchmarks.spec import Arithmetic, Benchmark
from engine.errors import EngineError

Row = Mapping[str, Any]
LETTERS = "ABCDEFGH"
CHECK_NAMES = ("", "exact", "contains", "json", "regex", "none")


@dataclass(frozen=True)
class Question:
    """One question: `context` and an ending are one text. The chat template makes it of `messages`, if any.

    `text` is the question alone, as a person reads it.

    `choices` are as a person reads them, `right` the places of the right ones. `check` is how this answer
    alone is judged, where a person said so.
    """

    item: int
    text: str
    context: str
    choices: tuple[str, ...] = ()
    right: tuple[int, ...] = ()
    expected: str = ""
    check: str = ""
    messages: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Fields:
    """What a row says: texts for the prompt, the choices, which of them are right, the answer in words."""

    texts: dict[str, str] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    right: tuple[int, ...] = ()
    answer: str = ""
    check: str = ""
    messages: tuple[dict[str, str], ...] = ()


def questions_of(benchmark: Benchmark, rows: Iterable[Row], shots: Iterable[Row] = ()) -> list[Question]:
    """Return the questions of rows, each after the same examples; they are numbered from 0.

    Raises EngineError DATA-03 for a row that is not of the benchmark's form.
    """
    read = FORMS[benchmark.form]
    examples = []
    for number, row in enumerate(shots):
        if number == benchmark.shots:
            break
        fields = _fields(read, row, benchmark, number)
        answer = fields.choices[fields.right[0]] if fields.choices else fields.answer
        examples.append(_filled(benchmark.prompt, fields.texts) + benchmark.delimiter + answer)
    if len(examples) < benchmark.shots:
        raise EngineError(
            f"{benchmark.label} begins with {benchmark.shots} examples; {len(examples)} were found.",
            "Put the file of examples beside the questions.",
            "DATA-07",
        )
    head = benchmark.before + "".join(f"{example}\n\n" for example in examples)
    return [
        _question(benchmark, head, number, _fields(read, row, benchmark, number))
        for number, row in enumerate(rows)
    ]


def _fields(read: Callable[[Row], Fields], row: Row, benchmark: Benchmark, number: int) -> Fields:
    try:
        return read(row)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise EngineError(
            f"Row {number + 1} is no row of {benchmark.label}.",
            "Choose a file in the form in which the hub has it.",
            "DATA-03",
        ) from error


def _question(benchmark: Benchmark, head: str, number: int, fields: Fields) -> Question:
    text = _filled(benchmark.prompt, fields.texts)
    expected = fields.answer or " / ".join(fields.choices[i] for i in fields.right)
    messages: tuple[dict[str, str], ...] = ()
    if benchmark.chat:
        messages = fields.messages or ({"role": "user", "content": head + text},)
    shown = text.strip() or " / ".join(fields.choices)
    return Question(
        number, shown, head + text, fields.choices, fields.right, expected, fields.check, messages
    )


def _filled(prompt: str, texts: Mapping[str, str]) -> str:
    """Put texts into `{name}` places at once, so that what a row says is never read as a place."""
    return re.sub(r"\{(\w+)\}", lambda place: texts[place[1]], prompt)


def arithmetic_rows(made: Arithmetic) -> list[Row]:
    """Return questions of adding and subtracting, no pair of numbers twice, the same for a seed."""
    chance, top = random.Random(made.seed), 10**made.digits
    rows: list[Row] = []
    seen = set()
    while len(rows) < made.count:
        a, b = chance.randrange(top), chance.randrange(top)
        word = "plus" if len(rows) % 2 == 0 else "minus"
        if (a, b, word) not in seen:
            seen.add((a, b, word))
            result = a + b if word == "plus" else a - b
            rows.append(
                {"context": f"Question: What is {a} {word} {b}?\nAnswer:", "completion": f" {result}"}
            )
    return rows


def _arc(row: Row) -> Fields:
    """Both the hub's form and that of the original release, where stem and choices lie inside `question`."""
    question = row["question"]
    if isinstance(question, Mapping):
        stem, choices = str(question["stem"]), question["choices"]
        texts, labels = [str(c["text"]) for c in choices], [str(c["label"]) for c in choices]
    else:
        stem, choices = str(question), row["choices"]
        texts, labels = [str(t) for t in choices["text"]], [str(x) for x in choices["label"]]
    return Fields({"question": stem}, tuple(texts), (labels.index(str(row["answerKey"])),))


def _mmlu(row: Row) -> Fields:
    """The hub's form, or a table without names: question, four choices, letter."""
    if "choices" in row:
        question, choices, answer = row["question"], list(row["choices"]), row["answer"]
    else:
        question, *choices, answer = list(row.values())
    if len(choices) != 4:
        raise ValueError(f"{len(choices)} choices")
    place = LETTERS.index(answer.strip()) if isinstance(answer, str) else int(answer)
    texts = {"question": str(question).strip(), **dict(zip("abcd", map(str, choices), strict=True))}
    return Fields(texts, ("A", "B", "C", "D"), (place,))


def _targets(row: Row, name: str) -> Fields:
    """TruthfulQA: the hub's lists of choices and labels, or the release's map from choice to label."""
    targets = row[name]
    if "choices" in targets and "labels" in targets:
        pairs = list(zip(targets["choices"], targets["labels"], strict=True))
    else:
        pairs = list(targets.items())
    choices = tuple(str(choice) for choice, _ in pairs)
    right = tuple(place for place, (_, label) in enumerate(pairs) if int(label) == 1)
    if not right:
        raise ValueError("no right answer")
    return Fields({"question": str(row["question"])}, choices, right)


def _blimp(row: Row) -> Fields:
    return Fields({}, (str(row["sentence_good"]), str(row["sentence_bad"])), (0,))


def _hellaswag(row: Row) -> Fields:
    begun = f"{row['activity_label']}: {row['ctx_a']} {str(row['ctx_b']).capitalize()}"
    endings = tuple(_cleaned(str(ending)) for ending in row["endings"])
    return Fields({"context": _cleaned(begun)}, endings, (int(row["label"]),))


def _cleaned(text: str) -> str:
    """Take out the marks that HellaSwag's texts from WikiHow carry, as lm-eval does."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def _piqa(row: Row) -> Fields:
    choices = (str(row["sol1"]), str(row["sol2"]))
    return Fields({"goal": str(row["goal"])}, choices, (int(row["label"]),))


def _gsm8k(row: Row) -> Fields:
    return Fields({"question": str(row["question"])}, answer=str(row["answer"]))


def _completion(row: Row) -> Fields:
    return Fields({"context": str(row["context"])}, answer=str(row["completion"]).removeprefix(" "))


def _choice(row: Row) -> Fields:
    choices = tuple(str(choice) for choice in row["choices"])
    right = int(row["right"])
    if not 0 <= right < len(choices):
        raise ValueError(f"right = {right}")
    return Fields({"question": str(row.get("question", ""))}, choices, (right,))


def _instruction(row: Row) -> Fields:
    """A prompt or a conversation, what is expected of its answer, and how that is checked."""
    check = str(row.get("check") or "")
    if check not in CHECK_NAMES:
        raise ValueError(f"check = {check}")
    expected = str(row["expected"])
    if check == "regex" and (wrong := patterns.why_not(expected)):
        raise ValueError(f"the pattern cannot be used: {wrong}")
    if "messages" not in row:
        return Fields({"prompt": str(row["prompt"])}, answer=expected, check=check)
    messages = tuple({"role": str(m["role"]), "content": str(m["content"])} for m in row["messages"])
    return Fields({"prompt": messages[-1]["content"]}, answer=expected, check=check, messages=messages)


FORMS: dict[str, Callable[[Row], Fields]] = {
    "arc": _arc,
    "mmlu": _mmlu,
    "truthfulqa_mc1": lambda row: _targets(row, "mc1_targets"),
    "truthfulqa_mc2": lambda row: _targets(row, "mc2_targets"),
    "blimp": _blimp,
    "hellaswag": _hellaswag,
    "piqa": _piqa,
    "gsm8k": _gsm8k,
    "completion": _completion,
    "choice": _choice,
    "instruction": _instruction,
}
