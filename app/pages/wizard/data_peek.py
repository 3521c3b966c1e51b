"""What the data step asks of the data: one row, one file, what a length cuts, which rows are of a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.pages.wizard.data_view import DataView
from engine.errors import EngineError
from engine.plan.planner import DataFacts

TEXT_KINDS = ("jsonl", "json", "csv", "text", "yaml")
MOST_OF_A_LINE = 16_384


@dataclass(frozen=True)
class ShownRow:
    """One row as the example shows it; `beyond` is what the cut takes, `problem` why it cannot be used."""

    segments: Sequence[tuple[str, bool]]
    beyond: Sequence[tuple[str, bool]] = ()
    marks: frozenset[str] = frozenset()
    limit: int = 0
    tokens: int = 0
    trained: int = 0
    file: str = ""
    line: int | None = None
    problem: Any = None


@dataclass(frozen=True)
class Cut:
    """What a longest length does: rows that are longer, and the share of the answer tokens behind it."""

    rows: int
    share_of_answer_tokens: float


@dataclass(frozen=True)
class ShownSource:
    """One file as the step shows it."""

    path: str
    kind: str = ""
    rows: int | None = None
    format: str = ""
    reason: str = ""
    mapping: Mapping[str, str] = field(default_factory=dict)
    columns: Sequence[str] = ()
    samples: Mapping[str, str] = field(default_factory=dict)
    parts: Sequence[str] = ()
    part: str | None = None
    encoding: str | None = None
    alternatives: Sequence[str] = ()


def rows_of(view: DataView) -> int:
    """Return how many rows can be paged through."""
    return view.rows


def row_at(view: DataView, index: int) -> ShownRow:
    """Look a row up; called in the background."""
    return shown_row(view, *view.place(index))


def shown_row(view: DataView, file: str, row: int, line: int) -> ShownRow:
    """Look a row of a file up, one that cannot be used too; called in the background."""
    made = view.row(file, row, line)
    beyond = ((made.cut_text, False),) if made.cut_text else ()
    return ShownRow(
        made.segments,
        beyond,
        view.whole.marks,
        view.max_length,
        made.length,
        made.learnt,
        made.file,
        made.line,
        made.problem,
    )


def broken_row(view: DataView, file: str, line: int, problem: EngineError) -> ShownRow:
    """Return a row that cannot be read as it stands in its file; called in the background."""
    kind = next((facts.kind for facts in view.sources if facts.path == file), "")
    text = line_of(view, file, line) if kind in TEXT_KINDS else ""
    return ShownRow(((text, False),) if text else (), file=file, line=line, problem=problem)


def line_of(view: DataView, file: str, line: int) -> str:
    """Return one line (from 1) of a text file, at most its first 16,384 bytes; empty where there is none."""
    from engine.data.options import options_for
    from engine.data.source import open_source

    source = open_source(Path(file).expanduser(), options_for(view.recipe.data, file).read)
    number = 1
    with source.open() as stream:
        while piece := stream.readline(MOST_OF_A_LINE):
            if number == line:
                return piece.decode("utf-8", "replace").rstrip("\r\n")
            number += piece.endswith(b"\n")
    return ""


def sources_of(view: DataView, files: Sequence[str]) -> list[ShownSource]:
    """Return what is known of each file."""
    known = {source.path: source for source in view.sources}
    samples = dict(zip(files, view.whole.samples, strict=False))
    return [_source(file, known.get(file), samples.get(file, {}), view) for file in files]


def _source(file: str, facts: Any, samples: dict[str, str], view: DataView) -> ShownSource:
    if facts is None:
        about = view.about
        return ShownSource(file, "", None, about.format, about.reason, about.mapping, about.columns, samples)
    return ShownSource(
        file,
        facts.kind,
        facts.rows_estimated,
        facts.format,
        facts.reason,
        facts.mapping,
        facts.columns,
        samples,
        facts.parts,
        facts.part,
        facts.encoding,
        tuple(dict.fromkeys(made.format for made in facts.alternatives)),
    )


def is_complete(view: DataView) -> bool:
    """Say whether the figures are those of all rows."""
    return view.complete


def checks_of(view: DataView) -> Sequence[Any]:
    """Return what was found in the rows."""
    return view.checks


def cut_at(view: DataView, limit: int) -> Cut:
    """Return what a longest length would do."""
    made = view.cut(limit)
    return Cut(made.rows, made.answer_share)


def counts_at(view: DataView, limit: int) -> DataFacts | None:
    """Return what the planner wants to know, were the rows cut at `limit`."""
    import numpy as np

    counts, lengths = view.counts, view.lengths
    if not counts.train_examples or not len(lengths):
        return None
    cut = np.minimum(lengths, limit)
    return replace(
        counts,
        longest_tokens=int(cut.max()),
        median_tokens=int(np.median(cut)),
        total_tokens=round(float(cut.sum()) * counts.train_examples / len(lengths)),
    )


def rows_of_kind(view: DataView, kind: str) -> tuple[int, ...]:
    """Return the examples of a kind: duplicates, near_duplicates, empty_prompts, cut, or another check."""
    import numpy as np

    table, shown = view.whole.survey.table, view.shown
    if kind == "cut":
        return tuple(int(i) for i in np.flatnonzero(view.lengths > view.max_length))
    if kind == "duplicates":
        return tuple(int(i) for i in np.flatnonzero(table.repeated[shown]))
    if kind == "near_duplicates":
        return tuple(int(i) for i in np.flatnonzero(table.near[shown] & ~table.repeated[shown]))
    places = next((check.places for check in view.checks if check.id == kind), ())
    found = (view.index_of(place.file, place.row) for place in places)
    return tuple(i for i in found if i is not None)


def index_of(view: DataView, file: str, row: int) -> int | None:
    """Return the place of row `row` of a file among the examples, None where it is none of them."""
    return view.index_of(file, row)
