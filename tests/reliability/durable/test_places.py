"""Where a run cannot be written: full, not permitted, without locks, held by others (F10, F11, F15, F44)."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import durable, faults, paths
from engine.errors import EngineError, from_os_error
from engine.events import Step
from engine.jobs import lock, process, room
from engine.plan import disk
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs.ending import without_note
from engine.runs.event_log import EventReader, EventWriter
from engine.runtime import full_disk, new_folder, start
from tests.reliability.harness import small_run
from tests.reliability.harness.killing import in_process


class Nearly(durable.Disk):
    """A disk with so many bytes free."""

    def __init__(self, free: int) -> None:
        self.bytes = free

    def free(self, folder: Path) -> int:
        return self.bytes


def test_f10_that_a_run_starts_only_where_its_saves_and_its_result_fit(tmp_path: Path) -> None:
    recipe = codec.override(Recipe(), {"checkpoint.save_total_limit": 2})
    trainable = 10_000_000
    one = disk.checkpoint_bytes(recipe, trainable)
    needed = int(disk.needed_bytes(recipe, trainable))
    assert one == 120e6 and needed >= 3 * one + 40e6 + 256 * 2**20
    job: Any = SimpleNamespace(folder=tmp_path)
    with durable.using(Nearly(needed)), pytest.raises(EngineError) as caught:
        start.check_room(job, recipe, trainable)
    assert (caught.value.code, caught.value.field) == ("DISK-01", "checkpoint.save_total_limit")
    assert (
        room.amount(needed + room.SPARE_BYTES) in caught.value.message
        and str(tmp_path) in caught.value.message
    )
    with durable.using(Nearly(needed + room.SPARE_BYTES)):
        start.check_room(job, recipe, trainable)


def test_f10_that_no_child_is_started_on_a_full_disk_and_no_long_write_is_begun(tmp_path: Path) -> None:
    folder = small_run.make(tmp_path / "run")
    with durable.using(Nearly(1 << 20)):
        with pytest.raises(EngineError, match="67 MB needed in .*, 1 MB free") as caught:
            process.start(folder)
        assert caught.value.code == "DISK-01" and not (folder / "child.log").exists()
        with pytest.raises(EngineError, match="5.1 GB needed"):
            new_folder.into_folder(tmp_path / "far" / "out", 5 * 10**9, lambda place: None)
    assert not (tmp_path / "far").exists()


def test_f10_that_room_for_less_than_two_more_saves_is_told_once(tmp_path: Path) -> None:
    told: list[Any] = []
    job = SimpleNamespace(folder=tmp_path, write=told.append)
    run: Any = SimpleNamespace(job=job, told_of_low_room=False)
    for free in (200, 199, 10):
        with durable.using(Nearly(free)):
            full_disk.warn_when_low(run, 100)
    assert [(e.code, "199 bytes free" in e.message) for e in told] == [("DISK-01", True)]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_f11_that_a_place_that_cannot_be_written_is_named_with_its_owner(tmp_path: Path, number: int) -> None:
    error = from_os_error(OSError(number, os.strerror(number)), str(tmp_path / "not there" / "file"))
    assert error.code == "DISK-02" and str(tmp_path) in error.message and "owner: " in error.message


@pytest.mark.parametrize(
    ("armed", "code"),
    [("open:EROFS@1", "DISK-02"), ("write:ENOSPC@1", "DISK-01"), ("open:EIO@1", "DISK-03"), ("", "RUN-01")],
)
def test_f11_f12_that_a_run_whose_disk_took_not_even_its_last_words_is_told_from_a_killed_one(
    tmp_path: Path, armed: str, code: str
) -> None:
    folder = small_run.make(tmp_path / "run")
    writer = EventWriter(folder)
    writer.write(_a_step(3))
    writer.close()
    with faults.arm(armed):
        told = without_note(folder, 1)
    assert told.code == code and "at step 3" in told.message
    assert (str(folder) in told.message) == (code != "RUN-01")
    assert not list((folder / "control").iterdir())


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_f12_f15_that_a_failing_disk_and_a_share_that_went_away_are_told_apart(
    tmp_path: Path, number: int
) -> None:
    error = from_os_error(OSError(number, os.strerror(number)), str(tmp_path))
    assert error.code == "DISK-03" and "reported an error" in error.message and "sound" in error.hint


def test_f15_that_a_folder_without_locks_is_refused_before_a_child_starts(tmp_path: Path) -> None:
    folder = small_run.make(tmp_path / "run")
    with faults.arm("lock:ENOLCK@1+"):
        with pytest.raises(EngineError) as caught:
            process.start(folder)
        assert caught.value.code == "DISK-04" and "local disk" in caught.value.hint
        with pytest.raises(EngineError) as caught, lock.FolderLock(folder):
            pass
        assert caught.value.code == "DISK-04"
        assert not lock.is_held(folder)


def test_f44_that_a_name_held_by_another_program_is_tried_five_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(durable.time, "sleep", waited.append)
    durable.write_file(tmp_path / "a", "old")
    with faults.arm("replace:EACCES@1..4"):
        durable.write_file(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new" and 1.5 <= sum(waited) <= 2.5
    with faults.arm("replace:EACCES@1..9"), pytest.raises(PermissionError) as caught:
        durable.write_file(tmp_path / "a", "newest")
    assert from_os_error(caught.value, str(tmp_path / "a")).code == "DISK-02"
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "new"
    with faults.arm("unlink:EACCES@1..4;rmdir:EACCES@1..4"):
        durable.remove_tree(tmp_path)
    assert not tmp_path.exists()


@pytest.mark.parametrize("name", ["CON", "aux.txt", "Lpt1", "nul ", "ends.", "x" * 241, "ß" * 121])
def test_f44_that_names_that_not_every_system_can_hold_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineError) as caught:
        new_folder.into_folder(tmp_path / name, 0, lambda place: None)
    assert caught.value.code == "DISK-02" and "no name for" in caught.value.message


def test_f44_that_names_made_here_are_safe() -> None:
    for name in ("CON", "aux.", "com1", "Nul", "x" * 300, "…", "con?"):
        assert paths.why_unsafe(paths.slug(name)) == ""
    assert paths.why_unsafe("contract") == "" and paths.why_unsafe("ordinary name.gguf") == ""


def _a_step(number: int) -> Step:
    return Step(
        step=number,
        total_steps=9,
        epoch=1.0,
        loss=1.0,
        learning_rate=1e-4,
        tokens=1,
        supervised_tokens=1,
        seconds=0.1,
    )


@pytest.mark.parametrize("armed", ["write:ENOSPC@2..4", "write:short-write@2", "write:EDQUOT@3"])
def test_f09_that_lines_are_owed_in_their_order_and_passing_ones_left_out(tmp_path: Path, armed: str) -> None:
    writer = EventWriter(tmp_path)
    with faults.arm(armed):
        for number in range(1, 7):
            writer.write(_a_step(number))
        assert faults.fired and writer.full is None
    writer.close()
    events = EventReader(tmp_path).read_new()
    assert [(e.step, e.seq) for e in events] == [(n, n - 1) for n in range(1, 7)]


def test_f09_that_a_limit_of_the_system_is_a_full_disk_too(tmp_path: Path) -> None:
    """The kernel itself refuses here: a file's greatest length, and the device that is always full."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
        writer = EventWriter(tmp_path)
        for number in range(1, 20):
            writer.write(_a_step(number))
        assert writer.full is not None and writer.full.errno in durable.FULL
        with pytest.raises(OSError):
            writer.sync()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        writer.write(_a_step(20))
        assert writer.full is None

    assert in_process(limited) == 0
    assert [e.step for e in EventReader(tmp_path).read_new()] == list(range(1, 21))
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError) as caught:
        durable.write_all(full, b"a")
    os.close(full)
    assert durable.is_full(caught.value)
