"""Job folders: who holds them, what state they are in, and what is found damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engine import durable
from engine.errors import EngineError
from engine.events import Paused, Started, Step
from engine.jobs import lock, process
from engine.jobs.spec import create_job, read_job
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import store
from engine.runs.event_log import EventWriter


def recipe() -> Recipe:
    return codec.override(Recipe(), {"data.train": ["/data/tickets.jsonl"]})


def test_that_a_run_is_made_whole_and_its_recipe_is_frozen(tmp_path: Path) -> None:
    folder = store.create_run(recipe(), tmp_path / "run")
    assert store.load_recipe(folder).name == "tickets-lora-r16"
    assert read_job(folder).kind == "train"
    assert (folder / "recipe.yaml").stat().st_mode & 0o222 == 0
    with pytest.raises(EngineError) as caught:
        store.create_run(recipe(), folder)
    assert caught.value.code == "RUN-02"


def test_that_states_are_derived_from_the_folder(tmp_path: Path) -> None:
    folder = store.create_run(recipe(), tmp_path / "run")
    assert store.state_of(folder) == "queued"
    with lock.FolderLock(folder):
        assert store.state_of(folder) == "running"
        writer = EventWriter(folder)
        writer.write(Started(job="train", pid=1, host="h"))
        writer.write(Paused(step=0))
        assert store.state_of(folder) == "paused"
    assert store.state_of(folder) == "crashed"
    durable.write_json(folder / "exit.json", {"status": "stopped", "message": "", "time": 0})
    assert store.state_of(folder) == "stopped"


def test_m36_that_a_childs_environment_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "LD_PRELOAD", "HF_TOKEN", "PYTORCH_ALLOC_CONF", "MY_SECRET"):
        monkeypatch.setenv(name, "canary")
    environment = process.child_environment()
    assert "canary" not in environment.values()
    assert environment["OMP_WAIT_POLICY"] == "passive" and environment["HF_HUB_OFFLINE"] == "1"
    assert process.child_command(["job", "x"])[1:4] == ["-I", "-X", "utf8"]


def test_m37_that_planted_modules_are_not_imported_by_a_child(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.create_run(codec.override(recipe(), {"model.path": str(tiny_model)}), tmp_path / "run")
    for place in (folder, tmp_path):
        for name in ("torch.py", "json.py", "sitecustomize.py"):
            (place / name).write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    process.start(folder).wait(300)
    assert not (tmp_path / "canary").exists()


def test_that_commands_are_whole_files_in_order(tmp_path: Path) -> None:
    create_job("train", {}, tmp_path)
    for command in ("save", "pause", "stop"):
        process.send(tmp_path, command)
    found = [json.loads(p.read_text())["command"] for p in sorted((tmp_path / "control").iterdir())]
    assert found == ["save", "pause", "stop"]
    with pytest.raises(EngineError):
        process.send(tmp_path, "explode")


def test_that_a_durable_write_leaves_the_old_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    durable.write_file(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        durable.write_file(path, "new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_that_a_deleted_run_comes_back_from_the_trash() -> None:
    folder = store.create_run(recipe())
    trashed = store.delete_run(folder)
    assert not folder.exists() and folder.name not in [r.id for r in store.list_runs()]
    assert store.restore_run(trashed) == folder and (folder / "job.json").exists()
    store.delete_run(folder)


def test_that_a_summary_folds_a_resume_over_later_steps(tmp_path: Path) -> None:
    folder = store.create_run(recipe(), tmp_path / "run")
    writer = EventWriter(folder)
    writer.write(Started(job="train", pid=1, host="h"))
    for step in range(1, 6):
        writer.write(_step(step, float(step)))
    second = EventWriter(folder)
    second.write(Started(job="train", pid=2, host="h", resumed_from_step=2))
    second.write(_step(3, 9.0))
    found = store.summary(folder)
    assert (found.step, found.loss, found.state, found.curve) == (3, 9.0, "crashed", (1.0, 2.0, 9.0))


def _step(step: int, loss: float) -> Step:
    return Step(
        step=step,
        total_steps=9,
        epoch=0.1,
        loss=loss,
        learning_rate=1e-4,
        tokens=1,
        supervised_tokens=1,
        seconds=0.1,
    )
