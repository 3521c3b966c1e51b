"""A recipe's data as training examples: read, mapped, rendered, tokenised, masked, cut and split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.columns import Mapping
from engine.data.conversation import Conversation
from engine.data.examples import open_source_of
from engine.data.report import Lengths, Report, rows_are
from engine.data.rows import Finding
from engine.data.select import FEWEST_ROWS, Pieces, Selection, select
from engine.data.survey import Survey, Wanted, survey
from engine.data.table import Table
from engine.errors import EngineError

Progress = Callable[[int, int], None]
PROMPTS = 16  # so many validation examples keep their question as a person reads it


@dataclass(frozen=True, eq=False)
class Example:
    """One sequence: token `ids[k]` is learnt where `trained[k]`. `row` counts from 0 in file `source`."""

    ids: NDArray[np.int32]
    trained: NDArray[np.bool_]
    row: int
    source: int
    line: int = 0
    prompt: str | None = None


class NothingToLearn(EngineError):
    """No row of the data trains a token; `rows` were read."""

    rows = 0


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a run trains and measures on.

    `system_prompt` is the recipe's, or what all rows begin with; `files` has the SHA-256 of each file.
    """

    train: list[Example]
    validation: list[Example]
    report: Report
    mappings: tuple[Mapping, ...] = ()
    system_prompt: str | None = None
    files: dict[str, str] = field(default_factory=dict)


def prepare(
    data: Any,
    model_folder: str | Path,
    seed: int,
    base_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Prepare the `data` section of a recipe for a model.

    A row that cannot be used refuses the start, with file and line, unless `bad_rows` leaves such rows out; a
    row that trains no token is listed in the report and left out; data that trains none is refused (DATA-06).
    """
    if not data.train:
        raise EngineError("No training data is named.", "Add a file.", "DATA-07", field="data.train")
    wanted = Wanted(ids=True, strict=True, near=data.near_duplicates == "drop")
    found = survey(data, model_folder, base_dir, progress, wanted)
    chosen = select(found.table, data, seed)
    refuse_unusable(found, chosen, data)
    masks = _masks(found)
    train = list(_examples(found, masks, chosen.train))
    validation = list(_examples(found, masks, chosen.validation))
    _give_prompts(validation, data, base_dir)
    complete_report(found, chosen, data)
    return Prepared(train, validation, found.report, found.mappings)


def _masks(found: Survey) -> NDArray[np.bool_]:
    """Return which tokens of all rows, on end, are trained."""
    assert found.ids is not None and found.starts is not None
    mask = np.zeros(len(found.ids), dtype=np.bool_)
    owner = np.repeat(np.arange(len(found.table)), np.diff(found.table.at))
    begins = found.starts[owner]
    for begin, (first, last) in zip(begins.tolist(), found.table.ranges.tolist(), strict=True):
        mask[begin + first : begin + last] = True
    return mask


def _examples(found: Survey, masks: NDArray[np.bool_], pieces: Pieces) -> Iterator[Example]:
    assert found.ids is not None and found.starts is not None
    table = found.table
    begins = found.starts[pieces.index] + pieces.start
    ends = found.starts[pieces.index] + pieces.end
    for index, begin, end in zip(pieces.index.tolist(), begins.tolist(), ends.tolist(), strict=True):
        yield Example(
            found.ids[begin:end],
            masks[begin:end],
            int(table.row[index]),
            int(table.source[index]),
            int(table.line[index]),
        )


def _give_prompts(validation: list[Example], data: Any, base_dir: str | Path | None) -> None:
    """Read the questions of the first validation examples once more, as a person reads them."""
    files = [*data.train, *([data.validation] if data.validation else [])]
    first = validation[:PROMPTS]
    for source in {e.source for e in first}:
        wanted = {e.row for e in first if e.source == source}
        stream = open_source_of(data, files[source], base_dir)
        prompts = {
            row: item.prompt
            for row, item in islice(stream.conversations(), max(wanted) + 1)
            if row in wanted and isinstance(item, Conversation)
        }
        for i, example in enumerate(first):
            if example.source == source:
                validation[i] = replace(example, prompt=prompts.get(example.row) or None)


def refuse_unusable(found: Survey, chosen: Selection, data: Any) -> None:
    """Refuse rows that are too long where the recipe says so, and data that leaves nothing to train."""
    table = found.table
    if data.too_long == "error":
        long = np.flatnonzero((table.learnt > 0) & (table.length > data.max_length))
        if len(long):
            file, name, line = place(found, int(long[0]))
            length = int(table.length[long[0]])
            raise EngineError(
                f"{name}, line {line}: {length} tokens, {data.max_length} allowed.",
                f"Raise the longest example to {length}, or let it be cut.",
                "DATA-06",
                file=file,
                line=line,
                field="data.max_length",
            )
    if len(chosen.train):
        return
    rows = found.report.rows
    usable = table.length[table.learnt > 0]
    first = next((p for p in found.report.problems if p.severity == "error"), None)
    if len(usable) and int(usable.max()) > data.max_length:
        lengths = Lengths.of(usable)
        spread = f"median {lengths.median}, 95 % up to {lengths.p95}, longest {lengths.longest}"
        why = f"longer than {data.max_length} tokens ({spread})"
        hint = f"Raise the length to {lengths.p95}: that keeps 95 % of the rows."
        field = "data.max_length"
    else:
        why, hint, field = (
            "no token is trained",
            "Look at the answer column, the chat template, and what is learnt.",
            None,
        )
    refusal = NothingToLearn(
        f"{rows} of {rows} rows have nothing to learn from: {why}.",
        hint,
        "DATA-06",
        file=first.file if first else found.files[0].path,
        line=first.line if first else 1,
        field=field,
    )
    refusal.rows = rows
    raise refusal


def place(found: Survey, index: int) -> tuple[str, str, int]:
    """Return (file, its name, line) of a row of the table."""
    facts = found.files[int(found.table.source[index])]
    return facts.path, facts.name, int(found.table.line[index])


def complete_report(found: Survey, chosen: Selection, data: Any) -> None:
    """Fill in what cutting, doubles and the split make of the rows, and what is to be told of it."""
    report, table = found.report, found.table
    report.train_examples, report.validation_examples = len(chosen.train), len(chosen.validation)
    report.tokens = int(chosen.train.lengths.sum() + chosen.validation.lengths.sum())
    report.train_supervised_tokens = learnt_in(table, chosen.train)
    report.supervised_tokens = report.train_supervised_tokens + learnt_in(table, chosen.validation)
    report.lengths = Lengths.of(table.length[table.learnt > 0])
    report.duplicates, report.near_duplicates = chosen.duplicates, chosen.near_duplicates
    report.truncated, report.cut_supervised_tokens = chosen.truncated, chosen.cut_learnt
    report.dropped += chosen.dropped - int((table.learnt == 0).sum())
    report.overlap = chosen.overlap
    limit = data.max_length
    for index in chosen.unlearnt.tolist():
        file, name, line = place(found, index)
        tokens = int(table.length[index])
        why = f"its answer begins after token {limit}, where it is cut ({tokens} tokens in all)"
        message = f"{name}, line {line}: nothing to learn from: {why}."
        hint = "Raise the length, or look at the answer column."
        report.add(Finding("DATA-06", file, line, None, message, hint))
    for finding in _remarks(found, chosen, data):
        report.add(finding)


def learnt_in(table: Table, pieces: Pieces) -> int:
    """Return how many tokens of some pieces are trained; the first of each has nothing before it."""
    if not len(pieces):
        return 0
    total = int(table.learnt[pieces.index[pieces.start == 0]].sum())
    whole = pieces.start == 0
    beyond = _learnt_after(table, pieces.index[whole], pieces.end[whole])
    later = pieces.index[~whole]  # pieces of raw text, all of it trained
    if len(later):
        total += int((pieces.lengths[~whole] - 1).sum())
    return total - beyond


def _learnt_after(table: Table, rows: NDArray[np.int64], ends: NDArray[np.int64]) -> int:
    cut = ends < table.length[rows]
    lost = 0
    for limit in np.unique(ends[cut]).tolist():
        lost += int(table.learnt_beyond(limit)[rows[cut & (ends == limit)]].sum())
    return lost


def _remarks(found: Survey, chosen: Selection, data: Any) -> Iterator[Finding]:
    """Yield what is accepted and has to be known: cuts, too few rows, overlap, shares."""
    report, table, first = found.report, found.table, found.files[0].path
    if chosen.truncated:
        lost = report.cut_supervised_tokens
        share = lost / max(1, lost + report.supervised_tokens)
        count = rows_are(chosen.truncated)
        message = f"{count} cut at {data.max_length} tokens; {share:.1%} of what is learnt is lost."
        hint = f"Raise the longest example to {report.lengths.p95} to keep 95 % of the rows whole."
        long = np.flatnonzero((table.learnt > 0) & (table.length > data.max_length))
        file, _, line = place(found, int(long[0]))
        yield Finding("DATA-06", file, line, None, message, hint, "report")
    rows = report.train_examples + report.validation_examples
    if chosen.too_few or 0 < rows < FEWEST_ROWS:
        count = "1 row" if rows == 1 else f"{rows} rows"
        what = "very few to learn from"
        if chosen.too_few:
            what = "too few to keep some aside to measure on, so all are trained"
        hint = "50 or more rows are needed to learn something."
        yield Finding("DATA-07", first, 1, None, f"Only {count}: {what}.", hint, "warning")
    if report.validation_examples > report.train_examples:
        counts = f"{report.validation_examples} to measure on, {report.train_examples} to train"
        message, hint = f"More rows are measured on than trained: {counts}.", "Train on the larger file."
        yield Finding("DATA-07", first, 1, None, message, hint, "warning")
    if chosen.overlap and data.overlap == "keep":
        message = f"{rows_are(chosen.overlap)} both in training and in validation."
        hint = "Remove them from validation, or the score will look too good."
        yield Finding("DATA-09", found.files[-1].path, 1, None, message, hint, "warning")
    if chosen.shared_out:
        message = f"{rows_are(chosen.shared_out)} left out to give each file its share."
        hint = "Change the shares to use more of them."
        yield Finding("DATA-07", first, 1, None, message, hint, "report")
