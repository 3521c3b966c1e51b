"""The data as the wizard shows it: what the files hold, and every example as the model will get it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.plan.planner import DataFacts
from engine.recipe.recipe import Recipe

UNCUT = 1_048_576


@dataclass(frozen=True)
class ProblemLine:
    """One thing that is wrong with a row: where, what, and the way out."""

    code: str
    file: str
    line: int | None
    message: str
    hint: str


@dataclass(frozen=True)
class Whole:
    """What was read once: examples before any cut, and what was found in the files."""

    train: tuple[Any, ...]
    validation: tuple[Any, ...]
    tokenizer: Any
    about: dict[str, Any]
    problems: tuple[ProblemLine, ...]
    template_words: str
    marks: frozenset[str]


@dataclass(frozen=True)
class DataView:
    """The data with the cut of the recipe applied; all counts are exact."""

    whole: Whole
    max_length: int
    too_long: str
    kept: tuple[int, ...] = field(default_factory=tuple)

    @property
    def format(self) -> str:
        """Return the format that was found or chosen."""
        return str(self.whole.about.get("format", ""))

    @property
    def about(self) -> dict[str, Any]:
        """Return what inspecting the first file said: rows, columns, mapping, duplicates, why."""
        return self.whole.about

    @property
    def problems(self) -> tuple[ProblemLine, ...]:
        """Return the rows that are wrong."""
        return self.whole.problems

    @property
    def template_words(self) -> str:
        """Return which chat template is used."""
        return self.whole.template_words

    @cached_property
    def lengths(self) -> list[int]:
        """Return the tokens of every training example before the cut."""
        return [len(example.ids) for example in self.whole.train]

    @cached_property
    def cut_lengths(self) -> list[int]:
        """Return the tokens of every example that is trained on, after the cut."""
        limit = self.max_length
        if self.too_long == "drop":
            return [length for length in self.lengths if length <= limit]
        if self.too_long == "split" and self.format == "text":
            pieces: list[int] = []
            for length in self.lengths:
                pieces += [limit] * (length // limit) + ([length % limit] if length % limit else [])
            return pieces
        return [min(length, limit) for length in self.lengths]

    @property
    def train_examples(self) -> int:
        """Return how many examples are trained on."""
        return len(self.cut_lengths)

    @property
    def validation_examples(self) -> int:
        """Return how many examples are measured on."""
        return len(self.whole.validation)

    @property
    def truncated(self) -> int:
        """Return how many examples are longer than the limit."""
        return sum(1 for length in self.lengths if length > self.max_length)

    @property
    def longest(self) -> int:
        """Return the tokens of the longest example before the cut."""
        return max(self.lengths, default=0)

    @cached_property
    def total_tokens(self) -> int:
        """Return the tokens of one epoch."""
        return sum(self.cut_lengths)

    @cached_property
    def supervised_tokens(self) -> int:
        """Return the tokens that are trained in one epoch."""
        if self.too_long == "split" and self.format == "text":
            return sum(int(example.trained.sum()) for example in self.whole.train)
        dropped = self.too_long == "drop"
        return sum(
            int(example.trained[: self.max_length].sum())
            for example in self.whole.train
            if not (dropped and len(example.ids) > self.max_length)
        )

    @property
    def counts(self) -> DataFacts:
        """Return what the planner wants to know."""
        ordered = sorted(self.cut_lengths)
        return DataFacts(
            train_examples=len(ordered),
            validation_examples=self.validation_examples,
            median_tokens=ordered[len(ordered) // 2] if ordered else 0,
            longest_tokens=ordered[-1] if ordered else 0,
            total_tokens=self.total_tokens,
            supervised_tokens=self.supervised_tokens,
        )

    def segments(self, index: int) -> list[tuple[str, bool]]:
        """Return an example as (text, is it trained) pieces, exactly as its tokens say; what is cut is left out."""
        example = self.whole.train[index]
        ids = [int(i) for i in example.ids[: self.max_length]]
        trained = [bool(t) for t in example.trained[: self.max_length]]
        pieces: list[tuple[str, bool]] = []
        start = 0
        for end in range(1, len(ids) + 1):
            if end == len(ids) or trained[end] != trained[start]:
                pieces.append((self.whole.tokenizer.decode(ids[start:end]), trained[start]))
                start = end
        return pieces


_kept: dict[str, Any] = {"key": None, "whole": None}


def look_at_data(recipe: Recipe, facts: Any) -> DataView:
    """Read, render and tokenise the recipe's data as training will; what is read is kept until it changes.

    Raises EngineError DATA-* with file and line when the data cannot be used.
    """
    if facts is None:
        raise EngineError(
            "The data is read once the model is known.",
            "Choose a model first.",
            "MODEL-02",
            field="model.path",
        )
    key = _key(recipe, facts.path)
    if _kept["key"] != key:
        whole = _read(recipe, facts.path)
        _kept.update(key=key, whole=whole)
    return DataView(_kept["whole"], recipe.data.max_length, recipe.data.too_long)


def _key(recipe: Recipe, folder: Path) -> tuple[Any, ...]:
    data = recipe.data
    stamps = []
    for name in [*data.train, *([data.validation] if data.validation else [])]:
        file = Path(name).expanduser()
        stamps.append((name, file.stat().st_mtime_ns, file.stat().st_size) if file.is_file() else (name,))
    rest = data.model_dump(exclude={"max_length", "too_long", "train", "validation", "shuffle", "packing"})
    return (str(folder), recipe.training.seed, repr(rest), tuple(stamps))


def _read(recipe: Recipe, folder: Path) -> Whole:
    from engine.data.dataset import prepare
    from engine.data.templates import load_template
    from engine.data.tokenizer import ModelTokenizer

    uncut = recipe.data.model_copy(update={"max_length": UNCUT, "too_long": "truncate"})
    prepared = prepare(uncut, folder, recipe.training.seed)
    template = load_template(folder, recipe.data.chat_template)
    about: dict[str, Any] = {}
    return Whole(
        train=tuple(prepared.train),
        validation=tuple(prepared.validation),
        tokenizer=ModelTokenizer(folder),
        about=about,
        problems=tuple(_problem(found) for found in prepared.report.problems),
        template_words=str(template.name),
        marks=_special_tokens(folder),
    )


def _problem(found: Any) -> ProblemLine:
    return ProblemLine(found.code, str(found.file), found.line, found.message, found.hint)


def _special_tokens(folder: Path) -> frozenset[str]:
    """Return the model's special tokens, which the example shows in boxes."""
    import json

    try:
        added = json.loads((folder / "tokenizer.json").read_bytes()).get("added_tokens", [])
    except (OSError, ValueError):
        return frozenset()
    return frozenset(
        str(token["content"]) for token in added if isinstance(token, dict) and token.get("special")
    )
