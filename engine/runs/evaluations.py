"""Evaluations on disk: a folder each, with every item's answers and what came of them; read without torch.

A run's lie in its own folder, those of a bare model in the home. `items.jsonl` grows while the child works,
`results.json` is written once, at the end.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from engine import paths
from engine.errors import EngineError, from_os_error
from engine.jobs.spec import create_job, read_job
from engine.runs.store import state_of

FOLDER = "evaluations"
RESULTS = "results.json"
ITEMS = "items.jsonl"
TESTS = "tests.jsonl"
MAX_LINE_BYTES = 1 << 20
Who = Literal["base", "adapter"]
Verdict = Literal["better", "worse", "no clear difference"]
Told = TypeVar("Told", bound=BaseModel)


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Score(_Told):
    """One metric of one benchmark; `stderr` is None where a single number has none."""

    benchmark: str
    metric: str
    value: float
    stderr: float | None = None
    n: int
    target: Who


class Comparison(_Told):
    """Base and adapter on the same items; `low` and `high` hold the difference with 95 % confidence.

    `p_value` is that of the exact McNemar test, where answers are right or wrong.
    """

    benchmark: str
    metric: str
    base: float
    adapter: float
    difference: float
    low: float
    high: float
    verdict: Verdict
    wrong_to_right: int = 0
    right_to_wrong: int = 0
    n: int = 0
    p_value: float | None = None
    higher_is_better: bool = True


class Forgetting(_Told):
    """What became of general skills: shares of right answers before and after; red where the fall is sure."""

    state: Literal["green", "red"]
    base: float
    adapter: float
    difference: float
    low: float
    high: float
    n: int
    wrong_to_right: int = 0
    right_to_wrong: int = 0
    message: str


class LeftOut(_Told):
    """A benchmark that was asked for and could not be measured, and why."""

    benchmark: str
    code: str = ""
    message: str
    hint: str = ""


class Results(_Told):
    """results.json: all that was measured."""

    format: int = 1
    time: float
    target: str
    base: str
    fingerprints: dict[str, str] = {}
    benchmarks: list[str] = []
    limit: int | None = None
    seconds: float = 0.0
    dtype: str = ""
    device: str = ""
    scores: list[Score] = []
    comparisons: list[Comparison] = []
    forgetting: Forgetting | None = None
    left_out: list[LeftOut] = []


class Item(_Told):
    """One question with what was answered; `values` are the metrics of each speaker, `right` where it counts.

    `expected` is the right answer in words; for a choice, `answers` are the choices that were taken.
    """

    benchmark: str
    item: int
    prompt: str
    expected: str = ""
    answers: dict[str, str] = {}
    right: dict[str, bool] = {}
    values: dict[str, dict[str, float]] = {}

    @property
    def change(self) -> Literal["wrong to right", "right to wrong", ""]:
        """Return what the adapter did to this answer, empty where nothing or where it is not known."""
        base, adapter = self.right.get("base"), self.right.get("adapter")
        if base is None or adapter is None or base == adapter:
            return ""
        return "wrong to right" if adapter else "right to wrong"


class KeptTest(_Told):
    """A prompt that a person kept as a test; `check` says how an answer is compared with `expected`."""

    prompt: str
    expected: str | None = None
    check: Literal["exact", "contains", "json", "regex", "none"] = "none"
    time: float = 0.0


class Evaluation(_Told):
    """One evaluation: what was asked, its state as of any job, and its results once they are there."""

    id: str
    folder: Path
    name: str
    created: float
    state: str
    target: str
    benchmarks: list[str]
    results: Results | None = None
    problem: str = ""


def place_of(run: Path | None) -> Path:
    """Return the folder that holds the evaluations of a run, or of what belongs to none."""
    return (run if run is not None else paths.home()) / FOLDER


def create_evaluation(
    target: str,
    benchmarks: Sequence[str],
    *,
    run: Path | None = None,
    base_too: bool = True,
    data: Path | None = None,
    files: Mapping[str, Path] | None = None,
    limit: int | None = None,
    seed: int | None = None,
) -> Path:
    """Make the folder of an evaluation, to be given to `jobs.process.start`, and return it.

    `target` is what `evaluate TARGET` takes, `data` a file or folder that stands for the benchmark's own,
    `files` those of single benchmarks. `seed` makes other questions where a benchmark's are made.
    """
    folder = place_of(run) / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    arguments: dict[str, Any] = {
        "target": target,
        "benchmarks": list(benchmarks),
        "base_too": base_too,
        "data": None if data is None else str(data),
        "files": {name: str(path) for name, path in (files or {}).items()},
        "limit": limit,
        "seed": seed,
    }
    create_job("evaluate", arguments, folder, name=f"evaluate {Path(target).name}")
    return folder


def read_evaluation(folder: Path) -> Evaluation:
    """Return one evaluation; raises EngineError RUN-03 / RUN-12 where the folder is none or is damaged."""
    job = read_job(folder)
    results, problem = None, ""
    if (folder / RESULTS).is_file():
        try:
            results = Results.model_validate_json((folder / RESULTS).read_bytes())
        except OSError as error:
            problem = from_os_error(error, str(folder / RESULTS)).message
        except (ValidationError, RecursionError):
            problem = f"{RESULTS} cannot be read."
    return Evaluation(
        id=folder.name,
        folder=folder,
        name=paths.show_name(job.name),
        created=job.created,
        state=state_of(folder),
        target=paths.show_name(str(job.arguments.get("target", "")), 300),
        benchmarks=[str(name) for name in job.arguments.get("benchmarks") or []],
        results=results,
        problem=problem,
    )


def read_evaluations(run: Path | None = None) -> list[Evaluation]:
    """Return the evaluations of a run, or of what belongs to none, newest first, sound ones only."""
    place = place_of(run)
    found = []
    for folder in place.iterdir() if place.is_dir() else ():
        try:
            found.append(read_evaluation(folder))
        except EngineError:
            continue  # `runs check` names what is damaged
    return sorted(found, key=lambda each: each.created, reverse=True)


def read_items(folder: Path, benchmark: str | None = None) -> list[Item]:
    """Return the items of an evaluation, or of one of its benchmarks, in their order."""
    found = {(item.benchmark, item.item): item for item in _lines(folder / ITEMS, Item)}
    wanted = [item for item in found.values() if benchmark in (None, item.benchmark)]
    return sorted(wanted, key=lambda item: (item.benchmark, item.item))


def changed_items(items: Sequence[Item]) -> list[Item]:
    """Return the items whose answer became right or wrong, wrong to right first."""
    changed = [item for item in items if item.change]
    return sorted(changed, key=lambda item: item.change != "wrong to right")


def kept_tests(place: Path) -> list[KeptTest]:
    """Return the prompts that a person kept as tests in a run's folder, or in the home."""
    return list(_lines(place / TESTS, KeptTest))


def _lines(path: Path, form: type[Told]) -> Iterator[Told]:
    """Yield the sound lines of a JSONL file; a torn or foreign line is none."""
    try:
        with open(path, "rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                try:
                    yield form.model_validate_json(line)
                except (ValidationError, RecursionError):
                    continue
    except FileNotFoundError:
        return
    except OSError as error:
        raise from_os_error(error, str(path)) from error
