"""The log after kills and power cuts: whole lines are read, wrecks counted, and saves need no log."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.runs import check, store
from engine.runs.event_log import EventReader
from engine.runs.fsck import fsck
from tests.reliability.harness import small_run, torn_logs


def test_i03_f31_that_a_log_cut_behind_any_byte_keeps_its_whole_lines(tmp_path: Path) -> None:
    assert torn_logs.cut_everywhere(tmp_path) == []


def test_r14_f31_that_torn_zeroed_and_shortened_logs_give_all_whole_lines(tmp_path: Path) -> None:
    assert torn_logs.spoil(tmp_path, count=150, seed=3) == []


def test_f31_that_a_line_that_lacks_only_its_end_keeps_its_number(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(torn_logs.line_of(1) + torn_logs.line_of(2)[:-1])
    torn_logs.append_attempt(tmp_path, 3)
    assert [e.seq for e in EventReader(tmp_path).read_new()] == [0, 1, 2]


@pytest.mark.parametrize("how", ["gone", "empty", "shortened", "another"])
def test_f32_that_saves_are_gone_on_from_without_their_log(tmp_path: Path, how: str) -> None:
    run = small_run.make(tmp_path / "run")
    small_run.attempt(run)
    (run / "exit.json").unlink()
    log = run / "events.jsonl"
    if how == "gone":
        log.unlink()
    elif how == "empty":
        log.write_bytes(b"")
    elif how == "shortened":
        log.write_bytes(log.read_bytes()[:700])
    else:
        log.write_bytes(b"\x00" * 300 + b"\nnot of this run\n")
    last = small_run.STEPS
    assert [each.code for each in fsck(run).findings] in (["RUN-09"], [] if how == "empty" else ["RUN-09"])
    assert check.last_checkpoint(run)[0] == run / "checkpoints" / f"step-{last:08d}"
    assert small_run.attempt(run, last + 3) == 0
    events = EventReader(run).read_new()
    begun = [e.resumed_from_step for e in events if e.type == "started"][-1]
    assert begun == last and store.state_of(run) == "finished"
