"""The data as the wizard shows it: what the files hold, and every example as the model will get it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.paths import show_name
from engine.plan.planner import DataFacts
from engine.recipe.recipe import Recipe

Progress = Callable[[int, int], None]
SAMPLED_ROWS = 1500
SAMPLED_BYTES = 4 << 20  # files that are larger together are first shown by a sample
# What is decided anew from what was read, without reading again.
DECIDED_LATER = {
    "max_length",
    "too_long",
    "validation_split",
    "split_seed",
    "shuffle",
    "packing",
    "dedupe",
    "near_duplicates",
    "overlap",
}


class Superseded(EngineError):
    """Reading ends because other data, or another way to read it, was chosen meanwhile."""


@dataclass(frozen=True)
class About:
    """What the first rows of the first file say: the format, why, and which column plays which role."""

    format: str = ""
    reason: str = ""
    mapping: dict[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    samples: dict[str, str] = field(default_factory=dict)
    alternatives: tuple[Any, ...] = ()


@dataclass(frozen=True)
class ShownExample:
    """One row as the model will get it; a row that cannot be used has a `problem` and no segments.

    `segments` are (text, is it learnt) up to the cut, `cut_text` what is behind it.
    """

    row: int
    line: int
    file: str
    segments: tuple[tuple[str, bool], ...] = ()
    cut_text: str = ""
    length: int = 0
    learnt: int = 0
    problem: EngineError | None = None


@dataclass(frozen=True, eq=False)
class Whole:
    """What was read once: a survey of all rows, or of some of them; `readers` look single rows up."""

    recipe: Recipe
    folder: Path | None = None
    survey: Any = None
    about: About = field(default_factory=About)
    samples: tuple[dict[str, str], ...] = ()
    marks: frozenset[str] = frozenset()
    error: EngineError | None = None
    readers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class DataView:
    """The data with cut and split as the recipe says; counts are those that training will have.

    Until the whole was read (`complete`), they are estimated from a sample.
    """

    whole: Whole
    recipe: Recipe
    chosen: Any = None

    @property
    def error(self) -> EngineError | None:
        """Return why the rows cannot be used, where their columns could still be read."""
        return self.whole.error

    @property
    def about(self) -> About:
        """Return what the first rows say of the format and the columns."""
        return self.whole.about

    @property
    def format(self) -> str:
        """Return the format that was found or chosen."""
        return self.whole.about.format

    @property
    def max_length(self) -> int:
        """Return the longest length in tokens."""
        return self.recipe.data.max_length

    @property
    def complete(self) -> bool:
        """Return whether every row was read; else the figures are estimates."""
        return self.whole.survey is None or bool(self.whole.survey.complete)

    @cached_property
    def _scale(self) -> float:
        if self.complete:
            return 1.0
        files = self.whole.survey.files
        return sum(f.rows_estimated for f in files) / max(1, sum(f.rows for f in files))

    @property
    def sources(self) -> tuple[Any, ...]:
        """Return what was found out about each file (engine.data.survey.FileFacts)."""
        return self.whole.survey.files if self.whole.survey is not None else ()

    @property
    def problems(self) -> tuple[Any, ...]:
        """Return the first findings of reading (engine.data.rows.Finding)."""
        return tuple(self.whole.survey.report.problems) if self.whole.survey is not None else ()

    @cached_property
    def checks(self) -> tuple[Any, ...]:
        """Return all that is to be told of the data, the gravest first (engine.data.checks.Check)."""
        if self.whole.survey is None or self.chosen is None:
            return ()
        from engine.data.told import all_checks

        return all_checks(self.whole.survey, self.chosen, self.recipe.data)

    @property
    def refused(self) -> int:
        """Return how many rows keep training from starting."""
        if self.whole.survey is None or self.recipe.data.bad_rows == "leave_out":
            return 0
        return int(self.whole.survey.report.refused)

    @property
    def duplicates(self) -> int:
        """Return how many rows are the same as an earlier one."""
        return int(self.chosen.duplicates) if self.chosen is not None else 0

    @cached_property
    def shown(self) -> Any:
        """Return the rows of the table (numpy indices) that can be looked through: the training rows."""
        import numpy as np

        if self.whole.survey is None:
            return np.zeros(0, dtype=np.int64)
        table = self.whole.survey.table
        return np.flatnonzero((table.source < len(self.recipe.data.train)) & (table.learnt > 0))

    @property
    def rows(self) -> int:
        """Return how many examples can be looked through."""
        return len(self.shown)

    @cached_property
    def lengths(self) -> Any:
        """Return the tokens of every example before the cut (a numpy array)."""
        survey = self.whole.survey
        return survey.table.length[self.shown] if survey is not None else self.shown

    def cut(self, limit: int) -> Any:
        """Return what cutting at `limit` tokens does (engine.data.select.Cut); a sample is scaled up."""
        from dataclasses import replace

        from engine.data.select import cut_at

        made = cut_at(self.whole.survey.table, self.recipe.data, limit)
        return replace(made, rows=round(made.rows * self._scale), unlearnt=round(made.unlearnt * self._scale))

    @cached_property
    def truncated(self) -> int:
        """Return how many examples are longer than the limit."""
        return int(self.cut(self.max_length).rows) if self.whole.survey is not None else 0

    @cached_property
    def longest(self) -> int:
        """Return the tokens of the longest example before the cut."""
        return int(self.lengths.max()) if len(self.lengths) else 0

    @property
    def train_examples(self) -> int:
        """Return how many examples are trained on."""
        return round(len(self.chosen.train) * self._scale) if self.chosen is not None else 0

    @property
    def validation_examples(self) -> int:
        """Return how many examples are measured on."""
        return round(len(self.chosen.validation) * self._scale) if self.chosen is not None else 0

    @cached_property
    def total_tokens(self) -> int:
        """Return the tokens of one epoch."""
        return round(int(self.chosen.train.lengths.sum()) * self._scale) if self.chosen is not None else 0

    @cached_property
    def supervised_tokens(self) -> int:
        """Return the tokens that are learnt in one epoch."""
        if self.chosen is None:
            return 0
        from engine.data.dataset import learnt_in

        return round(learnt_in(self.whole.survey.table, self.chosen.train) * self._scale)

    @cached_property
    def counts(self) -> DataFacts:
        """Return what the planner wants to know."""
        from engine.data.order import packs_of

        lengths = self.chosen.train.lengths if self.chosen is not None else ()
        ordered = sorted(int(n) for n in lengths)
        packs = packs_of([int(n) for n in lengths], self.recipe.data) if ordered else None
        return DataFacts(
            train_examples=self.train_examples,
            validation_examples=self.validation_examples,
            median_tokens=ordered[len(ordered) // 2] if ordered else 0,
            longest_tokens=ordered[-1] if ordered else 0,
            total_tokens=self.total_tokens,
            supervised_tokens=self.supervised_tokens,
            packs=round(packs * self._scale) if packs else None,
        )

    def place(self, index: int) -> tuple[str, int, int]:
        """Return (file, row from 0, line) of example `index`."""
        table, number = self.whole.survey.table, int(self.shown[index])
        file = self.recipe.data.train[int(table.source[number])]
        return file, int(table.row[number]), int(table.line[number])

    def index_of(self, file: str, row: int) -> int | None:
        """Return the example that row `row` of a file is, None where it is none."""
        import numpy as np

        files = [str(Path(f).expanduser()) for f in self.recipe.data.train]
        table = self.whole.survey.table
        source = files.index(file) if file in files else 0
        places = np.flatnonzero((table.source[self.shown] == source) & (table.row[self.shown] == row))
        return int(places[0]) if len(places) else None

    def example(self, index: int) -> ShownExample:
        """Return example `index` as the model will get it."""
        file, row, line = self.place(index)
        return self.row(file, row, line)

    def row(self, file: str, row: int, line: int) -> ShownExample:
        """Return one row of a file as the model will get it, or what is wrong with it."""
        from engine.data.access import RowReader

        assert self.whole.folder is not None
        readers = self.whole.readers
        try:
            if file not in readers:
                readers[file] = RowReader(self.whole.recipe.data, file)
            made = readers[file].show(row, line, self.whole.folder, self.max_length)
        except EngineError as error:
            return ShownExample(row, line, file, problem=error)
        if "problem" in made:
            told = made["problem"]
            error = EngineError(told["message"], told["hint"], told["code"], file=file, line=told["line"])
            return ShownExample(row, line, file, problem=error)
        pieces = tuple((str(s["text"]), bool(s["trained"])) for s in made["segments"])
        return ShownExample(row, line, file, pieces, made["cut_text"], made["length"], made["labels_trained"])


_kept: list[Any] = [None, None]


def large(recipe: Recipe) -> bool:
    """Return whether the files are so large that a sample is looked at first."""
    total = 0
    for name in [*recipe.data.train, *([recipe.data.validation] if recipe.data.validation else [])]:
        file = Path(name).expanduser()
        total += file.stat().st_size if file.is_file() else 0
    return total > SAMPLED_BYTES


def look_at_data(
    recipe: Recipe, facts: Any, progress: Progress | None = None, sample: bool = False
) -> DataView:
    """Read, render and tokenise the recipe's data as training will; what is read is kept until it changes.

    With `sample`, some rows of each file stand for all, unless all were read already. Raises EngineError
    DATA-* with file and line when a file cannot be read at all.
    """
    if facts is None:
        words = "The data is read once the model is known."
        raise EngineError(words, "Choose a model first.", "MODEL-02", field="model.path")
    key = _key(recipe, facts.path)
    kept_key, whole = _kept
    if kept_key != key:
        whole = _read(recipe, facts.path, progress, sample)
        if not sample:
            _kept[:] = [key, whole]
    return decide(whole, recipe)


def decide(whole: Whole, recipe: Recipe) -> DataView:
    """Do to the rows what training does after reading: cut, leave out, split."""
    if whole.survey is None:
        return DataView(whole, recipe)
    from engine.data.select import select

    return DataView(whole, recipe, select(whole.survey.table, recipe.data, recipe.training.seed))


def _key(recipe: Recipe, folder: Path) -> tuple[Any, ...]:
    data = recipe.data
    stamps: list[Any] = []
    for name in [*data.train, *([data.validation] if data.validation else [])]:
        file = Path(name).expanduser()
        stamps.append((name, file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else (name,))
    sources = {path: entry.model_dump(exclude={"share"}) for path, entry in data.sources.items()}
    kept = data.model_dump(exclude={*DECIDED_LATER, "train", "validation", "sources"})
    return (str(folder), repr(kept), repr(sources), tuple(stamps))


def _read(recipe: Recipe, folder: Path, progress: Progress | None, sample: bool) -> Whole:
    from engine.data.survey import Wanted, survey

    about, samples, error = look_at_columns(recipe)
    if error is not None:
        return Whole(recipe, folder, None, about, samples, error=error)
    rows = SAMPLED_ROWS if sample else None
    wanted = Wanted(checks=not sample, near=not sample, rows=rows)
    try:
        found = survey(recipe.data, folder, progress=progress, wanted=wanted)
    except Superseded:
        raise
    except EngineError as refused:
        return Whole(recipe, folder, None, about, samples, error=refused)
    return Whole(recipe, folder, found, about, samples, _special_tokens(folder))


def look_at_columns(recipe: Recipe) -> tuple[About, tuple[dict[str, str], ...], EngineError | None]:
    """Return what the first rows of each file say, and why the first cannot be mapped, if it cannot.

    Raises EngineError for a first file that cannot be read at all.
    """
    from engine.data.examples import first_look

    first = About()
    samples: list[dict[str, str]] = []
    refused: EngineError | None = None
    for number, path in enumerate(recipe.data.train):
        try:
            mapping, objects, error = first_look(recipe.data, path)
        except EngineError:
            if number == 0:
                raise
            continue
        columns = tuple(dict.fromkeys(str(name) for row in objects for name in row))
        samples.append({name: _sample(objects, name) for name in columns})
        if number == 0:
            first = About("", "", {}, columns, samples[0])
            if mapping is not None:
                first = About(
                    mapping.format,
                    mapping.reason,
                    dict(mapping.columns),
                    columns,
                    samples[0],
                    tuple(mapping.alternatives),
                )
        refused = refused or error
    return first, tuple(samples), refused


def _sample(objects: list[Mapping[str, Any]], name: str) -> str:
    value = next((row[name] for row in objects if row.get(name) not in (None, "", [], {})), "")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return show_name(" ".join(text.split()), 120)


def _special_tokens(folder: Path) -> frozenset[str]:
    """Return the model's special tokens, which the example shows in boxes."""
    from engine.data.tokenizer import open_tokenizer

    return open_tokenizer(folder).special_texts
