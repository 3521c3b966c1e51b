"""Background work, the hardware monitor, words and figures."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import shiboken6
from PySide6.QtWidgets import QWidget

from app import i18n
from app.workers.background import Background
from app.workers.monitor_thread import HardwareMonitor
from engine.errors import EngineError


@pytest.fixture
def background(qapp):
    made = Background()
    yield made
    made.finish()


def test_that_work_runs_elsewhere_and_its_answer_comes_back_here(background, qtbot) -> None:
    here = threading.get_ident()
    seen: list[tuple[int, int]] = []
    background.run(threading.get_ident, lambda there: seen.append((there, threading.get_ident())))
    qtbot.waitUntil(lambda: bool(seen), timeout=30_000)
    assert seen[0][0] != here
    assert seen[0][1] == here
    assert not background.busy


def test_that_a_known_error_arrives_as_it_is(background, qtbot) -> None:
    def fail() -> None:
        raise EngineError("No model.", "Choose one.", "MODEL-02")

    seen: list[EngineError] = []
    background.run(fail, None, seen.append)
    qtbot.waitUntil(lambda: bool(seen), timeout=30_000)
    assert (seen[0].message, seen[0].code) == ("No model.", "MODEL-02")
    assert "in fail" in seen[0].detail and seen[0].__traceback__ is None, "the trace stays as text only"


def test_that_an_unexpected_error_becomes_app_01(background, qtbot) -> None:
    seen: list[EngineError] = []
    background.run(lambda: 1 // 0, None, seen.append)
    qtbot.waitUntil(lambda: bool(seen), timeout=30_000)
    assert seen[0].code == "APP-01"
    assert "ZeroDivisionError" in Path(seen[0].file or "").read_text(encoding="utf-8")


def test_that_many_pieces_of_work_are_all_answered(background, qtbot) -> None:
    seen: list[int] = []
    for index in range(40):
        background.run(lambda index=index: index, seen.append)
    qtbot.waitUntil(lambda: len(seen) == 40, timeout=30_000)
    assert sorted(seen) == list(range(40))


def test_that_work_which_hangs_does_not_keep_the_application(qapp) -> None:
    background = Background()
    released = threading.Event()
    background.run(released.wait)
    start = time.monotonic()
    background.finish(0.2)
    assert time.monotonic() - start < 20  # without the limit it would wait for ever
    released.set()


def test_that_a_dead_widget_gets_no_answer(background, qtbot) -> None:
    from PySide6.QtWidgets import QLabel
    from shiboken6 import delete

    label = QLabel()
    background.run(lambda: "late", label.setText)
    delete(label)
    qtbot.waitUntil(lambda: not background.busy, timeout=30_000)


def test_that_a_closure_over_a_dead_widget_is_not_called(background, qtbot) -> None:
    widget = QWidget()
    seen: list[str] = []

    def told(_: object) -> None:
        seen.append(widget.objectName())

    background.run(lambda: time.sleep(0.05), told)
    shiboken6.delete(widget)
    qtbot.waitUntil(lambda: not background.busy, timeout=30_000)
    assert not seen


def test_that_the_monitor_probes_once_and_samples_on(qapp, qtbot) -> None:
    monitor = HardwareMonitor()
    with qtbot.waitSignals([monitor.probed, monitor.sampled], timeout=30_000):
        monitor.start()
    assert monitor.machine.cores >= 1
    assert monitor.latest.ram_used_bytes > 0
    qtbot.waitUntil(lambda: len(monitor.history) >= 2, timeout=30_000)
    monitor.stop()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0\u00a0B"),
        (999, "999\u00a0B"),
        (12_000, "12\u00a0kB"),
        (840e6, "840\u00a0MB"),
        (14.2e9, "14.2\u00a0GB"),
    ],
)
def test_that_bytes_have_a_unit(value: float, words: str) -> None:
    assert i18n.size(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (12, "12\u00a0s"),
        (260, "4\u00a0min 20\u00a0s"),
        (1500, "25\u00a0min"),
        (10_020, "2\u00a0h 47\u00a0min"),
    ],
)
def test_that_durations_read_as_a_person_says_them(seconds: float, words: str) -> None:
    assert i18n.duration(seconds) == words


def test_that_missing_values_are_a_dash() -> None:
    assert i18n.number(None) == i18n.loss(float("nan")) == i18n.size(None) == "–"


def test_that_learning_rates_are_written_with_their_power() -> None:
    assert i18n.small(4.1e-5) == "4.1e-05"
    assert i18n.short_number(6_738_415_616) == "6.74\u00a0B"
