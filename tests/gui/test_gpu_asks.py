"""Chat and Evaluate ask before they come to a GPU on which a training works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.choices import Choice
from app.pages.chat_device import Place
from app.pages.evaluate_place import EvaluatePlace
from app.widgets.notice import Notice
from engine.jobs import gpu_lock
from engine.runs import advance, gpu_gate

# Qt without a screen says so when a window has a smallest size or a menu opens.
pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")
GPU = "GPU-fake-1"
GB = 10**9


@pytest.fixture
def busy(services: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let a run of another home hold the one GPU of a machine with enough memory for a small chat."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv(gpu_lock.GIVEN, GPU)
    monkeypatch.setattr(advance, "device_names", lambda: ("0",))
    monkeypatch.setattr(advance, "device_uuids", lambda: {"0": GPU})
    services.hardware.machine = SimpleNamespace(devices=[SimpleNamespace(uuid=GPU)])
    card = SimpleNamespace(total_bytes=80 * GB, used_bytes=20 * GB)
    services.hardware.latest = SimpleNamespace(devices=[card], ram_total_bytes=0, ram_used_bytes=0)
    with gpu_lock.held(tmp_path / "night-run", 1):
        yield tmp_path / "night-run"


def _press(notice: Notice, words: str) -> None:
    next(act for text, act in notice.actions if text == words)()


class _Told(Notice):
    """A notice that remembers what it shows."""

    def show_notice(self, kind: Any, title: str, text: str = "", actions: Any = (), *more: Any) -> None:
        self.title, self.actions = title, list(actions)
        super().show_notice(kind, title, text, actions, *more)


def test_f27_that_a_chat_asks_before_it_comes_beside_a_training(
    qtbot: Any, services: Any, busy: Path
) -> None:
    notice = _Told()
    qtbot.addWidget(notice)
    place = Place(services, notice, notice)
    choice = Choice("tickets", "/runs/tickets", "tiny", True, parameters=10**9)
    assert place.refuses(choice, "auto")
    assert notice.title == "night-run uses the GPU."
    assert [words for words, _ in notice.actions] == ["Use the CPU", "Wait", "Answer beside it"]
    assert not place.refuses(choice, "cpu") and place.device_of(choice, "auto") == "auto"
    with qtbot.waitSignal(place.freed, timeout=5000):
        _press(notice, "Answer beside it")
    assert not place.refuses(choice, "auto") and place.device_of(choice, "auto") == "cuda"
    large = Choice("large", "/models/large", "large", False, parameters=70 * 10**9)
    assert place.refuses(large, "auto")
    assert notice.title == "large does not fit beside the training of night-run."
    assert [words for words, _ in notice.actions] == ["Use the CPU", "Wait"]


def test_f27_that_evaluate_asks_before_it_comes_beside_a_training(
    qtbot: Any, services: Any, busy: Path
) -> None:
    notice, begun = _Told(), list[Any]()
    qtbot.addWidget(notice)
    notice.notice, notice.services, notice.say_error = notice, services, begun.append  # as on the page
    place = EvaluatePlace(notice)  # type: ignore[arg-type]
    for way, wanted in (
        ("Use the CPU", gpu_gate.ON_CPU),
        ("Start it beside", advance.environment_of(("0",), beside=True)),
    ):
        place.find(begun.append)
        qtbot.waitUntil(lambda: not notice.isHidden(), timeout=30_000)
        assert notice.title == "night-run uses the GPU." and begun == []
        _press(notice, way)
        assert begun == [wanted] and notice.isHidden()
        begun.clear()
    services.hardware.machine = SimpleNamespace(devices=[])
    place.find(begun.append)
    assert begun == [{}]
