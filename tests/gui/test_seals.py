"""The seals in the window: stamps and their evidence in the monitor, a mark in the library and on Home."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt

from app import seals as drawn
from app.pages.home import HomePage
from app.pages.library import LibraryPage
from app.pages.monitor import MonitorPage
from app.services import Services
from app.tables.run_filter import parse
from app.widgets.cells import Cell
from app.workers.run_queue import RunQueue
from engine.events import AnswersExamined, EffectMeasured, Seal, Sealed, encode
from engine.runs.history import RunHistory
from engine.runs.seals import judge
from engine.runs.store import summary
from tests.gui.drawn import nameless_controls, wait_until_nothing_is_cut
from tests.gui.monitor_runs import Script, made_run
from tests.gui.run_folders import make_run

SHORT = list(drawn.SHORT.values())


@pytest.fixture
def services(services: Services) -> Iterator[Services]:
    services.run_queue = RunQueue(services)
    yield services
    services.run_queue.stop_all()
    services.run_queue.close()


def measured_run(mean_kl: float = 0.4, whole: int = 4812) -> Path:
    """Make a run in whose log everything is measured that the seals rest on."""
    script = Script(made_run("sealed"))
    script.begin()
    script.say(AnswersExamined(answers=4812, whole_answers=whole, answer_tokens=30))
    script.steps(1, 302)
    change = {"mean_kl": mean_kl, "max_logit_difference": 3.0}
    script.say(EffectMeasured(step=302, positions=18, changed=9, **change))
    script.end("finished")
    return script.folder


def sealed_run(name: str, states: str) -> Path:
    """Make a run whose log says seals of these states: g, r or u each."""
    folder = make_run(name, steps=30)
    words = {"g": "green", "r": "red", "u": "unmeasured"}
    told = [
        Seal(name=key, state=words[state], label=key, evidence="as measured")
        for key, state in zip(drawn.SHORT, states, strict=True)
    ]
    with open(folder / "events.jsonl", "ab") as file:
        file.write(encode(Sealed(step=30, seals=told)))
    return folder


def opened(qtbot, services: Services, folder: Path, size: tuple[int, int] = (1240, 844)) -> MonitorPage:
    page = MonitorPage(services)
    qtbot.addWidget(page)
    page.resize(*size)
    page.show()
    page.shown()
    page.open_with({"run": folder})
    qtbot.waitUntil(page.settled, timeout=30_000)
    page.refresh()
    return page


def test_that_the_monitor_stamps_the_seals_and_a_press_shows_what_they_rest_on(qtbot, services) -> None:
    page = opened(qtbot, services, measured_run(mean_kl=1e-8))
    stamps = page.seals.stamps
    assert [stamp.name.text() for stamp in stamps] == SHORT
    assert [line.state for line in page.seals.lines] == ["green", "red", "green", "green", "red", "green"]
    assert "look at it" in stamps[1].accessibleName() and "base's" in stamps[1].accessibleDescription()
    qtbot.mouseClick(stamps[1], Qt.MouseButton.LeftButton, pos=QPoint(5, 5))
    assert page.side.tabs.tabText(page.side.tabs.currentIndex()) == "Seals"
    rows = page.side.seals.rows
    assert rows[1].isVisible() and rows[1].label.text() == "Training changes nothing"
    assert rows[1].hint.isVisible() and rows[0].hint.isHidden()
    assert "4,812 of 4,812" in rows[5].evidence.text()
    assert all(
        row.evidence.textInteractionFlags() & Qt.TextInteractionFlag.TextSelectableByMouse for row in rows
    )
    page.side.tabs.setCurrentIndex(0)
    stamps[3].setFocus()
    qtbot.keyClick(stamps[3], Qt.Key.Key_Return)
    assert page.side.tabs.currentIndex() == 1
    assert not nameless_controls(page)


def test_that_each_seal_is_drawn_against_its_limit() -> None:
    history = RunHistory()
    from engine.runs.event_log import EventReader

    folder = measured_run(mean_kl=1e-4, whole=4000)
    history.fold(EventReader(folder).read_new())
    found = {line.name: line for line in drawn.lines(judge(history))}
    assert found["effect"].bar == pytest.approx(2 / 7) and found["effect"].limit == pytest.approx(3 / 7)
    assert found["answers"].bar == pytest.approx(4000 / 4812) and found["answers"].limit == 0.95
    assert 0 < found["loss"].bar < found["loss"].limit == 1.0 and found["loss"].number.startswith("-")
    assert found["validation"].bar < found["validation"].limit < 1.0
    assert found["trained_tokens"].number == f"{found['trained_tokens'].bar:.0%}"
    assert found["finite"].bar == 1.0
    unmeasured = drawn.lines(judge(RunHistory()))
    assert all(line.bar is None and line.state == "unmeasured" for line in unmeasured)
    foreign = Seal(name="later", state="green", label="Another", evidence="so", figures={"x": 1.0})
    assert drawn.lines([foreign])[0].bar is None


def test_that_the_small_charts_keep_their_room_in_the_smallest_window(qtbot, services) -> None:
    page = opened(qtbot, services, measured_run(), (1036, 644))
    page.remark.setText("The gradient is clipped in 83 % of the last steps: usual at the start, " * 2)
    page.remark.show()
    qtbot.wait(50)
    assert page.charts.speed.height() > 100
    wait_until_nothing_is_cut(page, qtbot)


def test_that_library_and_home_mark_each_run_by_its_seals(qtbot, services) -> None:
    sealed_run("fine", "gggggg")
    sealed_run("bad", "grgrgg")
    sealed_run("begun", "gguuug")
    make_run("older", steps=5)
    library = LibraryPage(services)
    home = HomePage(services)
    for page in (library, home):
        qtbot.addWidget(page)
        page.resize(1240, 844)
        page.show()
        page.shown()
        qtbot.waitUntil(lambda page=page: page.settled() and not services.background.busy, timeout=30_000)
    for model in (library.model, home.last_runs.model):
        cells = {}
        for row in range(model.rowCount()):
            cell = model.index(row, model.column("seals"))
            cells[model.run_at(row).name] = (cell.data(), cell.data(Cell.TOKEN), cell.data(Cell.ICON))
        assert cells["fine"] == ("6 of 6", "ok", "seal-green")
        assert cells["bad"] == ("2 red", "bad", "seal-red")
        assert cells["begun"] == ("3 of 6", "dim", "seal-unmeasured")
        assert cells["older"] == ("–", "dim", None)
    order = [run.name for run in sorted(library.model.runs, key=library.model.columns()[3].sort)]
    assert order == ["bad", "begun", "fine", "older"]
    library.table.selectRow(library.model.runs.index(next(r for r in library.model.runs if r.name == "bad")))
    assert [line.state for line in library.preview.seals.lines].count("red") == 2


def test_that_the_library_can_be_filtered_by_seals(services) -> None:
    runs = [summary(sealed_run("bad", "grgrgg")), summary(sealed_run("fine", "gggggg"))]
    assert [run.name for run in runs if parse("seals:red").matches(run)] == ["bad"]
    assert [run.name for run in runs if parse("seals:loss").matches(run)] == ["bad", "fine"]


def test_that_seals_that_cannot_be_read_are_left_out(services) -> None:
    folder = make_run("odd", steps=5)
    with open(folder / "events.jsonl", "ab") as file:
        file.write(json.dumps({"type": "sealed", "step": 5, "seals": [{"name": 3}, "x"]}).encode() + b"\n")
    assert summary(folder).seals == ()
