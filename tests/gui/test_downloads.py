"""Downloads as the window shows them: a real child, a local server that speaks the hub's interface."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from app.pages.wizard.model_fetch import ModelFetch
from app.services import Services
from app.widgets.notice import Notice
from engine.jobs import fetch
from tests.unit.data.hub_stub import MODEL, Hub, serving


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in fetch.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as made:
        made.files = {"config.json": b"{}", "model.safetensors": bytes(24_000_000)}
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        yield made
        made.go_on.set()


def test_f45_s04_that_a_model_download_tells_how_far_it_is_and_stops_in_a_stall(
    services: Services, qtbot: QtBot, stub: Hub
) -> None:
    stub.mode = "stall"
    place = QWidget()
    qtbot.addWidget(place)
    notice = Notice()
    qtbot.addWidget(notice)
    fetcher, brought = ModelFetch(notice, services, place), []
    fetcher.brought.connect(brought.append)
    fetcher.begin(MODEL, lambda heard: fetch.download_model(MODEL, progress=heard), lambda: None)
    some = re.compile("1\\d\xa0MB of 24\xa0MB are here")
    qtbot.waitUntil(lambda: some.match(notice._text.text()) is not None, timeout=30_000)
    next(b for b in notice.findChildren(QPushButton) if b.text() == "Stop").click()
    qtbot.waitUntil(lambda: fetcher.what == "", timeout=5_000)
    assert "stopped" in notice.accessibleName() and not notice.isHidden() and not brought
    stub.mode = "well"
    stub.go_on.set()
    next(b for b in notice.findChildren(QPushButton) if b.text() == "Try again").click()
    qtbot.waitUntil(lambda: brought == [MODEL], timeout=30_000)
    assert notice.isHidden()
