"""In which order a run writes (I6, I7, I9, I11), and how much work a crash can cost (R12)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import durable, faults
from engine.errors import EngineError
from engine.events import Log
from engine.jobs import process
from engine.recipe.recipe import Recipe
from engine.runs import check
from engine.runs.event_log import EventWriter
from engine.runtime import checkpoint
from engine.runtime.timetable import make_timetable
from tests.reliability.harness import small_run
from tests.reliability.harness.killing import in_process
from tests.reliability.harness.refusing import Quick


def whole_saves(folder: Path) -> list[int]:
    return [check.step_of(p) for p in check.checkpoint_folders(folder) if not check.problem_of(p)]


def test_i06_that_a_kill_at_any_removal_leaves_two_saves_and_the_best(tmp_path: Path) -> None:
    removals = 10
    for number in range(1, removals + 2):
        folder = small_run.make(tmp_path / f"run-{number}")
        with durable.using(Quick()):
            armed = f"prune.unlink:kill@{number}"
            ended = in_process(lambda place=folder: small_run.attempt(place), armed=armed)
        assert ended == (-9 if number <= removals else 0)
        left = whole_saves(folder)
        assert small_run.BEST in left and len(left) >= 3
        for cut_off in (p for p in check.checkpoint_folders(folder) if check.step_of(p) not in left):
            assert not (cut_off / check.MANIFEST).exists()  # litter, and never a manifest over missing files


class Noted(Quick):
    """Notes what is done to which file of a run, in its order."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.names: dict[int, str] = {}
        self.done: list[str] = []

    def _of(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        fd = super().open(path, flags, mode)
        self.names[fd] = self._of(path)
        return fd

    def write(self, fd: int, data: bytes | memoryview) -> int:
        kind = "announce" if b'"type":"checkpoint_saved"' in bytes(data[:200]) else "write"
        self.done.append(f"{kind} {self.names[fd]}")
        return super().write(fd, data)

    def fsync(self, fd: int) -> None:
        super().fsync(fd)
        self.done.append(f"fsync {self.names[fd]}")

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self.done.append(f"name {self._of(target)}")

    def fsync_folder(self, folder: Path) -> None:
        super().fsync_folder(folder)
        self.done.append(f"fsync {self._of(folder)}")


def test_i07_that_what_is_announced_is_on_the_disk_and_the_log_reaches_as_far(tmp_path: Path) -> None:
    folder = small_run.make(tmp_path / "run")
    with durable.using(Noted(folder)) as disk:
        small_run.attempt(folder)
    assert isinstance(disk, Noted)
    for step in small_run.SAVES:
        place = f"checkpoints/step-{step:08d}"
        wanted = [f"name {place}/{name}" for name in ("adapter_model.safetensors", "optimizer.safetensors")]
        wanted += [f"name {place}/state.json", f"fsync {place}", "fsync events.jsonl"]
        wanted += [f"fsync {place}/MANIFEST.json.part", f"name {place}/MANIFEST.json", f"fsync {place}"]
        wanted += ["fsync checkpoints", "announce events.jsonl"]
        at = disk.done.index(wanted[0])
        for each in wanted:
            at = disk.done.index(each, at) + 1  # raises where it does not follow
        assert disk.done.index(wanted[6]) == max(
            n for n, each in enumerate(disk.done) if each == f"name {place}/MANIFEST.json"
        )


@pytest.mark.parametrize(("point", "there"), [("exit.before", False), ("exit.after", True)])
def test_i09_that_the_closing_note_is_the_last_file_and_its_absence_an_answer(
    tmp_path: Path, point: str, there: bool
) -> None:
    folder = small_run.make(tmp_path / "run")
    with durable.using(Quick()):
        assert in_process(lambda: small_run.attempt(folder), armed=f"{point}:kill") == -9
    assert not check.problem_of(folder / "adapter")
    note = process.exit_of(folder)
    assert (note is not None) == there
    assert note is None or note["status"] == "finished"


def test_i09_that_nothing_is_written_after_the_closing_note(tmp_path: Path) -> None:
    folder = small_run.make(tmp_path / "run")
    with durable.using(Noted(folder)) as disk:
        small_run.attempt(folder)
    assert isinstance(disk, Noted)
    assert disk.done[-4:] == ["write exit.json.part", "fsync exit.json.part", "name exit.json", "fsync ."]
    assert disk.done[-5] == "fsync events.jsonl"


def test_i11_that_an_fsync_that_failed_is_not_asked_again_and_nothing_newer_is_believed(
    tmp_path: Path,
) -> None:
    with faults.arm("nothing:none"), durable.using(Quick()):
        small_run.attempt(small_run.make(tmp_path / "whole"), steps=3)
        first = faults.passed()["fsync"]  # of one save, the result and the end
    for number in range(first - 8, first + 8, 3):
        folder, disk = small_run.make(tmp_path / f"run-{number}"), Quick()
        with durable.using(disk), faults.arm(f"fsync:EIO@{number}"), pytest.raises(OSError):
            small_run.attempt(folder)
        assert not disk.again and not (folder / "exit.json").exists()
        assert whole_saves(folder) in ([3], [3, 6], [3, 6, 9])
        assert not list((folder / "checkpoints").rglob("*.part"))


def test_i11_that_a_log_that_was_not_kept_is_never_asked_to_be_kept_again(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    writer.write(Log(message="one"))
    with faults.arm("fsync:EIO@1"):
        for _ in range(3):
            with pytest.raises(OSError):
                writer.sync()
        assert faults.passed()["fsync"] == 1 and writer.lost
    writer.close()


class Lying(Quick):
    """A disk that says all is well and keeps another byte in every file of one name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.lies: set[int] = set()

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        fd = super().open(path, flags, mode)
        if path.name.startswith(self.name):
            self.lies.add(fd)
        return fd

    def close(self, fd: int) -> None:
        self.lies.discard(fd)
        super().close(fd)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if fd in self.lies and len(data) > 20:
            data = bytes(data[:20]) + bytes([data[20] ^ 1]) + bytes(data[21:])
        return super().write(fd, data)


@pytest.mark.parametrize("name", ["optimizer.safetensors", "adapter_config.json"])
def test_i11_that_success_is_said_only_of_what_was_read_back(tmp_path: Path, name: str) -> None:
    folder = small_run.make(tmp_path / "run")
    with durable.using(Lying(name)), pytest.raises(EngineError) as caught:
        small_run.attempt(folder)
    assert caught.value.code == "DISK-03" and name in caught.value.message
    assert not (folder / "exit.json").exists()


def test_i11_that_a_save_that_rotted_is_not_made_the_result(tmp_path: Path) -> None:
    folder = small_run.make(tmp_path / "run")
    with durable.using(Quick()):
        small_run.attempt(folder)
        last = check.checkpoint_folders(folder)[-1]
        (last / "adapter_config.json").write_text("{}")
        with pytest.raises(EngineError) as caught:
            checkpoint.publish(last, folder, "# A card")
    assert caught.value.code == "RUN-04"


def test_r12_that_a_crash_costs_at_most_five_minutes_or_a_tenth_of_the_run() -> None:
    recipe = Recipe()
    for rows, seconds_a_step in ((40, 0.1), (4_000, 2.0), (100_000, 31.0), (100_000, 400.0)):
        table = make_timetable(recipe, [100] * rows)
        since, worst = 0, 0.0
        for step in range(1, table.total_steps + 1):
            since += 1
            worst = max(worst, since * seconds_a_step)
            if table.saves(step, since * seconds_a_step):
                since = 0
        whole: Any = table.total_steps * seconds_a_step
        assert since == 0
        # Between two saves lie five minutes, and one step that cannot be cut.
        assert worst <= max(min(whole / 10, 300.0), 0.0) + seconds_a_step
