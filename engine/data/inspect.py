"""What a file holds and what training would make of it: the answers of `data inspect` and `data preview`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from engine.data.conversation import Conversation
from engine.data.examples import Made, RowStream, as_options, open_source_of, tokenised_rows
from engine.data.masks import segments
from engine.data.report import Lengths
from engine.data.rows import Finding
from engine.data.select import cut_at, select
from engine.data.survey import Survey, Wanted, survey
from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer, open_tokenizer
from engine.errors import EngineError
from engine.recipe.data_options import DataOptions

__all__ = ["common_system_prompt", "examples", "inspect_file", "preview_row"]

SYSTEM_ROWS = 50
UNCUT = 1_048_576


def inspect_file(
    path: str | Path,
    model_folder: str | Path | None = None,
    max_length: int | None = None,
    data: Any = None,
    **values: Any,
) -> dict[str, Any]:
    """Read a whole file and say what it holds. Without a model nothing is tokenised: those fields are None.

    `data` is a recipe's data section, or its values are given by name. Raises EngineError for a file that
    cannot be used at all.
    """
    section = as_options(data if data is not None else values)
    changes: dict[str, Any] = {"train": [str(path)], "validation": None, "validation_split": 0.0}
    changes |= {"max_length": max_length or UNCUT, "too_long": "truncate", "sources": {}}
    section = section.model_copy(update=changes)
    found = survey(section, model_folder, wanted=Wanted(checks=True, near=True))
    return _answer(found, section, model_folder is not None)


def _answer(found: Survey, data: DataOptions, tokenised: bool) -> dict[str, Any]:
    facts, report = found.files[0], found.report
    chosen, cut = select(found.table, data, 0), cut_at(found.table, data, data.max_length)
    figures = Lengths.of(found.table.length)
    tokens = {
        "median": figures.median,
        "p95": figures.p95,
        "p99": figures.p99,
        "max": figures.longest,
        "total": figures.total,
    }
    learnt = int(found.table.learnt.sum()) - chosen.cut_learnt
    counts = {check.id: check.count for check in found.checks}
    return {
        "file": facts.path,
        "kind": facts.kind,
        "encoding": facts.encoding,
        "parts": list(facts.parts),
        "part": facts.part,
        "delimiter": facts.delimiter,
        "header": facts.header,
        "rows": report.rows,
        "format": facts.format,
        "columns": list(facts.columns),
        "mapping": facts.mapping,
        "reason": facts.reason,
        "alternatives": list(dict.fromkeys(m.format for m in facts.alternatives)),
        "kept": len(chosen.train) if tokenised else report.rows - report.refused - report.dropped,
        "problems": [p.as_dict() for p in report.problems],
        "problem_counts": dict(report.counts),
        "tokens": tokens if tokenised else dict.fromkeys(tokens),
        "supervised_tokens": learnt if tokenised else None,
        "truncated": cut.rows if tokenised else None,
        "cut_answer_share": round(cut.answer_share, 6) if tokenised else None,
        "duplicates": chosen.duplicates if tokenised else counts.get("duplicates", 0),
        "near_duplicates": counts.get("near_duplicates", 0),
        "template": report.template or None,
        "checks": [_plain(asdict(check)) for check in found.checks],
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: lists for tuples."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def common_system_prompt(path: str | Path, data: Any = None) -> str | None:
    """Return the system message that the first rows of a file all begin with, None when there is no such."""
    found: set[str] = set()
    for _, item in islice(_stream(path, as_options(data)).conversations(), SYSTEM_ROWS):
        if isinstance(item, Conversation):
            first = item.messages[0] if item.messages else {}
            found.add(str(first.get("content", "")) if first.get("role") == "system" else "")
    return next(iter(found)) or None if len(found) == 1 else None


def preview_row(
    path: str | Path, row: int, model_folder: str | Path, data_section: Any = None
) -> dict[str, Any]:
    """Return one row (counted from 0) as the model gets it.

    Raises EngineError DATA-07 for a number that no row has, and the row's own finding where it has one.
    """
    found = examples(path, model_folder, data_section, row, 1)
    if not found:
        raise EngineError(
            f"{Path(path).name} has no row {row}.", "Rows are counted from 0.", "DATA-07", file=str(path)
        )
    if "problem" in found[0]:
        problem = found[0]["problem"]
        raise EngineError(
            problem["message"], problem["hint"], problem["code"], file=str(path), line=problem["line"]
        )
    return found[0]


def examples(
    path: str | Path, model_folder: str | Path, data_section: Any = None, start: int = 0, count: int = 10
) -> list[dict[str, Any]]:
    """Return some rows as the model gets them: segments, tokens, and where each is cut.

    A row that cannot be used is a dict with `row`, `line` and `problem`.
    """
    data = as_options(data_section)
    stream = _stream(path, data)
    wanted = (
        (row, item)
        for row, item in stream.conversations()
        if row >= start and not (isinstance(item, Finding) and item.severity != "error")
    )
    return list(shown_rows(islice(wanted, count), stream, data, model_folder))


def _stream(path: str | Path, data: DataOptions) -> RowStream:
    return open_source_of(data, str(path))


def shown_rows(
    rows: Iterator[tuple[int, Conversation | Finding]],
    stream: RowStream,
    data: DataOptions,
    model_folder: str | Path,
    max_length: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield rows as `examples` tells them."""
    tokenizer, template = open_tokenizer(model_folder), load_template(model_folder, data.chat_template)
    numbers: list[int] = []

    def noted() -> Iterator[tuple[int, Conversation | Finding]]:
        for number, item in rows:
            numbers.append(number)
            yield number, item

    made = tokenised_rows(noted(), template, tokenizer, data, stream)
    for at, item in enumerate(made):
        yield _example(item, numbers[at], max_length or data.max_length, tokenizer)


def _example(item: Made | Finding, row: int, limit: int, tokenizer: ModelTokenizer) -> dict[str, Any]:
    if isinstance(item, Finding):
        return {"row": row, "line": item.line, "problem": item.as_dict()}
    made = item.tokens
    kept = made.ids[:limit]
    return {
        "row": row,
        "line": made.conversation.line,
        "segments": segments(made, len(kept)),
        "tokens": kept.tolist(),
        "labels_trained": int(made.trained[1 : len(kept)].sum()),
        "length": len(made.ids),
        "cut": len(made.ids) - len(kept),
        "cut_text": made.text[made.offsets[len(kept)][0] :] if len(kept) < len(made.ids) else "",
        "special_tokens": sorted(t for t in tokenizer.special_texts if t in made.text),
    }
