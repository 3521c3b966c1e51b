"""`fsck`: every damage is named, nothing sound is, and a repair moves things away and deletes nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import cli, durable, paths
from engine.errors import EngineError
from engine.jobs import lock, process
from engine.runs import check, fsck_papers, store
from engine.runs.fsck import fsck
from tests.reliability.harness import damages, small_run
from tests.reliability.harness.crash_disk import Unsynced

NEWEST = f"checkpoints/step-{small_run.STEPS:08d}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a whole run that has finished."""
    with durable.using(Unsynced()):
        folder = small_run.make(tmp_path_factory.mktemp("sound") / "run")
        assert small_run.attempt(folder) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of it to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run", symlinks=True))


def test_i05_r16_that_every_damage_to_a_save_is_named_and_no_sound_run_is(
    finished: Path, tmp_path: Path
) -> None:
    assert damages.missed(finished, tmp_path, count=60, seed=5) == []
    assert damages.false_alarms(tmp_path, count=3) == []


def test_r24_that_a_repair_moves_and_deletes_nothing_and_twice_is_once(run: Path, tmp_path: Path) -> None:
    damages.flip(run / NEWEST / "state.json", 3)
    (run / "checkpoints" / "step-00000099").mkdir()
    (run / "checkpoints" / "step-00000099" / "optimizer.safetensors.part").write_bytes(b"half")
    (run / "adapter.part").mkdir()
    (run / "adapter.part" / "README.md").write_bytes(b"x" * 100)
    (run / "environment.json.part").write_bytes(b"{")
    (run / "checkpoints" / "notes").write_bytes(b"loose")
    before = damages.sizes(run)
    report = fsck(run, repair=True)
    assert (
        {each.path for each in report.findings}
        == set(report.moved)
        == {
            NEWEST,
            "checkpoints/step-00000099",
            "checkpoints/notes",
            "adapter.part",
            "environment.json.part",
        }
    )
    assert damages.sizes(run) == before
    assert report.checkpoint == run / "checkpoints" / f"step-{small_run.STEPS - small_run.EVERY:08d}"
    again = fsck(run, repair=True)
    assert again.ok and not again.moved and damages.sizes(run) == before
    (run / "adapter.part").mkdir()
    assert fsck(run, repair=True).moved == {"adapter.part": "quarantine/adapter.part.2"}


def test_f04_that_a_damaged_result_goes_with_its_closing_note_and_is_made_again(run: Path) -> None:
    damages.flip(run / "adapter" / "adapter_model.safetensors", -1)
    report = fsck(run, repair=True)
    assert {(each.path, each.code) for each in report.findings} == {
        ("adapter", "RUN-05"),
        ("exit.json", "RUN-05"),
    }
    assert store.state_of(run) == "crashed"
    small_run.attempt(run)
    assert store.state_of(run) == "finished" and fsck(run).ok


def test_i08_that_a_result_is_the_one_that_the_closing_note_tells_of(run: Path) -> None:
    (run / "adapter" / "README.md").write_text("# Another card\n")
    check.write_manifest(run / "adapter")
    assert check.problem_of(run / "adapter") == ""
    assert [each.path for each in fsck(run).findings] == ["exit.json", "adapter"]
    assert store.state_of(run) == "crashed"


def _edit_recipe(run: Path) -> None:
    path = run / "recipe.yaml"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("learning_rate: 0.0002", "learning_rate: 0.5"))


def _edit_job(run: Path) -> None:
    told = json.loads((run / "job.json").read_text())
    (run / "job.json").write_text(json.dumps({**told, "name": "another"}))


def _newer(run: Path) -> None:
    told = json.loads((run / "job.json").read_text())
    (run / "job.json").write_text(json.dumps({**told, "format": 99}))


def _cut_log(run: Path) -> None:
    lines = (run / "events.jsonl").read_bytes().splitlines(keepends=True)
    (run / "events.jsonl").write_bytes(b"".join(lines[:3] + lines[5:]))


def _swap_log(run: Path) -> None:
    lines = (run / "events.jsonl").read_bytes().splitlines(keepends=True)
    (run / "events.jsonl").write_bytes(b"".join([lines[0], lines[2], lines[1], *lines[3:]]))


def _link(run: Path) -> None:
    (run / "cache").mkdir(exist_ok=True)
    (run / "cache" / "rows").symlink_to(run.parent)


def _program(name: str, content: bytes) -> Callable[[Path], None]:
    def plant(run: Path) -> None:
        (run / "evaluations").mkdir()
        (run / "evaluations" / name).write_bytes(content)

    return plant


CASES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "recipe edited": (_edit_recipe, "recipe.yaml", "RUN-10"),
    "recipe gone": (lambda run: (run / "recipe.yaml").unlink(), "recipe.yaml", "RUN-03"),
    "job gone": (lambda run: (run / "job.json").unlink(), "job.json", "RUN-03"),
    "job edited": (_edit_job, "job.json", "RUN-10"),
    "newer": (_newer, "job.json", "RUN-12"),
    "lines missing": (_cut_log, "events.jsonl", "RUN-09"),
    "lines swapped": (_swap_log, "events.jsonl", "RUN-09"),
    "log gone": (lambda run: (run / "events.jsonl").unlink(), "events.jsonl", "RUN-09"),
    "note torn": (lambda run: (run / "exit.json").write_text("{"), "exit.json", "RUN-01"),
    "link": (_link, "cache/rows", "MODEL-03"),
    "link at top": (lambda run: (run / "control.json").symlink_to("/etc"), "control.json", "MODEL-03"),
    "pipe": (lambda run: os.mkfifo(run / "pipe"), "pipe", "MODEL-03"),
    "pickle": (_program("a.json", b"\x80\x04\x95\x00"), "evaluations/a.json", "MODEL-01"),
    "module": (_program("torch.py", b"x = 1\n"), "evaluations/torch.py", "MODEL-01"),
    "script": (_program("a", b"#!/bin/sh\n"), "evaluations/a", "MODEL-01"),
    "marked": (lambda run: (run / "name.txt").touch(0o755), "name.txt", "MODEL-01"),
}


@pytest.mark.parametrize("case", CASES)
def test_i12_that_what_may_not_be_in_a_run_is_named(run: Path, case: str) -> None:
    plant, path, code = CASES[case]
    if case == "marked":
        plant = _program("b.json", b"{}")
        path = "evaluations/b.json"
        plant(run)
        (run / path).chmod(0o755)
    else:
        plant(run)
    assert (path, code) in [(each.path, each.code) for each in fsck(run).findings]
    before = damages.sizes(run)
    report = fsck(run, repair=True)
    assert damages.sizes(run) == before
    assert (path in report.moved) == (code in ("MODEL-01", "MODEL-03", "RUN-01"))
    assert set(fsck(run, repair=True).moved) == set()


def test_i12_that_nothing_is_written_through_a_link_of_a_run(run: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "letter.txt").write_text("dear")
    shutil.rmtree(run / "control")
    (run / "control").symlink_to(victim)
    (run / "lock").unlink()
    (run / "lock").symlink_to(victim / "letter.txt")
    (run / "quarantine").symlink_to(victim)
    with pytest.raises(EngineError) as caught, lock.FolderLock(run):
        pass
    assert caught.value.code == "MODEL-03"
    with pytest.raises(EngineError) as caught:
        process.start(run)
    assert caught.value.code == "MODEL-03"
    report = fsck(run, repair=True)
    assert set(report.moved) == {"control", "lock-link", "quarantine"}
    assert all(place.startswith("quarantine-2/") for place in report.moved.values())
    assert sorted(p.name for p in victim.iterdir()) == ["letter.txt"]
    assert (victim / "letter.txt").read_text() == "dear"
    with lock.FolderLock(run):
        assert not (run / "lock").is_symlink()


def test_i01_that_a_run_that_is_going_is_not_repaired_and_its_unfinished_save_is_no_damage(run: Path) -> None:
    (run / "checkpoints" / "step-00000099").mkdir()
    (run / "checkpoints" / "step-00000099" / "state.json.part").write_bytes(b"{")
    with open(run / "events.jsonl", "ab") as file:
        file.write(b'{"type":"st')
    with lock.FolderLock(run):
        assert fsck(run).findings == ()
        with pytest.raises(EngineError) as caught:
            fsck(run, repair=True)
        assert caught.value.code == "RUN-02"
    assert [each.path for each in fsck(run).findings] == ["checkpoints/step-00000099", "events.jsonl"]


def test_i05_that_what_cannot_be_read_as_a_save_is_none_and_stops_nothing(run: Path) -> None:
    folder = run / "checkpoints" / "step-00000099"
    folder.mkdir()
    os.mkfifo(folder / "state.json")
    named = {"state.json": {"bytes": 0, "sha256": "0" * 64}}
    (folder / check.MANIFEST).write_text(json.dumps({"files": named}))
    assert check.problem_of(folder) == "state.json is no plain file"
    (run / "checkpoints" / "step-00000098").symlink_to(run / NEWEST)
    (run / "checkpoints" / "step-٣").mkdir()
    found = random.Random(0).sample(fsck(run).findings, k=3)
    assert {each.path for each in found} == {
        "checkpoints/step-00000099",
        "checkpoints/step-00000098",
        "checkpoints/step-٣",
    }


def test_f35_that_a_copy_of_a_run_is_named_and_its_original_is_sound(finished: Path) -> None:
    original = paths.runs_dir() / "twice-1"
    shutil.copytree(finished, original)
    told = json.loads((original / "job.json").read_text())
    (original / "job.json").write_text(json.dumps({**told, "id": original.name}))
    (original / "events.jsonl").unlink()
    copy = Path(shutil.copytree(original, original.with_name("twice-2")))
    named = {each.path: each.code for each in fsck(copy).findings}
    assert named.pop("job.json") == "RUN-02" and [*named] == ["events.jsonl"]
    assert [each.path for each in fsck(original).findings] == ["events.jsonl"]


def test_that_check_and_repair_answer_on_the_command_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damages.flip(run / NEWEST / "state.json", 3)
    answers = []
    for verb in ("check", "repair", "check"):
        assert cli.main(["runs", verb, str(run), "--json"]) == (0 if answers else 1)
        answers.append(json.loads(capsys.readouterr().out))
    assert [answer["ok"] for answer in answers] == [False, True, True]
    found = {"path": NEWEST, "code": "RUN-04", "problem": "state.json has other contents", "moved_to": None}
    assert answers[0]["findings"] == [found]
    assert answers[1]["findings"] == [{**found, "moved_to": f"quarantine/{NEWEST}"}]
    assert answers[2]["checkpoint_step"] == small_run.STEPS - small_run.EVERY


def test_r23_that_an_option_of_later_versions_is_no_edit_and_an_edit_in_a_mapping_is_one(run: Path) -> None:
    job = json.loads((run / "job.json").read_bytes())
    began = job["arguments"]["recipe"]
    now = json.loads(json.dumps(began))
    began["adapter"].pop("path")  # as a version before that option wrote it
    assert fsck_papers._holds(now, began)
    for edited in ({"rank_pattern": {"q_proj": 8}}, {"r": 3}):
        assert not fsck_papers._holds({**now, "adapter": {**now["adapter"], **edited}}, began)
