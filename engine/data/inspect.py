"""What a file holds and what training would make of it: the answers of `data inspect` and `data preview`."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from engine.data.conversation import Conversation
from engine.data.examples import Made, RowStream, as_options, nothing_to_learn, open_rows, tokenised_rows
from engine.data.masks import Tokenised, segments
from engine.data.report import Lengths, Report
from engine.data.rows import Finding
from engine.data.statistics import sample_statistics
from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer, open_tokenizer
from engine.errors import EngineError

__all__ = ["common_system_prompt", "examples", "inspect_file", "preview_row", "sample_statistics"]

SCRIPT_ROWS = 500
SYSTEM_ROWS = 50


def inspect_file(
    path: str | Path,
    model_folder: str | Path | None = None,
    max_length: int | None = None,
    format: str = "auto",
    columns: dict[str, str] | None = None,
    system_prompt: str | None = None,
    train_on: str = "assistant",
    chat_template: str = "auto",
) -> dict[str, Any]:
    """Read a whole file and say what it holds. Without a model nothing is tokenised: those fields are None.

    Raises EngineError for a file that cannot be used at all.
    """
    stream = open_rows(path, format, columns, system_prompt)
    report, kept = Report(), 0
    lengths: list[int] = []
    scripts: Counter[str] = Counter()
    seen: set[int] = set()
    tokenizer = open_tokenizer(model_folder) if model_folder is not None else None
    for item in _rows(stream, model_folder, tokenizer, train_on, chat_template):
        report.rows += 1
        if isinstance(item, Finding):
            report.refused += 1
            report.add(item)
            continue
        conversation = item.tokens.conversation if isinstance(item, Made) else item
        key = hash((conversation.text, repr(conversation.messages)))
        report.duplicates += key in seen
        seen.add(key)
        if report.rows <= SCRIPT_ROWS:
            scripts.update(_scripts(conversation))
        if isinstance(item, Made) and not _count(item.tokens, max_length, report, lengths, stream):
            continue
        kept += 1
    return _answer(stream, report, kept, lengths, scripts, tokenizer is not None)


def common_system_prompt(
    path: str | Path, format: str = "auto", columns: dict[str, str] | None = None
) -> str | None:
    """Return the system message that the first rows of a file all begin with, None when there is no such."""
    found: set[str] = set()
    for _, item in islice(open_rows(path, format, columns).conversations(), SYSTEM_ROWS):
        if isinstance(item, Conversation):
            first = item.messages[0] if item.messages else {}
            found.add(str(first.get("content", "")) if first.get("role") == "system" else "")
    return next(iter(found)) or None if len(found) == 1 else None


def _rows(
    stream: RowStream,
    model_folder: str | Path | None,
    tokenizer: ModelTokenizer | None,
    train_on: str,
    chat_template: str,
) -> Iterator[Made | Conversation | Finding]:
    if tokenizer is None or model_folder is None:
        return (conversation for _, conversation in stream.conversations())
    template = load_template(model_folder, chat_template)
    return tokenised_rows(stream.conversations(), template, tokenizer, train_on, stream.options)


def _count(
    tokens: Tokenised, max_length: int | None, report: Report, lengths: list[int], stream: RowStream
) -> bool:
    """Count one row's tokens; say whether something of it would be learnt."""
    lengths.append(len(tokens.ids))
    limit = max_length or len(tokens.ids)
    report.truncated += len(tokens.ids) > limit
    learnt = int(tokens.trained[1:limit].sum())
    report.supervised_tokens += learnt
    if learnt:
        return True
    why = "no token of it is trained"
    if tokens.trained[1:].any():
        why = f"its answer begins after token {limit}, where it is cut ({len(tokens.ids)} tokens in all)"
    report.dropped += 1
    report.add(nothing_to_learn(tokens, stream.options, why))
    return False


def _answer(
    stream: RowStream, report: Report, kept: int, lengths: list[int], scripts: Counter[str], tokenised: bool
) -> dict[str, Any]:
    figures = Lengths.of(lengths)
    tokens = {"median": figures.median, "p95": figures.p95, "max": figures.longest, "total": figures.total}
    total = sum(scripts.values())
    return {
        "file": str(stream.path),
        "kind": stream.layout.kind,
        "rows": report.rows,
        "format": stream.mapping.format,
        "columns": stream.columns,
        "mapping": stream.mapping.columns,
        "reason": stream.mapping.reason,
        "alternatives": [other.as_dict() for other in stream.mapping.alternatives],
        "kept": kept,
        "problems": [p.as_dict() for p in report.problems],
        "problem_counts": dict(report.counts),
        "tokens": tokens if tokenised else dict.fromkeys(tokens),
        "supervised_tokens": report.supervised_tokens if tokenised else None,
        "truncated": report.truncated if tokenised else None,
        "duplicates": report.duplicates,
        "scripts": {name: round(n / total, 3) for name, n in scripts.most_common(6)} if total else {},
    }


def _scripts(conversation: Conversation) -> Counter[str]:
    """Count the letters of a conversation by writing system, by the first word of their Unicode names."""
    text = conversation.text or " ".join(str(m.get("content", "")) for m in conversation.messages)
    counts: Counter[str] = Counter()
    for char, n in Counter(text[:4000]).items():
        if char.isalpha():
            counts[unicodedata.name(char, "OTHER").split()[0].capitalize()] += n
    return counts


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
    stream = open_rows(path, data.format, data.columns, data.system_prompt)
    tokenizer, template = open_tokenizer(model_folder), load_template(model_folder, data.chat_template)
    wanted = islice(stream.conversations(), start, start + count)
    rows = tokenised_rows(wanted, template, tokenizer, data.train_on, stream.options)
    return [_example(item, start + i, data, tokenizer) for i, item in enumerate(rows)]


def _example(item: Made | Finding, row: int, data: Any, tokenizer: ModelTokenizer) -> dict[str, Any]:
    if isinstance(item, Finding):
        return {"row": row, "line": item.line, "problem": item.as_dict()}
    made = item.tokens
    kept = made.ids[: data.max_length]
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
