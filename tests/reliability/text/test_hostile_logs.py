"""The log of a stranger's run: numbers beyond drawing are gaps, names make no curves, lines are bounded."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path

import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter

from app import i18n
from app.widgets.spark import paint_curve
from engine.runs import fsck_log, store
from engine.runs.event_log import EventReader, preview, replay
from engine.runs.history import RunHistory
from engine.runs.series import LARGEST, Series
from tests.reliability.text.strangers import strangers_run

HUGE = [1e308, -1e308, 1e-308, None, 1e300, 0.5]
ODD_STEPS = [
    {"loss": "x"},
    {"loss": [1]},
    {"loss": True},
    {"step": "x"},
    {"step": -1},
    {"step": 10**400},
    {"total_steps": "many"},
    {"mono": {}},
    {"mono": 1e309},
]


def line(**values: object) -> bytes:
    return json.dumps({"attempt": 1, "time": 1.7e9, "mono": 1.0, "seq": 1, **values}).encode() + b"\n"


def step(number: int, **other: object) -> bytes:
    known = {
        "type": "step",
        "step": number,
        "total_steps": 1000,
        "epoch": 0.1,
        "loss": HUGE[number % len(HUGE)],
        "learning_rate": 1e308,
        "grad_norm": 1e308,
        "tokens": 10,
        "supervised_tokens": 5,
        "seconds": 1e-300,
        "memory_bytes": 10**9,
    }
    return line(**{**known, **other})


def evaluated(number: int) -> bytes:
    metrics = {f"m{number}-{n}": 1e308 for n in range(400)}
    facts = {"step": number, "split": f"split {number}", "loss": 1e308, "perplexity": 1e308}
    return line(type="evaluated", metrics=metrics, **facts)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    folder = strangers_run(tmp_path / "home" / "runs" / "odd", "odd", "starter", "a.jsonl")
    lines = [line(type="started", job="x", pid=1, host="h", device="d")]
    lines += [step(n) for n in range(1, 300)] + [evaluated(n) for n in range(100, 160)]
    lines += [step(300, **odd) for odd in ODD_STEPS]
    lines += [b'{"type":"log","message":"' + b"x" * (20 << 20) + b'"}\n', b"[" * 100_000 + b"\n"]
    lines += [b'{"type":"step","step":' + b"9" * 5_000 + b"}\n", step(301, loss=0.25)]
    (folder / "events.jsonl").write_bytes(b"".join(lines))
    return folder


def test_m32_that_a_hostile_log_is_read_with_gaps_and_few_curves(run: Path) -> None:
    history, reader = RunHistory(), EventReader(run)
    tracemalloc.start()
    while events := reader.read_new():
        history.fold(events)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 16 << 20, "a line of 20 MB is never whole in memory"
    assert reader.skipped >= 4
    curves = [each for each in vars(history).values() if isinstance(each, Series)]
    curves += [
        each
        for held in vars(history).values()
        if isinstance(held, dict)
        for each in held.values()
        if isinstance(each, Series)
    ]
    assert 0 < len(curves) <= 200
    drawn = [value for curve in curves for value in curve.values]
    assert all(math.isnan(value) or abs(value) <= LARGEST for value in drawn)
    loss = history.series["loss"]
    assert len(loss) >= 300 and loss.last == 0.25


def test_m32_that_the_library_shows_a_hostile_run(run: Path) -> None:
    found = store.summary(run)
    assert found.step == 301 and found.loss == 0.25
    assert all(abs(value) <= LARGEST for value in found.curve)
    for created in (1e308, -5, "x", [1]):
        job = json.loads((run / "job.json").read_bytes())
        (run / "job.json").write_text(json.dumps({**job, "created": created}))
        summary = store.summary(run)
        assert summary.problem == "job.json cannot be read"
        assert i18n.when(summary.created) != ""


def test_m32_that_numbers_of_strangers_are_short_and_draw_nothing_odd(qtbot) -> None:
    for value in (1e308, -1e308, 1e18, math.inf, math.nan):
        for told in (
            i18n.number(value),
            i18n.loss(value),
            i18n.size(value),
            i18n.duration(abs(value)),
            i18n.small(value),
        ):
            assert len(told) <= 32, told
    picture = QImage(60, 20, QImage.Format.Format_RGB32)
    painter = QPainter(picture)
    # A warning of Qt, such as one of a point that is no number, fails the test.
    paint_curve(painter, QRectF(0, 0, 60, 20), [1e308, -1e308, 0.5, None, 2.0, math.inf], "accent")  # type: ignore[list-item]
    painter.end()


@pytest.mark.parametrize("ended", [True, False])
def test_i03_m32_that_a_line_of_more_than_16_kib_is_unreadable_once_wherever_it_is_read(
    run: Path, ended: bool
) -> None:
    longest = b'{"type":"log","seq":0,"message":"' + b"x" * (16 * 1024 - 36) + b'"}\n'
    assert len(longest) == 16 * 1024
    longer = longest.replace(b"xx", b"xxx", 1)
    padded = b'{"type":"log","seq":3,"message":"y"}' + b" " * 20_000 + b"\n"
    huge = longest.replace(b"xx", b"x" * 3_000_000, 1)
    last = step(7, seq=4)
    lines = [longest, longer, padded, huge, last, *([] if ended else [longer[:-1]])]
    (run / "events.jsonl").write_bytes(b"".join(lines))
    reader = EventReader(run)
    found = [*reader.read_new(), *reader.read_new(), *reader.read_new()]
    assert [event.type for event in found] == ["log", "step"] and reader.skipped == 3
    assert [event.type for event in replay(run)] == ["log", "step"]
    assert [event.type for event in preview(run) if event.type == "step"] == ["step"]
    assert store.summary(run).step == 7
    (told,) = [each for each in fsck_log.look(run, going=not ended) if each.code == "RUN-09"]
    assert told.problem == "3 lines cannot be read"
