"""A run's state from its folder, also when its child begins or ends between two looks."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from engine import durable
from engine.jobs.lock import FolderLock
from engine.runs import store


def begin(folder: Path, held: ExitStack) -> None:
    held.enter_context(FolderLock(folder))
    (folder / "events.jsonl").write_text('{"type": "started"}\n')


def test_that_a_folder_tells_its_state(tmp_path: Path) -> None:
    assert store.state_of(tmp_path) == "queued"
    with ExitStack() as held:
        begin(tmp_path, held)
        assert store.state_of(tmp_path) == "running"
    assert store.state_of(tmp_path) == "crashed"
    durable.write_json(tmp_path / "exit.json", {"status": "stopped"})
    assert store.state_of(tmp_path) == "stopped"


def test_that_a_child_that_begins_between_two_looks_has_not_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as held:
        looked: list[Any] = []

        def exit_of(folder: Path) -> None:
            if not looked:  # the lock was looked at and was free; the child takes it now
                begin(folder, held)
            looked.append(folder)

        monkeypatch.setattr(store, "exit_of", exit_of)
        assert store.state_of(tmp_path) == "running"


def test_that_a_child_that_ends_between_two_looks_has_not_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = iter([None, {"status": "finished"}])
    (tmp_path / "events.jsonl").write_text('{"type": "started"}\n')
    monkeypatch.setattr(store, "exit_of", lambda folder: next(notes))
    assert store.state_of(tmp_path) == "finished"
