"""Going on after damage: from the newest whole save, damaged ones kept aside, what was asked unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import durable
from engine.runs import check, store
from engine.runs.event_log import EventReader
from engine.runs.fsck import fsck
from tests.reliability.harness import damages, killing, small_run
from tests.reliability.harness.crash_disk import Unsynced

PAPERS = ("recipe.yaml", "job.json")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run whose child was killed before it could close."""
    with durable.using(Unsynced()):
        folder = small_run.make(tmp_path / "run")
        assert killing.in_process(lambda: small_run.attempt(folder), armed="exit.before:kill") == -9
    return folder


def _attempt(run: Path) -> list[tuple[str, str]]:
    """Let the run go on to its end and return the warnings of that attempt."""
    small_run.attempt(run)
    assert store.state_of(run) == "finished"
    events = EventReader(run).read_new()
    return [(e.code, e.message) for e in events if e.type == "warned" and e.attempt == events[-1].attempt]


def _resumed_from(run: Path) -> int | None:
    return [e.resumed_from_step for e in EventReader(run).read_new() if e.type == "started"][-1]


def test_f40_that_one_flipped_bit_sends_the_run_to_the_save_before_and_keeps_the_damaged(run: Path) -> None:
    newest, before = f"step-{small_run.STEPS:08d}", small_run.STEPS - small_run.EVERY
    truth = small_run.contents(run / "checkpoints" / newest)
    damages.flip(run / "checkpoints" / newest / "optimizer.safetensors", 500)
    kept = small_run.contents(run / "checkpoints" / newest)
    ((code, words),) = _attempt(run)
    assert (
        code == "RUN-04"
        and f"step {small_run.STEPS} is damaged" in words
        and f"step {before} is sound" in words
    )
    assert _resumed_from(run) == before
    assert small_run.contents(run / "quarantine" / "checkpoints" / newest) == kept
    assert small_run.contents(run / "checkpoints" / newest) == truth


def test_f41_that_a_run_without_a_sound_save_begins_again_and_keeps_the_damaged_ones(run: Path) -> None:
    folders = check.checkpoint_folders(run)
    for folder in folders:
        damages.flip(folder / "state.json", 5)
    codes = [code for code, _ in _attempt(run)]
    assert codes == ["RUN-04"] * len(folders) and _resumed_from(run) == 0
    moved = sorted(p.name for p in (run / "quarantine" / "checkpoints").iterdir())
    assert moved == [folder.name for folder in folders]
    assert fsck(run).ok


def test_i02_that_what_was_asked_is_the_same_after_three_resumes(run: Path) -> None:
    before = {name: durable.sha256_file(run / name) for name in PAPERS}
    for point in ("ckpt.manifest.mid:kill", "publish.file:kill@2"):
        damages.flip(check.checkpoint_folders(run)[-1] / "state.json", 5)
        assert killing.in_process(lambda: small_run.attempt(run), armed=point) == -9
    assert ("RUN-01", "adapter.part was not written to its end.") in _attempt(run)
    assert {name: durable.sha256_file(run / name) for name in PAPERS} == before
    found = [e.job_sha256 for e in EventReader(run).read_new() if e.type == "started"]
    assert found == [before["job.json"]] * 4
    assert not (run / "recipe.yaml").stat().st_mode & 0o222
