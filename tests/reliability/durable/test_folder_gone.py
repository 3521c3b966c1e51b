"""A run's folder that is moved or deleted while its child works in it (F13, F14)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EngineError
from engine.events import Finished
from engine.jobs import process
from engine.jobs.spec import read_job
from engine.runs import check
from engine.runs.event_log import EventWriter
from engine.runtime import checkpoint, start, train
from engine.runtime.control import Control
from engine.runtime.folder_watch import FolderWatch
from engine.runtime.job import Job, Requests
from engine.runtime.vitals import Vitals
from tests.integration.attempts import attempt
from tests.integration.conftest import MakeRun, events_of
from tests.reliability.harness import small_run

OPTIONS: dict[str, Any] = {
    "data__validation_split": 0.0,
    "training__max_steps": 6,
    "checkpoint__save_steps": 2,
    "checkpoint__save_total_limit": 10,
}


def after_step(monkeypatch: pytest.MonkeyPatch, number: int, do: Callable[[], Any]) -> None:
    """Watch the folder as a child does, and have something done to it after a step."""
    take_step, train_job = train.take_step, start.train_job

    def watched(job: Job) -> Any:
        job.watch = FolderWatch(job, job.requests._control)
        try:
            return train_job(job)
        finally:
            job.watch.end()

    def disturbed(run: Any) -> None:
        take_step(run)
        if run.step == number:
            do()

    monkeypatch.setattr(start, "train_job", watched)
    monkeypatch.setattr(train, "take_step", disturbed)


def test_f14_that_a_run_goes_on_where_its_folder_was_moved(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(**OPTIONS)
    moved = folder.with_name("moved by hand")
    write, begun = checkpoint.write, []

    def moved_meanwhile(run: Path, taken: Any, before: Any) -> Any:
        """Move it a second time, between the first file of a save and the next."""
        if taken.step == 4 and not begun:
            begun.append(taken.step)
            files = taken.write_adapter

            def then_moves(place: Path) -> None:
                files(place)
                moved.rename(moved.with_name("moved again"))

            taken = checkpoint.Snapshot(4, then_moves, taken.optimizer, taken.state, taken.bytes)
        return write(run, taken, before)

    monkeypatch.setattr(checkpoint, "write", moved_meanwhile)
    after_step(monkeypatch, 2, lambda: folder.rename(moved))
    assert isinstance(attempt(folder), Finished)
    last = moved.with_name("moved again")
    assert not folder.exists() and not moved.exists()
    told = [e for e in events_of(last) if e.type == "warned" and e.code == "RUN-03"]
    assert len(told) == 2 and str(moved) in told[0].hint and str(last) in told[1].hint
    assert [check.step_of(p) for p in check.checkpoint_folders(last) if not check.problem_of(p)] == [2, 4, 6]
    assert not check.problem_of(last / "adapter")


def test_f13_that_a_deleted_folder_ends_the_run_and_is_not_made_anew(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(**OPTIONS)
    after_step(monkeypatch, 3, lambda: shutil.rmtree(folder))
    with pytest.raises(EngineError) as caught:
        attempt(folder)
    assert caught.value.code == "RUN-03" and str(folder) in caught.value.message
    assert not folder.exists()


def test_f13_that_the_thread_beside_a_long_step_asks_for_a_stop(tmp_path: Path) -> None:
    folder = small_run.make(tmp_path / "run")
    writer, control = EventWriter(folder), Control(folder)
    job = Job(folder, read_job(folder), writer, Requests(control), Vitals(writer))
    job.watch = FolderWatch(job, control)
    process.send(folder, "save")
    folder.rename(tmp_path / "elsewhere")
    job.watch.glance()
    job.requests.poll()
    assert job.folder == tmp_path / "elsewhere" and job.requests.take("save")
    shutil.rmtree(job.folder)
    tmp_path.joinpath("elsewhere").mkdir()  # another folder in its place is not the run
    job.watch.glance()
    assert job.requests.stop
    with pytest.raises(EngineError, match="gone"):
        job.find_folder()
    writer.close()
