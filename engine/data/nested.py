"""Rows that stand inside others: questions below paragraphs, columns as lists, rows under their keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Lists of questions and answers that belong to what stands around them.
PAIRS = ("qas", "qa_pairs", "question_answer_pairs", "questions_and_answers")
MARKS = tuple(f'"{name}"' for name in PAIRS)
_SEEN = re.compile(rf'(?<!\\)"({"|".join(PAIRS)})"\s*:\s*\[')
_ASKS = ("question", "prompt", "query", "instruction", "q", "input")
_ANSWERS = ("answer", "answers", "response", "output", "completion", "a")
_SCALAR = (str, int, float, bool, type(None))


def reason(head: str) -> str | None:
    """Return why rows are taken out of rows, None where the first text of a file shows no such nesting."""
    found = _SEEN.search(head)
    if found is None:
        return None
    path = f"paragraphs[].{found[1]}[]" if '"paragraphs"' in head else f"{found[1]}[]"
    taken = "id, title, context, question and answer" if '"paragraphs"' in head else "what stands around it"
    return f"its questions stand in {path}; each of them became a row with {taken}."


def unnest(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the rows that an element holds, None where it is a row itself."""
    paragraphs = value.get("paragraphs")
    if isinstance(paragraphs, list) and any(isinstance(p, dict) and _pairs(p) for p in paragraphs):
        title = value.get("title")
        return [row for p in paragraphs if isinstance(p, dict) for row in _questions(p, title)]
    if _pairs(value):
        return list(_questions(value, value.get("title")))
    return None


def _pairs(value: Mapping[str, Any]) -> list[Any] | None:
    found = next((value[name] for name in PAIRS if isinstance(value.get(name), list)), None)
    if not found or not all(isinstance(item, dict) for item in found):
        return None
    first = found[0]
    return found if any(k in first for k in _ASKS) and any(k in first for k in _ANSWERS) else None


def _questions(paragraph: Mapping[str, Any], title: Any) -> Iterator[dict[str, Any]]:
    around = {k: v for k, v in paragraph.items() if isinstance(v, _SCALAR)}
    if title is not None:
        around["title"] = title
    for item in _pairs(paragraph) or ():
        if "question" in item and "answers" in item:
            names = ("title", "context")
            outer = {k: around[k] for k in names if k in around}
            identity = {"id": item["id"]} if "id" in item else {}
            yield {**identity, **outer, "question": item["question"], "answer": _answer(item["answers"])}
        else:
            yield {**around, **item}


def _answer(answers: Any) -> Any:
    """Return the text of the first answer, empty where a question has none."""
    if isinstance(answers, dict):
        answers = answers.get("text")
    first = answers[0] if isinstance(answers, list) and answers else answers
    if isinstance(first, dict) and "text" in first:
        return first["text"]
    return "" if first is None or first == [] else first


def spread(fields: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str] | None:
    """Return the rows of an object that holds columns or numbered rows, and why; None where it is one row."""
    values = list(fields.values())
    if len(values) >= 2 and all(isinstance(v, list) for v in values):
        count = len(values[0])
        flat = all(isinstance(x, str | int | float | None) for v in values for x in v)
        if count >= 2 and flat and all(len(v) == count for v in values):
            rows = [dict(zip(fields, row, strict=True)) for row in zip(*values, strict=True)]
            return rows, "each of its fields is the list of one column; the rows were put together."
    if len(values) >= 2 and all(isinstance(v, dict) and v for v in values):
        keys = set(values[0])
        if len(keys) >= 2 and all(set(v) == keys for v in values):
            if _numbered(values[0]):
                rows = [{name: v[cell] for name, v in fields.items()} for cell in values[0]]
                return (
                    rows,
                    "each of its fields is one column with numbered cells; the rows were put together.",
                )
            return [dict(v) for v in values], "its rows stand under their keys; the keys were left out."
    return None


def _numbered(cells: Mapping[str, Any]) -> bool:
    return all(key.isdigit() for key in cells)
