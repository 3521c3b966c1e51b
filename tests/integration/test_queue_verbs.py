"""The queue and the orders to a going run, from the command line alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.jobs import process
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import queue, store
from engine.runs.event_log import EventReader

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    for folder in (tmp_path / "home" / "runs").glob("*"):
        process.kill(folder)


@pytest.fixture
def write(tmp_path: Path, tiny_model: Path, sound_rows: Path) -> Callable[..., str]:
    """Return a function that writes a recipe file and returns its path."""

    def make(name: str, **options: Any) -> str:
        values = {
            "name": name,
            "model.path": str(tiny_model),
            "data.train": [str(sound_rows)],
            "training.max_steps": 4,
            "evaluation.sample_prompts": ["What does the cat say?"],
            **{key.replace("__", "."): value for key, value in options.items()},
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(codec.dumps(codec.override(Recipe(), values)))
        return str(path)

    return make


def call(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine", *words, "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=dict(os.environ))


def answer(*words: str) -> dict[str, Any]:
    done = call(*words)
    assert done.returncode == 0, done.stderr + done.stdout
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def starts(folder: Path) -> int:
    return sum(event.type == "started" for event in EventReader(folder).read_new())


def until(wanted: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_that_a_queue_is_made_ordered_and_run_without_a_window(home: Path, write: Callable[..., str]) -> None:
    answer("queue", "hold")
    added = answer("queue", "add", write("one"), write("two"), write("three"))["added"]
    first = answer("queue", "add", write("zero"), "--first", "--set", "training.max_steps=2")["added"][0]
    assert [row["name"] for row in answer("queue", "list")["queued"]] == ["zero", "one", "two", "three"]
    answer("queue", "move", added[2], "2")
    left = answer("queue", "remove", added[0])
    assert [row["run"] for row in left["queued"]] == [first, added[2], added[1]]
    assert left["held"] == "put on hold" and not left["going"]
    wrong = call("queue", "remove", added[0])
    assert wrong.returncode == 2 and "does not wait" in wrong.stderr
    answer("queue", "release")
    done = answer("queue", "run")
    assert done["queued"] == done["going"] == []
    folders = [home / "runs" / run for run in (first, added[2], added[1])]
    assert [store.state_of(folder) for folder in folders] == ["finished"] * 3
    assert [starts(folder) for folder in folders] == [1, 1, 1]
    ends = [store.summary(folder) for folder in folders]
    assert [run.step for run in ends] == [2, 4, 4]
    assert not (home / "runs" / added[0] / "events.jsonl").exists()


def test_that_a_broken_run_holds_the_queue_where_that_was_chosen(
    home: Path, write: Callable[..., str]
) -> None:
    assert answer("queue", "on-error", "hold")["on_error"] == "hold"
    broken = write("broken", model__path=str(home / "no-such-model"))
    refused = call("queue", "add", broken)
    assert refused.returncode == 2 and "no-such-model" in refused.stderr
    (home / "gone").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        (home / "gone" / name).write_text("{}")
    recipe = codec.override(codec.load(Path(broken)), {"model.path": str(home / "gone")})
    folder = store.create_run(recipe)
    answer("queue", "add", folder.name)
    answer("queue", "add", write("after"))
    until(lambda: bool(queue.read().held))
    held = answer("queue", "list")
    assert held["held"].startswith("broken: ") and [row["name"] for row in held["queued"]] == ["after"]
    answer("queue", "release")
    until(lambda: {run.state for run in store.list_runs()} == {"failed", "finished"})
    assert not queue.read().queued
    assert {run.name: run.state for run in store.list_runs()} == {"broken": "failed", "after": "finished"}


def test_that_a_run_is_told_to_save_evaluate_and_answer_from_the_command_line(
    home: Path, write: Callable[..., str]
) -> None:
    long = write(
        "long", training__max_steps=100_000, evaluation__eval_steps=90_000, checkpoint__save_steps=90_000
    )
    run = answer("train", long, "--detach")["run"]
    folder = home / "runs" / run
    until(lambda: store.summary(folder).step >= 2)
    for words, kind in (
        (("save",), "checkpoint_saved"),
        (("evaluate",), "evaluated"),
        (("sample", "--prompt", "What does the hen say?"), "sample_generated"),
    ):
        done = call("tell", run, *words)
        assert done.returncode == 0, done.stderr
        assert any(json.loads(line)["type"] == kind for line in done.stdout.splitlines())
    assert call("tell", run, "sample").returncode == 2
    assert call("tell", run, "save", "--prompt", "x").returncode == 2
    assert call("pause", run).returncode == 0
    paused = call("tell", run, "evaluate")
    assert paused.returncode == 2 and "paused" in paused.stderr
    assert answer("queue", "list")["going"][0]["state"] == "paused"
    assert call("stop", run).returncode == 0
    assert call("tell", run, "save").returncode == 2


def test_that_ctrl_c_ends_the_looking_and_not_the_run(home: Path, write: Callable[..., str]) -> None:
    answer("queue", "hold")
    run = answer("queue", "add", write("long", training__max_steps=100_000))["added"][0]
    answer("queue", "release")
    folder = home / "runs" / run
    looking = subprocess.Popen([sys.executable, "-m", "engine", "queue", "run", "--json"])
    until(lambda: store.summary(folder).step >= 1)
    looking.send_signal(signal.SIGINT)
    assert looking.wait(30) == 130
    assert store.state_of(folder) == "running"
    assert call("stop", run).returncode == 0
