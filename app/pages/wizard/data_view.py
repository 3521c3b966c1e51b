"""The data as the wizard shows it: what the files hold, and every example as the model will get it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.durable import write_file
from engine.errors import EngineError
from engine.paths import datasets_dir, show_name
from engine.plan.planner import DataFacts
from engine.recipe.recipe import Recipe

UNCUT = 1_048_576
Progress = Callable[[int, int], None]
FIRST_ROWS = 200


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


@dataclass(frozen=True, eq=False)
class Whole:
    """What was read once: examples before any cut and split, and what was found in the files."""

    rows: tuple[Any, ...] = ()
    validation: tuple[Any, ...] | None = None
    tokenizer: Any = None
    about: About = field(default_factory=About)
    report: Any = None
    marks: frozenset[str] = frozenset()
    error: EngineError | None = None


@dataclass(frozen=True, eq=False)
class DataView:
    """The data with cut and split as the recipe says; counts are those that training will have."""

    whole: Whole
    train: tuple[Any, ...] = ()
    validation: tuple[Any, ...] = ()
    max_length: int = 0
    remarks: tuple[Any, ...] = ()

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
    def problems(self) -> tuple[Any, ...]:
        """Return the first findings of reading, and those of the split (engine.data.rows.Finding)."""
        found = tuple(self.whole.report.problems) if self.whole.report is not None else ()
        return (*found, *self.remarks)

    @property
    def refused(self) -> int:
        """Return how many rows cannot be used at all; training would not start with them."""
        return int(self.whole.report.refused) if self.whole.report is not None else 0

    @property
    def duplicates(self) -> int:
        """Return how many rows are the same as an earlier one."""
        return int(self.whole.report.duplicates) if self.whole.report is not None else 0

    @cached_property
    def lengths(self) -> list[int]:
        """Return the tokens of every row before the cut."""
        return [len(example.ids) for example in self.whole.rows]

    @property
    def truncated(self) -> int:
        """Return how many rows are longer than the limit."""
        return sum(1 for length in self.lengths if length > self.max_length)

    @property
    def longest(self) -> int:
        """Return the tokens of the longest row before the cut."""
        return max(self.lengths, default=0)

    @property
    def train_examples(self) -> int:
        """Return how many examples are trained on."""
        return len(self.train)

    @property
    def validation_examples(self) -> int:
        """Return how many examples are measured on."""
        return len(self.validation)

    @cached_property
    def total_tokens(self) -> int:
        """Return the tokens of one epoch."""
        return sum(len(example.ids) for example in self.train)

    @cached_property
    def supervised_tokens(self) -> int:
        """Return the tokens that are learnt in one epoch; the first of a row has nothing before it."""
        return sum(int(example.trained[1:].sum()) for example in self.train)

    @property
    def counts(self) -> DataFacts:
        """Return what the planner wants to know."""
        ordered = sorted(len(example.ids) for example in self.train)
        return DataFacts(
            train_examples=len(ordered),
            validation_examples=self.validation_examples,
            median_tokens=ordered[len(ordered) // 2] if ordered else 0,
            longest_tokens=ordered[-1] if ordered else 0,
            total_tokens=self.total_tokens,
            supervised_tokens=self.supervised_tokens,
        )

    def segments(self, index: int) -> list[tuple[str, bool]]:
        """Return a row as (text, is it learnt) pieces, as its tokens say; what is cut is left out."""
        example = self.whole.rows[index]
        ids = [int(i) for i in example.ids[: self.max_length]]
        trained = [bool(t) for t in example.trained[: self.max_length]]
        pieces: list[tuple[str, bool]] = []
        start = 0
        for end in range(1, len(ids) + 1):
            if end == len(ids) or trained[end] != trained[start]:
                pieces.append((self.whole.tokenizer.decode(ids[start:end]), trained[start]))
                start = end
        return pieces


_kept: list[Any] = [None, None]


def look_at_data(recipe: Recipe, facts: Any, progress: Progress | None = None) -> DataView:
    """Read, render and tokenise the recipe's data as training will; what is read is kept until it changes.

    Raises EngineError DATA-* with file and line when a file cannot be read at all.
    """
    if facts is None:
        words = "The data is read once the model is known."
        raise EngineError(words, "Choose a model first.", "MODEL-02", field="model.path")
    key = _key(recipe, facts.path)
    kept_key, whole = _kept
    if kept_key != key:
        whole = _read(recipe, facts.path, progress)
        _kept[:] = [key, whole]
    return _cut_and_split(whole, recipe)


def _key(recipe: Recipe, folder: Path) -> tuple[Any, ...]:
    data = recipe.data
    stamps: list[Any] = []
    for name in [*data.train, *([data.validation] if data.validation else [])]:
        file = Path(name).expanduser()
        stamps.append((name, file.stat().st_mtime_ns, file.stat().st_size) if file.is_file() else (name,))
    read_only_once = {
        "max_length",
        "too_long",
        "validation_split",
        "train",
        "validation",
        "shuffle",
        "packing",
    }
    return (str(folder), repr(data.model_dump(exclude=read_only_once)), tuple(stamps))


def _read(recipe: Recipe, folder: Path, progress: Progress | None) -> Whole:
    from engine.data.dataset import prepare
    from engine.data.tokenizer import ModelTokenizer

    about, error = look_at_columns(recipe)
    if error is not None:
        return Whole(about=about, error=error)
    changes = {"max_length": UNCUT, "too_long": "truncate", "validation_split": 0.0}
    try:
        data, seed = recipe.data.model_copy(update=changes), recipe.training.seed
        prepared = prepare(data, folder, seed, progress=progress, skip_bad_rows=True)
    except Superseded:
        raise
    except EngineError as refused:
        return Whole(about=about, error=refused)
    return Whole(
        rows=tuple(prepared.train),
        validation=tuple(prepared.validation) if recipe.data.validation else None,
        tokenizer=ModelTokenizer(folder),
        about=about,
        report=prepared.report,
        marks=_special_tokens(folder),
    )


def _cut_and_split(whole: Whole, recipe: Recipe) -> DataView:
    """Do to the rows what the engine does after reading, with its own split."""
    from engine.data.report import Report
    from engine.data.split import keep_aside

    data, report = recipe.data, Report()
    rows = list(_cut(whole.rows, data.max_length, data.too_long, whole.about.format))
    if whole.validation is not None:
        held = list(_cut(whole.validation, data.max_length, data.too_long, whole.about.format))
    else:
        rows, held = keep_aside(rows, data.validation_split, recipe.training.seed, report, data.train[0])
    return DataView(whole, tuple(rows), tuple(held), data.max_length, tuple(report.problems))


def _cut(rows: Iterable[Any], limit: int, how: str, format: str) -> Iterator[Any]:
    for row in rows:
        if len(row.ids) <= limit:
            yield row
        elif how == "split" and format == "text":
            for start in range(0, len(row.ids), limit):
                if row.trained[start + 1 : start + limit].any():
                    end = start + limit
                    yield replace(row, ids=row.ids[start:end], trained=row.trained[start:end])
        elif how != "drop" and row.trained[1:limit].any():
            yield replace(row, ids=row.ids[:limit], trained=row.trained[:limit])


def look_at_columns(recipe: Recipe) -> tuple[About, EngineError | None]:
    """Return what the first rows of the first file say, and why they cannot be mapped, if they cannot.

    Raises EngineError for a file that cannot be read at all.
    """
    from engine.data.mapping import choose
    from engine.data.readers import Row, read_rows

    values: list[Any] = []
    for item in read_rows(Path(recipe.data.train[0]).expanduser()):
        if isinstance(item, Row):
            values.append(item.value)
        if len(values) >= FIRST_ROWS:
            break
    objects = [value for value in values if isinstance(value, Mapping)]
    columns = tuple(dict.fromkeys(str(name) for row in objects for name in row))
    samples = {name: _sample(objects, name) for name in columns}
    try:
        made = choose(values, recipe.data.format, recipe.data.columns)
    except EngineError as error:
        return About("", "", {}, columns, samples), error
    return About(made.format, made.reason, dict(made.columns), columns, samples), None


def copy_without(file: Path, lines: Iterable[int]) -> Path:
    """Write a copy of a line-by-line file without some lines (1-based) into the data folder and return it."""
    wrong = set(lines)
    kept = [
        line
        for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), 1)
        if number not in wrong
    ]
    target = datasets_dir() / f"{file.stem}-mended{file.suffix}"
    write_file(target, "\n".join(kept))
    return target


def _sample(objects: list[Mapping[str, Any]], name: str) -> str:
    value = next((row[name] for row in objects if row.get(name) not in (None, "", [], {})), "")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return show_name(" ".join(text.split()), 120)


def _special_tokens(folder: Path) -> frozenset[str]:
    """Return the model's special tokens, which the example shows in boxes."""
    try:
        added = json.loads((folder / "tokenizer.json").read_bytes()).get("added_tokens", [])
    except (OSError, ValueError):
        return frozenset()
    tokens = [token for token in added if isinstance(token, dict) and token.get("special")]
    return frozenset(str(token["content"]) for token in tokens)
