"""Long runs: a curve at once however large the log is, and a window that does not grow with it."""

from __future__ import annotations

import math
import random

import pytest

from engine.events import Hardware, Step
from engine.runs import event_log, series
from engine.runs.history import RunHistory
from engine.runs.series import Series
from tests.gui.monitor_runs import Script, made_run


class CountedFile:
    """A file that counts what is read of it."""

    read_bytes = 0

    def __init__(self, file) -> None:
        self._file = file

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        found = self._file.read(size)
        CountedFile.read_bytes += len(found)
        return found

    def __getattr__(self, name: str):
        return getattr(self._file, name)


def long_run(times: int) -> Script:
    """Write a log of many steps: those of a short one, renumbered."""
    script = Script(made_run(), total=times)
    script.begin()
    script.steps(1, 3)
    parts = script.lines[-1].split(b'"step":3,')
    script.lines += [parts[0] + b'"step":%d,' % step + parts[1] for step in range(4, times)]
    script.write()
    return script


def test_r07_that_the_first_curve_reads_the_same_few_bytes_of_any_log(home, monkeypatch) -> None:
    folder = long_run(60_000).folder
    size = (folder / event_log.NAME).stat().st_size
    opened = event_log.open_plain
    monkeypatch.setattr(event_log, "open_plain", lambda path: CountedFile(opened(path)))
    events = event_log.preview(folder)
    assert size > 10_000_000
    assert CountedFile.read_bytes <= 2 * event_log.TAIL_BYTES + 2000 * event_log.GLANCE_BYTES
    history = RunHistory()
    history.fold(events)
    assert len(history.series["loss"]) > 1500
    assert history.step == 59_999


def test_r07_that_the_page_draws_before_the_log_is_read(qtbot, monitor, monkeypatch) -> None:
    monkeypatch.setattr("app.workers.engine_thread.PREVIEW_BYTES", 100_000)
    folder = long_run(11_000).folder
    seen = []
    monitor.open_with({"run": folder})
    monitor.watch.changed.connect(
        lambda: seen.append((monitor.watch.whole, len(monitor.watch.history.series["loss"])))
    )
    qtbot.waitUntil(lambda: monitor.watch.whole, timeout=60_000)
    assert not seen[0][0] and seen[0][1] > 300, "a curve comes before the whole"
    assert len(monitor.watch.history.series["loss"]) == 10_999


def test_r08_that_a_curve_takes_the_same_memory_however_long_the_run_is(monkeypatch) -> None:
    monkeypatch.setattr(series, "MOST_VALUES", 4096)
    monkeypatch.setattr(series, "NEWEST_KEPT", 512)
    noise = random.Random(1)
    curve, spikes = Series(), {5_000: 99.0, 20_001: -99.0, 39_998: 50.0}
    for step in range(40_000):
        curve.append(step, spikes.get(step, math.nan if step % 97 == 0 else noise.random()))
        assert len(curve) < 4096
    kept = dict(zip(curve.steps, curve.values, strict=True))
    assert all(kept.get(step) == value for step, value in spikes.items()), "no spike is lost"
    assert list(curve.steps) == sorted(set(curve.steps))
    assert list(curve.steps)[-512:] == list(range(39_488, 40_000)), "the newest are all there"


def test_r08_that_a_thinned_run_is_the_same_live_and_replayed_and_goes_back_at_a_resume(monkeypatch) -> None:
    monkeypatch.setattr(series, "MOST_VALUES", 1024)
    monkeypatch.setattr(series, "NEWEST_KEPT", 128)
    facts = {"epoch": 0.0, "loss": 1.0, "learning_rate": 1e-4, "tokens": 9, "supervised_tokens": 5}
    events = []
    for step in range(1, 6000):
        events.append(Step(step=step, total_steps=6000, seconds=1.0, **facts))
        if step % 10 == 0:
            events.append(Hardware(devices=[], cpu_percent=1, ram_used_bytes=1, process_bytes=1))
    live, replayed = RunHistory(), RunHistory()
    for event in events:
        live.fold([event])
    replayed.fold(events)
    assert live.view() == replayed.view()
    assert max(len(each) for each in live.series.values()) < 1024
    live.fold([Step(step=3000, total_steps=6000, seconds=1.0, **facts)])
    assert live.step == 3000 and live.series["loss"].steps[-1] == 3000


@pytest.mark.parametrize("axis", ["epoch", "time"])
def test_r08_that_a_thinned_run_is_drawn_over_every_axis(qtbot, monitor, monkeypatch, axis) -> None:
    monkeypatch.setattr(series, "MOST_VALUES", 1024)
    monkeypatch.setattr(series, "NEWEST_KEPT", 128)
    folder = long_run(3000).folder
    monitor.open_with({"run": folder})
    qtbot.waitUntil(lambda: monitor.watch.whole, timeout=60_000)
    monitor.refresh()
    monitor.charts.set_axis(axis)
    monitor.refresh()
    assert len(monitor.charts.loss.chart._curves["loss"].line.xData) > 200
