"""What the page of evaluations reads and brings, off the window's thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from app.choices import Choice, read_choices
from engine.benchmarks.spec import benchmarks
from engine.errors import EngineError
from engine.jobs import fetch, process
from engine.models.adapter_facts import CONFIG
from engine.runs import store
from engine.runs.benchmark_rows import questions_for
from engine.runs.evaluation_offers import Offers, read_offers
from engine.runs.evaluations import Evaluation, Item, read_evaluations, read_items


@dataclass(frozen=True)
class RunRead:
    """A run with its saved steps (newest first) and its evaluations (newest first); `going` are at work."""

    summary: store.RunSummary
    steps: tuple[tuple[int, Path], ...]
    evaluations: tuple[Evaluation, ...]
    going: tuple[Path, ...]
    has_weights: bool

    @property
    def newest(self) -> int:
        """Return the place of the newest evaluation with results, -1 where there is none."""
        found = [place for place, each in enumerate(self.evaluations) if each.results is not None]
        return found[0] if found else -1


def read_runs() -> list[Choice]:
    """Return the runs that have something to measure, the newest first."""
    return [choice for choice in read_choices() if (Path(choice.target) / "job.json").is_file()]


def read_run(run: Path) -> RunRead:
    """Return what is known of a run."""
    saved = [
        (int(folder.name.removeprefix("step-")), folder)
        for folder in run.glob("checkpoints/step-*")
        if (folder / "MANIFEST.json").is_file() and folder.name.removeprefix("step-").isdigit()
    ]
    found = tuple(read_evaluations(run))
    whole = (run / "model" / "config.json").is_file()
    return RunRead(
        summary=store.summary(run),
        steps=tuple(sorted(saved, reverse=True)),
        evaluations=found,
        going=tuple(each.folder for each in found if process.is_alive(each.folder)),
        has_weights=bool(saved) or whole or (run / "adapter" / CONFIG).is_file(),
    )


def offers_of(run: Path, files: Mapping[str, Path]) -> Offers:
    """Return what a run can be measured on, with the files a person chose."""
    return read_offers(run, files)


def items_of(evaluation: Evaluation) -> list[Item]:
    """Return the answers of an evaluation; none where they were thrown away."""
    return read_items(evaluation.folder)


def check_file(name: str, file: Path) -> int:
    """Return how many questions a file holds for a benchmark; raises EngineError with its bad line."""
    found = len(questions_for(benchmarks()[name], file))
    if not found:
        raise EngineError(f"{file.name} holds no questions.", "Choose another.", "DATA-07", file=str(file))
    return found


def download(name: str) -> Path:
    """Bring the files of a benchmark from the hub and return their folder; raises EngineError HUB-*."""
    source = benchmarks()[name].source
    listed = [file.name for file in fetch.dataset_files(source.hub)]
    wanted: list[str] = []
    for patterns in filter(None, (source.files, source.shots)):
        matching = [[each for each in listed if fnmatch(each, pattern)] for pattern in patterns]
        wanted += next((found[:1] for found in matching if found), [])
    if not wanted:
        raise EngineError(
            f"{source.hub} has no file called {' or '.join(source.files)}.",
            "Choose a file of your own.",
            "DATA-12",
        )
    return fetch.download_dataset(source.hub, files=wanted)
