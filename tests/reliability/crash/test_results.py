"""A finished result that is damaged later: seen, refused by whatever would use it, made again from a save."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from engine import cli, durable
from engine.errors import EngineError
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import beginnings, resume_gate, store
from engine.runs import result as results
from engine.runs.fsck import fsck
from tests.reliability.harness import damages, small_run
from tests.reliability.harness.crash_disk import Unsynced

WEIGHTS = Path("adapter") / "adapter_model.safetensors"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def run(home: Path) -> Path:
    """Return a run that has finished, in the library."""
    with durable.using(Unsynced()):
        folder = small_run.make(home / "runs" / "tickets")
        assert small_run.attempt(folder) == 0
    return folder


def _refused(call: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    capsys.readouterr()
    assert cli.main([*call, "--json"]) == 2
    told: dict[str, str] = json.loads(capsys.readouterr().out)["error"]
    return told


def test_f04_that_one_flipped_byte_of_a_result_is_seen_and_refused_at_every_door_and_mended(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert results.known(run) is None and results.to_be_read(run)
    assert results.verify(run) == results.known(run) == results.Verdict("adapter")
    assert store.summary(run).damage == ""
    damages.flip(run / WEIGHTS, 40)
    assert store.summary(run).damage == "" and results.known(run) is None  # not read again yet
    found = results.verify(run)
    assert found == results.known(run)
    assert found == results.Verdict(
        "adapter", "adapter_model.safetensors has other contents", small_run.STEPS
    )
    summary = store.summary(run)
    assert summary.state == "finished" and summary.damage == found.problem
    out = str(tmp_path / "out")
    for call in (
        ["chat", run.name, "--message", "Hello"],
        ["evaluate", str(run / "adapter")],
        ["merge", run.name, "--out", out],
        ["export", run.name, "--format", "safetensors", "--out", out],
    ):
        told = _refused(call, capsys)
        assert told["code"] == "MODEL-02" and "adapter_model.safetensors" in told["message"], call
        assert run.name in told["message"] and f"step {small_run.STEPS}" in told["hint"]
    further = codec.override(Recipe(), {"data.train": ["rows.jsonl"], "adapter.path": str(run)})
    with pytest.raises(EngineError, match="adapter_model.safetensors") as told_of:
        beginnings.look(further)
    assert told_of.value.code == "MODEL-02"
    (finding,) = resume_gate.examine(run).findings
    assert finding.code == "RUN-10" and "damaged" in finding.message
    report = fsck(run, repair=True)
    assert set(report.moved) == {"adapter", "exit.json"}
    assert store.summary(run).damage == "" and store.state_of(run) == "crashed"
    assert small_run.attempt(run) == 0
    assert store.state_of(run) == "finished"
    assert results.verify(run) == results.Verdict("adapter")
    results.refuse_damaged(run)


def test_f04_that_a_missing_file_is_seen_without_reading_and_a_lost_folder_too(run: Path) -> None:
    (run / "adapter" / "README.md").unlink()
    assert store.summary(run).damage == "README.md is missing"
    with pytest.raises(EngineError, match=r"README\.md is missing") as told:
        results.refuse_damaged(run)
    assert f"step {small_run.STEPS}" in told.value.hint
    shutil.rmtree(run / "adapter")
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(EngineError, match="the folder adapter is missing") as told:
        results.refuse_damaged(run)
    assert told.value.code == "MODEL-02" and "No save of it is whole" in told.value.hint


def test_f04_that_bits_which_rot_without_a_trace_are_seen_when_the_run_is_opened_again(run: Path) -> None:
    assert results.verify(run) == results.Verdict("adapter")
    damages.flip(run / WEIGHTS, 40)
    # A disk that rots moves no time: the verdict of before still stands for these files.
    results._keep(results._key(run / "adapter"), results.Verdict("adapter"))
    assert results.known(run) == results.Verdict("adapter")
    found = results.verify(run)
    assert found is not None and "other contents" in found.problem


def test_that_a_verdict_goes_with_any_change_of_the_files(run: Path) -> None:
    results.verify(run)
    assert results.known(run) is not None
    os.utime(run / WEIGHTS)
    assert results.known(run) is None


def test_that_a_damaged_book_of_verdicts_is_none(run: Path, home: Path) -> None:
    for text in ("{", "[]", '{"a": 3}', '{"a": ["x"]}'):
        (home / "cache").mkdir(exist_ok=True)
        (home / "cache" / "results.json").write_text(text)
        assert results.known(run) is None
        assert results.verify(run) == results.known(run)


def test_that_a_run_without_a_result_is_not_refused(home: Path) -> None:
    folder = small_run.make(home / "runs" / "queued")
    assert results.verify(folder) is None and results.known(folder) is None
    results.refuse_damaged(folder)
