"""One pass over all of a recipe's data: every row read, mapped, rendered and tokenised once.

Training keeps the tokens; the window and `data inspect` keep the numbers and what was found.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.check import Check
from engine.data.checks import Checks
from engine.data.columns import Mapping
from engine.data.conversation import Conversation
from engine.data.examples import (
    Numbered,
    RowStream,
    nothing_to_learn,
    open_source_of,
    template_finding,
    without_place,
)
from engine.data.measure import Measured, measure
from engine.data.near import NearIndex
from engine.data.overlap import fold_key
from engine.data.report import Report
from engine.data.rows import Finding
from engine.data.spread import Spread
from engine.data.table import Table, TableMaker
from engine.data.template_told import template_checks
from engine.data.templates import ChatTemplate, load_template
from engine.data.tokenizer import ModelTokenizer, open_tokenizer

LEFT_OUT = "DATA-06"  # rows with nothing to learn from are listed and left out
EVERY = 128
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FileFacts:
    """What was found out about one file: how it is read, its columns and what they are taken for."""

    path: str
    name: str
    kind: str
    format: str
    reason: str
    mapping: dict[str, str]
    columns: tuple[str, ...]
    alternatives: tuple[Mapping, ...]
    parts: tuple[str, ...]
    part: str | None
    encoding: str
    delimiter: str | None
    header: bool | None
    rows: int
    rows_estimated: int
    size: int


@dataclass(frozen=True, eq=False)
class Survey:
    """The outcome of a pass. `ids` are the tokens of all rows on end, row i at [starts[i], starts[i + 1])."""

    table: Table
    files: tuple[FileFacts, ...]
    mappings: tuple[Mapping, ...]
    report: Report
    checks: tuple[Check, ...]
    ids: NDArray[np.int32] | None = None
    starts: NDArray[np.int64] | None = None
    complete: bool = True


@dataclass
class Wanted:
    """What a pass keeps beside the numbers; `rows` bounds the rows taken of each file, None takes all."""

    ids: bool = False
    checks: bool = False
    strict: bool = False
    rows: int | None = None
    near: bool = False
    fold: bool = False


def survey(
    data: Any,
    model_folder: str | Path | None,
    base_dir: str | Path | None = None,
    progress: Progress | None = None,
    wanted: Wanted | None = None,
) -> Survey:
    """Go through all files of the `data` section of a recipe.

    Without a model nothing is tokenised: rows are counted and looked at, the table stays empty. Raises
    EngineError for a file that cannot be used at all; with `strict` also for the first row that cannot.
    """
    tokenizer = open_tokenizer(model_folder) if model_folder is not None else None
    template = load_template(model_folder, data.chat_template) if model_folder is not None else None
    work = _Pass(data, tokenizer, template, progress, wanted or Wanted())
    files = [*data.train, *([data.validation] if data.validation else [])]
    for number, path in enumerate(files):
        work.read(path, number, base_dir)
    return work.done()


class _Pass:
    """The counts and settings that every file of one pass shares."""

    def __init__(
        self,
        data: Any,
        tokenizer: ModelTokenizer | None,
        template: ChatTemplate | None,
        progress: Progress | None,
        wanted: Wanted,
    ) -> None:
        self.data, self.tokenizer, self.template = data, tokenizer, template
        self.progress, self.wanted = progress, wanted
        self.report = Report(template=template.name if template is not None else "")
        self.maker = TableMaker()
        self.files: list[FileFacts] = []
        self.mappings: list[Mapping] = []
        self.tokens: array[int] = array("i")
        self.starts: array[int] = array("q", [0])
        self.checks = Checks(tokenizer.special_texts if tokenizer else frozenset()) if wanted.checks else None
        self.near = NearIndex() if wanted.near and not wanted.checks else None
        self.watched: array[int] = array("q")  # rows of the table in the order they are compared
        self.fold = wanted.fold or data.validation is not None
        self.complete = True
        self._done = 0

    def read(self, path: str, number: int, base_dir: str | Path | None) -> None:
        """Read one file to its end, or as many rows as are wanted."""
        stream = open_source_of(self.data, path, base_dir)
        self.mappings.append(stream.mapping)
        for remark in stream.layout.remarks:
            self.report.add(remark)
        before = self.report.rows
        sample = Spread(stream, self.wanted.rows) if self.wanted.rows is not None else None
        rows = sample.rows() if sample is not None else stream.conversations()
        estimate = stream.estimate()
        for row, item in self._measured(rows, stream):
            if isinstance(item, Finding):
                self._refuse(item)
            elif isinstance(item, Measured):
                self._take(number, row, item, stream)
            else:
                self.report.rows += 1
                self._look(row, item, stream)
            if self.progress is not None and self.report.rows % EVERY == 0:
                self.progress(self.report.rows, max(self.report.rows, self._done + estimate))
        read = self.report.rows - before
        total = read if sample is None else sample.estimate
        self.complete &= sample is None or sample.ended
        self._done += total
        self.files.append(facts_of(path, stream, read, total))
        if self.progress is not None:
            self.progress(self.report.rows, max(self._done, self.report.rows))

    def _measured(self, rows: Iterator[Numbered], stream: RowStream) -> Iterator[tuple[int, Any]]:
        """Yield (row, its tokens or the finding that refuses it) in the order of the file."""
        waiting: list[Numbered] = []  # taken from the file and not yet through the tokenizer

        template, report = self.template, self.report

        def usable() -> Iterator[Conversation]:
            for row, item in rows:
                if template is not None and not template.takes_system and isinstance(item, Conversation):
                    wrong = without_place(item, template, stream)
                    report.unplaced += wrong is not None
                    item = wrong or item
                waiting.append((row, item))
                if isinstance(item, Conversation):
                    yield item

        if self.tokenizer is None or self.template is None:
            yield from rows
            return
        at = 0
        tokens = measure(
            usable(), self.template, self.tokenizer, self.data.train_on, self.data.special_tokens
        )
        for made in tokens:
            while isinstance(waiting[at][1], Finding):
                yield waiting[at]
                at += 1
            row, conversation = waiting[at]
            at += 1
            if at > 8 * EVERY:
                del waiting[:at]
                at = 0
            if isinstance(made, Measured):
                yield row, made
            else:
                assert isinstance(conversation, Conversation)
                yield row, template_finding(made[1], conversation, stream)
        yield from waiting[at:]

    def _refuse(self, finding: Finding) -> None:
        report = self.report
        if finding.severity != "error":
            report.add(finding)
            return
        report.rows += 1
        left_out = finding.code == LEFT_OUT or self.data.bad_rows == "leave_out"
        if self.wanted.strict and (not left_out or finding.code.startswith("MODEL")):
            raise finding.as_error()
        if finding.code == LEFT_OUT:
            report.dropped += 1
        else:
            report.refused += 1
        report.add(finding)

    def _take(self, number: int, row: int, made: Measured, stream: RowStream) -> None:
        conversation, report = made.conversation, self.report
        report.rows += 1
        ids = array("i", made.ids)
        digest = hashlib.blake2b(ids.tobytes(), digest_size=16)
        digest.update(repr(made.ranges).encode())
        fold = fold_key(conversation) if self.fold else b""
        raw = conversation.text is not None
        index = len(self.maker)
        learnt = self.maker.add(
            number, row, conversation.line, len(ids), made.ranges, digest.digest(), fold, raw
        )
        if self.wanted.ids:
            self.tokens.extend(ids)
            self.starts.append(len(self.tokens))
        if not learnt:
            report.dropped += 1
            report.add(nothing_to_learn(conversation, stream, "no token of it is trained"))
            return
        if number < len(self.data.train):
            self.watched.append(index)
            self._look(row, conversation, stream)

    def _look(self, row: int, conversation: Conversation, stream: RowStream) -> None:
        """Let a row be compared with others and searched for what is to be told."""
        if self.near is not None:
            self.near.add(conversation)
        if self.checks is not None:
            file = conversation.file or stream.options.file
            self.checks.see(file, row, conversation.line, conversation)

    def done(self) -> Survey:
        """Return what was gathered."""
        checks = tuple(self.checks.found() + template_checks(self.template)) if self.checks else ()
        doubles = self.checks.doubles if self.checks is not None else self.near and self.near.finish()
        if doubles and len(self.watched):
            for number in np.flatnonzero(doubles.near_to >= 0).tolist():
                self.maker.mark_near(self.watched[number])
        ids = starts = None
        if self.wanted.ids:
            ids = np.frombuffer(self.tokens, dtype=np.int32) if len(self.tokens) else np.zeros(0, np.int32)
            starts = np.array(self.starts, dtype=np.int64)
        return Survey(
            table=self.maker.done(),
            files=tuple(self.files),
            mappings=tuple(self.mappings),
            report=self.report,
            checks=checks,
            ids=ids,
            starts=starts,
            complete=self.complete,
        )


def facts_of(path: str, stream: RowStream, rows: int, estimated: int) -> FileFacts:
    """Return what is shown of one file."""
    layout, mapping = stream.layout, stream.mapping
    return FileFacts(
        path=path,
        name=layout.source.name,
        kind=layout.kind,
        format=mapping.format,
        reason=mapping.reason,
        mapping=dict(mapping.columns),
        columns=tuple(stream.columns),
        alternatives=tuple(mapping.alternatives),
        parts=layout.parts,
        part=layout.part,
        encoding=layout.source.encoding,
        delimiter=layout.table.delimiter if layout.table else None,
        header=layout.table.header if layout.table else None,
        rows=rows,
        rows_estimated=estimated,
        size=layout.source.size,
    )
