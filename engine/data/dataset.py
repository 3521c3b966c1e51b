"""A recipe's data as training examples: read, mapped, rendered, tokenised, masked, cut and split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.columns import Mapping
from engine.data.examples import Made, RowStream, nothing_to_learn, open_rows, tokenised_rows
from engine.data.masks import Tokenised
from engine.data.readers import estimate_rows
from engine.data.report import Lengths, Report, rows_are
from engine.data.rows import Finding
from engine.data.split import keep_aside
from engine.data.templates import ChatTemplate, load_template
from engine.data.tokenizer import ModelTokenizer, open_tokenizer
from engine.errors import EngineError

LEFT_OUT = (
    "DATA-06",
)  # rows with nothing to learn from are listed and left out; all others refuse the start
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Example:
    """One sequence: token `ids[k]` is learnt where `trained[k]`. `row` counts from 0 in file `source`."""

    ids: NDArray[np.int32]
    trained: NDArray[np.bool_]
    row: int
    source: int
    line: int = 0
    prompt: str | None = None
    key: bytes = b""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a run trains and measures on."""

    train: list[Example]
    validation: list[Example]
    report: Report
    mappings: tuple[Mapping, ...] = ()


def prepare(
    data: Any,
    model_folder: str | Path,
    seed: int,
    base_dir: str | Path | None = None,
    progress: Progress | None = None,
    skip_bad_rows: bool = False,
) -> Prepared:
    """Prepare the `data` section of a recipe for a model.

    A row that cannot be used refuses the start, with file and line, unless `skip_bad_rows`; a row that
    trains no token is listed in the report and left out; data that trains none at all is refused (DATA-06).
    """
    if not data.train:
        raise EngineError("No training data is named.", "Add a file.", "DATA-07", field="data.train")
    tokenizer = open_tokenizer(model_folder)
    template = load_template(model_folder, data.chat_template)
    work = _Preparation(data, tokenizer, template, Report(template=template.name), progress, skip_bad_rows)
    train = [e for i, p in enumerate(data.train) for e in work.read(_resolve(p, base_dir), i)]
    work.refuse_nothing(train)
    train, validation = work.validation(train, seed, base_dir)
    work.close(train, validation)
    return Prepared(train, validation, work.report, tuple(work.mappings))


def _resolve(path: str, base_dir: str | Path | None) -> Path:
    given = Path(path).expanduser()
    return given if given.is_absolute() or base_dir is None else Path(base_dir) / given


class _Preparation:
    """The counts and settings that every file of one preparation shares."""

    def __init__(
        self,
        data: Any,
        tokenizer: ModelTokenizer,
        template: ChatTemplate,
        report: Report,
        progress: Progress | None,
        skip_bad_rows: bool,
    ) -> None:
        self.data, self.tokenizer, self.template = data, tokenizer, template
        self.report, self.progress, self.skip_bad_rows = report, progress, skip_bad_rows
        self.mappings: list[Mapping] = []
        self.lengths: list[int] = []
        self.cut_lengths: list[int] = []
        self.seen: set[bytes] = set()
        self.first_file = ""

    def read(self, path: Path, source: int) -> Iterator[Example]:
        """Yield the examples of one file."""
        data = self.data
        stream = open_rows(path, data.format, data.columns, data.system_prompt)
        self.mappings.append(stream.mapping)
        self.first_file = self.first_file or str(stream.path)
        rows = tokenised_rows(
            stream.conversations(), self.template, self.tokenizer, data.train_on, stream.options
        )
        for number, made in enumerate(rows):
            self.report.rows += 1
            if self.progress is not None and number % 200 == 0:
                line = made.line if isinstance(made, Finding) else made.tokens.conversation.line
                self.progress(number, estimate_rows(stream.layout.source, number + 1, line or 1))
            if isinstance(made, Finding):
                self._refuse(made)
            else:
                yield from self._examples(made, source, stream)
        if self.progress is not None:
            self.progress(self.report.rows, self.report.rows)

    def _refuse(self, finding: Finding) -> None:
        if finding.code in LEFT_OUT:
            self.report.dropped += 1
        elif not self.skip_bad_rows or finding.code.startswith("MODEL"):
            raise finding.as_error()
        else:
            self.report.refused += 1
        self.report.add(finding)

    def _examples(self, made: Made, source: int, stream: RowStream) -> Iterator[Example]:
        """Yield what a row gives after duplicates and length: usually one example, several when split."""
        tokens, report = made.tokens, self.report
        key = hashlib.blake2b(tokens.ids.tobytes() + tokens.trained.tobytes(), digest_size=16).digest()
        if key in self.seen:
            report.duplicates += 1
            if self.data.dedupe:
                report.dropped += 1
                return
        self.seen.add(key)
        if not tokens.trained[1:].any():
            report.dropped += 1
            report.add(nothing_to_learn(tokens, stream.options, "no token of it is trained"))
            return
        self.lengths.append(len(tokens.ids))
        for ids, trained in self._fit(tokens, stream):
            prompt = tokens.conversation.prompt or None
            yield Example(ids, trained, made.row, source, tokens.conversation.line, prompt, key)

    def _fit(
        self, tokens: Tokenised, stream: RowStream
    ) -> Iterator[tuple[NDArray[np.int32], NDArray[np.bool_]]]:
        """Yield (ids, trained) within the longest length, as the recipe's `too_long` says."""
        limit, report, ids, trained = self.data.max_length, self.report, tokens.ids, tokens.trained
        if len(ids) <= limit:
            yield ids, trained
            return
        how = self.data.too_long
        line = tokens.conversation.line
        if how == "error":
            raise EngineError(
                f"{stream.options.name}, line {line}: {len(ids)} tokens, {limit} allowed.",
                f"Raise the longest example to {len(ids)}, or let it be cut.",
                "DATA-06",
                file=stream.options.file,
                line=line,
                field="data.max_length",
            )
        if how == "drop":
            report.dropped += 1
            return
        self.cut_lengths.append(len(ids))
        if how == "split" and tokens.conversation.text is not None:
            for start in range(0, len(ids), limit):
                if trained[start + 1 : start + limit].any():
                    yield ids[start : start + limit].copy(), trained[start : start + limit].copy()
            return
        report.truncated += 1
        report.cut_supervised_tokens += int(trained[limit:].sum())
        if trained[1:limit].any():
            yield ids[:limit].copy(), trained[:limit].copy()
            return
        report.dropped += 1
        why = f"its answer begins after token {limit}, where it is cut ({len(ids)} tokens in all)"
        report.add(nothing_to_learn(tokens, stream.options, why))

    def refuse_nothing(self, train: list[Example]) -> None:
        """Refuse data that leaves nothing to train."""
        if train:
            return
        report, rows = self.report, self.report.rows
        lengths = Lengths.of(self.lengths)
        if self.lengths and max(self.lengths) > self.data.max_length:
            spread = f"median {lengths.median}, 95 % up to {lengths.p95}, longest {lengths.longest}"
            why = f"longer than {self.data.max_length} tokens ({spread})"
            hint = f"Raise the length to {lengths.p95}: that keeps 95 % of the rows."
        else:
            why, hint = (
                "no token is trained",
                "Look at the answer column, the chat template, and what is learnt.",
            )
        first = report.problems[0] if report.problems else None
        raise EngineError(
            f"{rows} of {rows} rows have nothing to learn from: {why}.",
            hint,
            "DATA-06",
            file=first.file if first else self.first_file,
            line=first.line if first else None,
            field="data.max_length" if self.lengths else None,
        )

    def validation(
        self, train: list[Example], seed: int, base_dir: str | Path | None
    ) -> tuple[list[Example], list[Example]]:
        """Return (train, validation): the latter from a file of its own, or split off."""
        if self.data.validation is None:
            return keep_aside(train, self.data.validation_split, seed, self.report, self.first_file)
        trained_on = {e.key for e in train}
        path = _resolve(self.data.validation, base_dir)
        self.seen = set()
        found = list(self.read(path, len(self.data.train)))
        both = sum(e.key in trained_on for e in found)
        if both:
            message = f"{rows_are(both)} both in training and in validation."
            hint = "Remove them from validation, or the score will look too good."
            self.report.add(Finding("DATA-09", str(path), None, None, message, hint, "warning"))
        return train, found

    def close(self, train: list[Example], validation: list[Example]) -> None:
        """Fill in the counts of what is left."""
        report = self.report
        report.train_examples, report.validation_examples = len(train), len(validation)
        report.tokens = sum(len(e.ids) for e in train) + sum(len(e.ids) for e in validation)
        report.train_supervised_tokens = sum(int(e.trained[1:].sum()) for e in train)
        held = sum(int(e.trained[1:].sum()) for e in validation)
        report.supervised_tokens = report.train_supervised_tokens + held
        report.lengths = Lengths.of(self.lengths)
        if report.truncated:
            lost = report.cut_supervised_tokens
            share = lost / max(1, lost + report.supervised_tokens)
            where = f"cut at {self.data.max_length} tokens"
            message = f"{rows_are(report.truncated)} {where}; {share:.1%} of what is learnt is lost."
            hint = f"Raise the longest example to {report.lengths.p95} to keep 95 % of the rows whole."
            report.add(Finding("DATA-06", self.first_file, None, None, message, hint, "report"))
