"""Folders of every released format open in this version: each lies whole in tests/data/runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.data import frozen
from engine.events import Step
from engine.jobs.spec import FORMAT, read_job
from engine.models.adapter_facts import read_adapter_facts
from engine.runs import changes, gate_checks, resume_gate, store
from engine.runs.check import last_checkpoint, step_of
from engine.runs.event_log import EventReader, replay
from engine.runs.fsck import fsck
from engine.runs.history import RunHistory

RUNS = Path(__file__).parents[2] / "data" / "runs"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a copy: a folder may be written into when it is opened."""
    shutil.copytree(RUNS, tmp_path / "runs")
    return tmp_path / "runs" / "format-1"


def test_r23_that_every_format_so_far_is_kept() -> None:
    assert {path.name for path in RUNS.glob("format-*")} == {f"format-{n}" for n in range(1, FORMAT + 1)}
    assert sum(path.stat().st_size for path in RUNS.rglob("*") if path.is_file()) < 300_000


def test_r23_that_a_run_of_format_1_opens_whole(run: Path) -> None:
    assert not fsck(run).findings
    summary = store.summary(run)
    assert (summary.name, summary.state, summary.step, summary.total_steps, summary.problem) == (
        "a run of format 1",
        "finished",
        8,
        8,
        "",
    )
    assert summary.loss == pytest.approx(6.1454, abs=1e-4)
    assert (summary.base, summary.data, summary.method, summary.seed) == ("tiny", "rows.jsonl", "LoRA r1", 42)
    assert [seal.name for seal in summary.seals][:2] == ["trained_tokens", "effect"]


def test_r23_that_both_attempts_of_it_are_read(run: Path) -> None:
    reader = EventReader(run)
    events = reader.read_new()
    assert reader.skipped == 0 and events == list(replay(run))
    assert [e.resumed_from_step for e in events if e.type == "started"] == [None, 3]
    assert [e.step for e in events if isinstance(e, Step)] == [1, 2, 3, 4, 5, 6, 7, 8]
    history = RunHistory()
    history.fold(events)
    assert history.step == 8
    assert store.load_recipe(run).training.learning_rate == 1e-2  # of the second attempt, in job-2.json
    assert [path.name for path in changes.files(run)] == ["job-2.json"]
    assert read_job(run).format == 1


def test_r23_that_what_it_left_can_be_used_and_gone_on_with(run: Path) -> None:
    assert read_adapter_facts(run / "adapter").r == 1
    rows = frozen.read(run / gate_checks.ROWS)
    assert rows is not None and len(rows[0].train) == 12
    (run / "exit.json").unlink()  # as if its child had been killed before the end
    shutil.rmtree(run / "adapter")
    assert step_of(last_checkpoint(run)[0] or run) == 8
    verdict = resume_gate.examine(run)
    assert verdict.step == 8 and verdict.stop() is None
    assert {finding.code for finding in verdict.findings} <= {"RUN-06"}
    (run.parent / "rows.jsonl").unlink()
    assert "DATA-11" in {finding.code for finding in resume_gate.examine(run).findings}
