"""Where a benchmark's questions lie on this computer, and how they are read. Nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from engine import hub, paths
from engine.benchmarks.questions import Question, Row, arithmetic_rows, questions_of
from engine.benchmarks.spec import OWN_TESTS, Benchmark
from engine.data.conversation import Conversation
from engine.data.examples import open_rows
from engine.data.options import ReadOptions
from engine.data.readers import look_at
from engine.data.rows import Finding
from engine.errors import EngineError
from engine.runs.evaluations import kept_tests

MOST_ROWS = 100_000


def questions_for(
    benchmark: Benchmark,
    data: Path | None = None,
    run: Path | None = None,
    limit: int | None = None,
    seed: int | None = None,
) -> list[Question]:
    """Return the first `limit` questions of a benchmark, from `data` where it is given; `seed` makes others.

    Raises EngineError HUB-01 where they are not on disk, DATA-* for a file that is not of their form.
    """
    most = MOST_ROWS if limit is None else limit
    source = benchmark.source
    if benchmark.name == OWN_TESTS:
        rows: list[Row] = list(islice(_own_tests(data, run), most))
        if not rows:
            raise EngineError(
                "There are no tests of your own yet.",
                "Keep a prompt as a test in a chat, or name a file with --data.",
                "DATA-07",
            )
        return questions_of(benchmark, rows)
    if data is None and source.made is not None:
        made = source.made if seed is None else source.made.model_copy(update={"seed": seed})
        return questions_of(benchmark, arithmetic_rows(made)[:most])
    if data is None and source.shipped:
        files = [paths.resources("benchmarks", name) for name in source.shipped]
        return questions_of(benchmark, list(islice(_rows(files, benchmark), most)))
    file, shots = locate(benchmark, data)
    examples = list(islice(_rows([shots], benchmark), benchmark.shots)) if shots else []
    return questions_of(benchmark, list(islice(_rows([file], benchmark), most)), examples)


def locate(benchmark: Benchmark, data: Path | None) -> tuple[Path, Path | None]:
    """Return the file of questions, and the file of the examples that stand before them."""
    if data is not None and data.is_file():
        return data, _shots(benchmark, data.parent)
    for root in [data] if data is not None else _roots(benchmark.source.hub):
        file = _first(root, benchmark.source.files)
        if file is not None:
            return file, _shots(benchmark, root)
    if data is not None:
        raise EngineError(
            f"{paths.show_name(str(data), 200)} holds no file of {benchmark.label}.",
            f"It is called {' or '.join(benchmark.source.files)}.",
            "DATA-12",
            file=str(data),
        )
    raise EngineError(
        f"{benchmark.label} is not on disk.",
        f"Download it once: `tunesmith data get {benchmark.source.hub}`; or name a file with --data.",
        "HUB-01",
    )


def is_at_hand(benchmark: Benchmark) -> bool:
    """Return whether a benchmark's questions are on disk, so that it could be measured now."""
    if benchmark.at_hand:
        return True
    return any(_first(root, benchmark.source.files) for root in _roots(benchmark.source.hub))


def _shots(benchmark: Benchmark, root: Path) -> Path | None:
    if not benchmark.shots:
        return None
    found = _first(root, benchmark.source.shots)
    if found is None:
        raise EngineError(
            f"{benchmark.label} begins with {benchmark.shots} examples, and their file is not here.",
            f"Put it beside the questions: {' or '.join(benchmark.source.shots)}.",
            "DATA-12",
            file=str(root),
        )
    return found


def _first(root: Path, patterns: Sequence[str]) -> Path | None:
    for pattern in patterns:
        found = sorted(path for path in root.glob(pattern) if path.is_file())
        if found:
            return found[0]
    return None


def _roots(identity: str) -> Iterator[Path]:
    """Yield the folders in which a data set of the hub lies: ours, then the hub's cache, newest first."""
    if not identity:
        return
    own = hub.cached_dataset(identity)
    if own is not None:
        yield own
    snapshots = _hub_cache() / f"datasets--{identity.replace('/', '--')}" / "snapshots"
    if snapshots.is_dir():
        yield from sorted(snapshots.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)


def _hub_cache() -> Path:
    """Return the cache of the hub's own client, by its rules and without importing it."""
    own = os.environ.get("HF_HUB_CACHE")
    if own:
        return Path(own).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("HF_HOME", f"{cache}/huggingface")).expanduser() / "hub"


def _rows(files: Sequence[Path], benchmark: Benchmark) -> Iterator[dict[str, Any]]:
    for file in files:
        headless = benchmark.form == "mmlu" and file.suffix.lower() == ".csv"
        for item in look_at(file, ReadOptions(header=False if headless else None)).rows():
            if isinstance(item, Finding):
                if item.severity == "error":
                    raise item.as_error()
            elif isinstance(item.value, str):
                raise EngineError(
                    f"{paths.show_name(file.name)} has no columns.",
                    f"Choose a file in the form in which the hub has {benchmark.label}.",
                    "DATA-03",
                    file=str(file),
                    line=item.line,
                )
            else:
                yield dict(item.value)


def _own_tests(data: Path | None, run: Path | None) -> Iterator[dict[str, Any]]:
    """Yield a person's tests as rows: of a file, or those kept with the run and in the home."""
    if data is not None:
        yield from _tests_of(data)
        return
    for place in dict.fromkeys([*([run] if run else []), paths.home()]):
        for test in kept_tests(place):
            yield {"prompt": test.prompt, "expected": test.expected or "", "check": test.check}


def _tests_of(file: Path) -> Iterator[dict[str, Any]]:
    """Read `prompt`, `expected`, `check`; of any other form, which is training data, the last answer."""
    layout = look_at(file)
    first = next((row for row in layout.rows() if not isinstance(row, Finding)), None)
    if first is not None and not isinstance(first.value, str) and "expected" in first.value:
        for row in layout.rows():
            if isinstance(row, Finding):
                if row.severity == "error":
                    raise row.as_error()
            elif not isinstance(row.value, str):
                check = str(row.value.get("check") or "")
                expected = row.value.get("expected")
                yield {
                    "prompt": row.value.get("prompt", ""),
                    "expected": "" if expected is None else str(expected),
                    "check": check,
                }
        return
    for _, item in open_rows(file).conversations():
        if isinstance(item, Finding):
            if item.severity == "error":
                raise item.as_error()
        else:
            yield from _as_test(item)


def _as_test(item: Conversation) -> Iterator[dict[str, Any]]:
    if item.messages and item.messages[-1]["role"] == "assistant":
        yield {"messages": item.messages[:-1], "expected": str(item.messages[-1]["content"])}
