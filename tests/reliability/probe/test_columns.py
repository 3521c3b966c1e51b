"""Parquet and Arrow files are proven by the probe before the readers of this process open them (D48)."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from engine.data import arrow_rows, probe_columns
from engine.data.readers import look_at, read_rows
from engine.data.rows import Row
from engine.errors import EngineError
from engine.probes import limits, proof
from tests.reliability.probe.mutations import mutated

FORMS = ("parquet", "file", "stream")
EACH = 120


def table(count: int) -> pa.Table:
    chat = [
        [{"role": "user", "content": f"{i} é"}, {"role": "assistant", "content": "ja"}] for i in range(count)
    ]
    labels = pa.array([f"t {i % 7}" for i in range(count)]).dictionary_encode()
    return pa.table({"messages": chat, "text": labels, "n": list(range(count))})


def written(path: Path, form: str, count: int = 300) -> Path:
    if form == "parquet":
        parquet.write_table(table(count), path, row_group_size=100)
        return path
    new = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
    with pa.OSFile(str(path), "wb") as sink, new(sink, table(1).schema) as writer:
        writer.write_table(table(count), max_chunksize=100)
    return path


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many files each probe child of the test was asked for."""
    asked: list[int] = []
    real = proof._child
    monkeypatch.setattr(proof, "_child", lambda requests: asked.append(len(requests)) or real(requests))
    return asked


def says(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another program answer in the place of the probe."""
    path = tmp_path / "says.py"
    path.write_text(script)
    first = proof.command()[:-2]
    monkeypatch.setattr(proof, "command", lambda: [*first, str(path)])


@pytest.mark.parametrize("form", FORMS)
def test_d48_that_columns_are_opened_here_only_once_they_are_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: list[int], form: str
) -> None:
    sound = written(tmp_path / "sound", form)
    assert sum(isinstance(row, Row) for row in read_rows(sound)) == 300
    assert sum(isinstance(row, Row) for row in read_rows(sound)) == 300 and children == [1]
    cut = tmp_path / "cut"
    cut.write_bytes(sound.read_bytes()[:-700])
    monkeypatch.setattr(arrow_rows, "look", lambda *_: pytest.fail("opened"))
    monkeypatch.setattr(arrow_rows, "rows", lambda *_: pytest.fail("opened"))
    with pytest.raises(EngineError) as told:
        look_at(cut)
    assert (told.value.code, told.value.file, told.value.line) == ("DATA-12", str(cut), 1)
    assert "cut is damaged or cut off" in told.value.message and told.value.hint


def test_d48_that_a_file_that_ends_its_probe_is_refused_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: list[int]
) -> None:
    says("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", tmp_path, monkeypatch)
    path = written(tmp_path / "a.parquet", "parquet")
    for _ in range(2):
        with pytest.raises(EngineError) as told:
            look_at(path)
        assert (told.value.code, told.value.file, told.value.line) == ("DATA-12", str(path), 1)
        assert "a.parquet cannot be read as a Parquet or Arrow file: it crashes its reader (signal 11)." in (
            told.value.message
        )
    assert children == [1]


def test_d48_that_a_file_that_keeps_its_probe_waiting_is_refused_until_it_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: list[int]
) -> None:
    path = written(tmp_path / "a.parquet", "parquet")
    with monkeypatch.context() as slow:
        slow.setattr(limits, "WALL_SECONDS", 0.2)
        says("import time\ntime.sleep(60)\n", tmp_path, slow)
        began = time.monotonic()
        with pytest.raises(EngineError) as told:
            look_at(path)
        assert told.value.code == "DATA-12" and "did not come to an end" in told.value.message
        assert time.monotonic() - began < 30
    assert look_at(path).rows_known == 300 and children == [1, 1]


@pytest.mark.parametrize("form", FORMS)
def test_d48_that_no_change_of_bytes_is_more_than_a_refusal(
    tmp_path: Path, children: list[int], form: str
) -> None:
    chance, questions = random.Random(48), []
    whole = written(tmp_path / "whole", form).read_bytes()
    for number in range(EACH):
        path = tmp_path / f"{number}"
        path.write_bytes(whole[:8] + mutated(whole[8:], chance))
        questions.append(proof.file_question("columns", path))
    answers = proof.ask(questions)
    refused = [verdict for verdict, _ in answers if not verdict.sound]
    assert len(answers) == EACH and EACH // 10 < len(refused)
    assert all(each.code.startswith("DATA-") and each.hint for each in refused), refused
    assert len(children) <= 1 + 2 * sum("crashes" in each.message for each in refused)


def test_d48_that_shards_are_proven_together(
    tmp_path: Path, children: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for number in range(5):
        written(folder / f"train-0000{number}-of-00005.parquet", "parquet", 100 + number)
    layout = look_at(folder)
    assert layout.rows_known == 510 and sum(isinstance(row, Row) for row in layout.rows()) == 510
    assert children == [5]


def test_d48_that_the_file_that_ends_a_probe_after_others_is_asked_again_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: list[int]
) -> None:
    says(
        "import json, os, signal, sys\n"
        "for number, each in enumerate(json.load(sys.stdin)):\n"
        "    if number == 2 or each['path'].endswith('bad'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    print('{\"facts\": {}}', flush=True)\n",
        tmp_path,
        monkeypatch,
    )
    names = ("a", "b", "c", "bad", "d")
    answers = proof.ask([proof.Question("columns", name, name, {"path": name}) for name in names])
    assert [verdict.sound for verdict, _ in answers] == [True, True, True, False, True]
    assert children == [5, 3, 2, 1]


@pytest.mark.parametrize("most", [10, 1000])
def test_d48_that_a_look_ends_with_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    path = written(tmp_path / "a.parquet", "parquet")
    steps = iter(range(0, 10_000, 100 if most == 10 else 1))

    def clock() -> float:
        return next(steps) / 10_000

    monkeypatch.setattr(probe_columns, "READ_SECONDS", 0.02)
    monkeypatch.setattr(probe_columns.time, "process_time", clock)
    assert probe_columns.look(path)["whole"] is (most == 1000)
