"""A result that is damaged after its run has finished is seen in the library and on the run's page."""

from __future__ import annotations

from typing import Any

import pytest

from app.pages.library import LibraryPage
from engine.runs import result
from tests.gui.damaged_run import flip, sound_run

# Qt without a screen says so when a window has a smallest size or a menu opens.
pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


def test_that_a_flipped_byte_is_seen_in_the_library_without_opening_the_run(
    qtbot: Any, services: Any, home: Any
) -> None:
    sound, damaged = sound_run("sound"), sound_run("rotten")
    flip(damaged)
    page = LibraryPage(services)
    qtbot.addWidget(page)
    page.shown()
    qtbot.waitUntil(lambda: any(run.damage for run in page.model.runs), timeout=30_000)
    qtbot.waitUntil(page.settled, timeout=30_000)
    rows = {run.name: page.model.runs.index(run) for run in page.model.runs}
    state = page.model.column("state")
    assert page.model.index(rows["sound"], state).data() == "Finished"
    assert page.model.index(rows["rotten"], state).data() == "Result damaged"
    page.table.selectRow(rows["rotten"])
    assert "other contents" in page.preview.reason.text()
    assert page.preview.chat_button.isHidden() and page.preview.merge_button.isHidden()
    assert result.known(sound) == result.Verdict("adapter")
    page.hidden_()


def test_that_the_page_of_the_run_tells_what_is_damaged_and_mends_it(
    qtbot: Any, monitor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sound_run()
    page = monitor
    page.open_with({"run": run})
    qtbot.waitUntil(page.settled, timeout=30_000)
    assert page.notice.isHidden() and page.state_pill.text == "Finished"
    flip(run)
    page.open_with({"run": run})
    qtbot.waitUntil(lambda: not page.notice.isHidden(), timeout=30_000)
    told = page.damage.told()
    assert told.title.endswith("adapter_model.safetensors has other contents.") and told.code == "MODEL-02"
    assert [words for words, _ in told.actions] == ["Make it again from step 300", "Read it again"]
    page.refresh()
    assert page.state_pill.text == "Result damaged"
    offered = [made.text() for made in page.top_bar_actions()]
    assert offered == ["New run", "Open folder"]
    resumed: list[Any] = []
    monkeypatch.setattr(page.services.run_queue, "resume", resumed.append)
    page.damage.mend()
    qtbot.waitUntil(lambda: bool(resumed), timeout=30_000)
    assert resumed == [run.resolve()] and page.damage.told() is None
    assert (run / "quarantine" / "adapter").is_dir() and not (run / "exit.json").exists()
