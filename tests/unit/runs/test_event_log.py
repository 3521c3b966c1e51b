"""The event log: whole lines only, whatever happened to the file."""

import json
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.events import Log, Step, Unknown, encode
from engine.runs.event_log import EventReader, EventWriter, preview


def a_step(step, **more):
    fields = dict(total_steps=100, epoch=step / 100, loss=2.0 / step, learning_rate=1e-4, grad_norm=0.5)
    fields |= dict(tokens=512, supervised_tokens=100, seconds=0.5, memory_bytes=10**9) | more
    return Step(step=step, **fields)


def write_steps(folder, first, last, attempt=None):
    writer = EventWriter(folder, attempt)
    for step in range(first, last + 1):
        writer.write(a_step(step))
    writer.close()


def test_that_seq_and_attempt_go_on_over_attempts(tmp_path):
    write_steps(tmp_path, 1, 3)
    write_steps(tmp_path, 4, 5)
    events = EventReader(tmp_path).read_new()
    assert [e.seq for e in events] == [0, 1, 2, 3, 4]
    assert [e.attempt for e in events] == [1, 1, 1, 2, 2]
    assert all(e.time > 1e9 and e.mono > 0 for e in events)


def test_that_a_reader_returns_each_event_once_and_in_order(tmp_path):
    writer = EventWriter(tmp_path)
    reader = EventReader(tmp_path)
    assert reader.read_new() == []
    writer.write(a_step(1))
    assert [e.step for e in reader.read_new()] == [1]
    assert reader.read_new() == []
    writer.write(a_step(2))
    writer.write(a_step(3))
    assert [e.step for e in reader.read_new(limit=1)] == [2]
    assert [e.step for e in reader.read_new(limit=5)] == [3]


def test_that_a_line_without_its_end_waits_for_it(tmp_path):
    line = encode(a_step(1))
    path = tmp_path / "events.jsonl"
    path.write_bytes(line[:40])
    reader = EventReader(tmp_path)
    assert reader.read_new() == []
    with open(path, "ab") as file:
        file.write(line[40:])
    assert [e.step for e in reader.read_new()] == [1]
    assert reader.skipped == 0


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=0, max_value=10_000))
def test_i03_f31_that_a_file_cut_anywhere_keeps_its_whole_lines(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    write_steps(folder, 1, 6)
    path = folder / "events.jsonl"
    whole = path.read_bytes()
    cut %= len(whole) + 1
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    write_steps(folder, 7, 8)
    reader = EventReader(folder)
    steps = [e.step for e in reader.read_new()]
    torn = cut > 0 and whole[cut - 1 : cut] != b"\n"
    # A line cut just before its newline is whole again once the next attempt ends it.
    ended = torn and whole[cut : cut + 1] == b"\n"
    assert steps == [*range(1, kept + 1 + ended), 7, 8]
    assert reader.skipped == (1 if torn and not ended else 0)


def test_f31_that_nul_blocks_and_garbage_are_skipped_and_counted(tmp_path):
    write_steps(tmp_path, 1, 2)
    with open(tmp_path / "events.jsonl", "ab") as file:
        file.write(b"\x00" * 4096)
    write_steps(tmp_path, 3, 3)
    with open(tmp_path / "events.jsonl", "ab") as file:
        file.write(b'{"type":"step"}\nnot json\n[1,2]\n{"seq":1}\n' + b"[" * 3000 + b"\n")
    write_steps(tmp_path, 4, 4)
    reader = EventReader(tmp_path)
    assert [e.step for e in reader.read_new()] == [1, 2, 3, 4]
    assert reader.skipped == 6


def test_that_an_unknown_type_is_kept(tmp_path):
    line = {"type": "faults_armed", "seq": 0, "attempt": 1, "time": 1.0, "mono": 1.0, "names": ["x"]}
    (tmp_path / "events.jsonl").write_text(json.dumps(line) + "\n")
    (event,) = EventReader(tmp_path).read_new()
    assert isinstance(event, Unknown)
    assert event.names == ["x"]


@pytest.mark.parametrize("how", ["shortened", "replaced", "rewritten"])
def test_f32_that_a_reader_begins_anew_when_the_file_is_another(tmp_path, how):
    write_steps(tmp_path, 1, 30)
    path = tmp_path / "events.jsonl"
    reader = EventReader(tmp_path)
    assert len(reader.read_new()) == 30
    other = tmp_path / "other"
    other.mkdir()
    write_steps(other, 50, 51 if how == "shortened" else 99, attempt=3)
    content = (other / "events.jsonl").read_bytes()
    if how == "replaced":
        os.replace(other / "events.jsonl", path)
    else:
        path.write_bytes(content)
    assert [e.step for e in reader.read_new()][0] == 50
    assert reader.restarts == 1


def test_f32_that_a_missing_file_comes_back(tmp_path):
    reader = EventReader(tmp_path)
    write_steps(tmp_path, 1, 2)
    assert len(reader.read_new()) == 2
    (tmp_path / "events.jsonl").unlink()
    assert reader.read_new() == []
    write_steps(tmp_path, 1, 1)
    assert len(reader.read_new()) == 1


def test_that_an_endless_line_does_not_stop_the_reader(tmp_path):
    write_steps(tmp_path, 1, 1)
    with open(tmp_path / "events.jsonl", "ab") as file:
        file.write(b"x" * (3 << 20) + b"\n")
    write_steps(tmp_path, 2, 2, attempt=1)
    reader = EventReader(tmp_path)
    steps = [e.step for _ in range(4) for e in reader.read_new()]
    assert steps == [1, 2]
    assert reader.skipped >= 1


def test_i03_that_threads_write_whole_lines_with_rising_seq(tmp_path):
    writer = EventWriter(tmp_path)

    def work():
        for _ in range(50):
            writer.write(Log(message="a line of the log " * 20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    reader = EventReader(tmp_path)
    assert [e.seq for e in reader.read_new()] == list(range(200))
    assert reader.skipped == 0


def test_that_a_write_after_a_torn_write_ends_the_torn_line(tmp_path, monkeypatch):
    writer = EventWriter(tmp_path)
    writer.write(a_step(1))
    real = os.write

    def short(fd, data):
        return real(fd, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        writer.write(a_step(2))
        assert writer.full is not None
    writer.write(a_step(3))
    reader = EventReader(tmp_path)
    assert [(e.step, e.seq) for e in reader.read_new()] == [(1, 0), (2, 1), (3, 2)]
    assert reader.skipped == 1


def test_that_a_preview_shows_beginning_middle_and_end_of_a_large_file(tmp_path):
    line = encode(a_step(1)).decode()
    with open(tmp_path / "events.jsonl", "w") as file:
        for step in range(1, 20_001):
            file.write(line.replace('"step":1,', f'"step":{step},'))
    events = preview(tmp_path, points=500)
    steps = [e.step for e in events]
    assert steps == sorted(steps)
    assert steps[0] == 1 and steps[-1] == 20_000
    assert 900 < len(steps) < 2000
    assert max(b - a for a, b in zip(steps, steps[1:], strict=False)) < 100


def test_that_a_preview_of_a_small_file_is_the_whole_file(tmp_path):
    write_steps(tmp_path, 1, 40)
    assert [e.step for e in preview(tmp_path)] == list(range(1, 41))
    assert preview(tmp_path / "nowhere") == []
