"""Home: the running run, the last runs, readiness, what fits, storage, first steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton

from app.fits import SHAPES, facts_of, what_fits
from app.pages.home import HomePage
from app.readiness import BAD, OK, WARN, Line, examine, headline
from app.services import Services
from app.storage import folder_bytes, measure
from app.widgets.cells import Cell
from app.widgets.help_card import HelpCard
from engine.jobs.lock import FolderLock
from tests.gui.drawn import nameless_controls, wait_until_nothing_is_cut
from tests.gui.run_folders import make_run


def shown(services: Services, qtbot) -> HomePage:
    page = HomePage(services)
    qtbot.addWidget(page)
    page.resize(1240, 844)
    page.show()
    page.shown()
    qtbot.waitUntil(lambda: page.settled() and not services.background.busy, timeout=30_000)
    return page


def test_that_an_empty_home_shows_the_way_and_offers_the_example(services: Services, qtbot) -> None:
    page = shown(services, qtbot)
    assert page.first_steps.isVisible()
    assert not page.last_runs.isVisible()
    with qtbot.waitSignal(page.navigate_requested) as asked:
        qtbot.mouseClick(page.first_steps.example, Qt.MouseButton.LeftButton)
    assert asked.args == ["wizard", {"example": True}]


@pytest.mark.parametrize(("station", "goal"), [(0, "wizard"), (1, "wizard"), (2, "runs"), (3, "chat")])
def test_that_each_station_of_the_way_leads_somewhere(services, qtbot, station: int, goal: str) -> None:
    page = shown(services, qtbot)
    with qtbot.waitSignal(page.navigate_requested) as asked:
        page.first_steps.way.stations[station].click()
    assert asked.args[0] == goal


def test_that_the_last_runs_show_name_state_and_curve(services: Services, qtbot) -> None:
    make_run("older", "finished", 40, age_hours=5)
    make_run("newer", "failed", 20, 60, age_hours=1, message="Out of memory")
    page = shown(services, qtbot)
    model = page.last_runs.model
    assert [run.name for run in model.runs] == ["newer", "older"]
    state = model.index(0, model.column("state"))
    assert state.data() == "Failed"
    assert state.data(Cell.SECOND_LINE) == "Out of memory"
    assert state.data(Cell.ICON) == "octagon"
    assert len(model.index(1, model.column("curve")).data(Cell.CURVE)) == 40
    assert not page.first_steps.isVisible()


def test_that_a_press_on_a_run_opens_it(services: Services, qtbot) -> None:
    folder = make_run("one", "finished", 10)
    page = shown(services, qtbot)
    table = page.last_runs.table
    with qtbot.waitSignal(page.navigate_requested) as asked:
        place = table.visualRect(page.last_runs.model.index(0, 0)).center()
        qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert asked.args[0] == "monitor"
    assert Path(asked.args[1]["run"]).name == folder.name


def test_that_enter_opens_the_run_at_the_keyboard_after_another_came(services: Services, qtbot) -> None:
    folder = make_run("one", "finished", 10, age_hours=5)
    page = shown(services, qtbot)
    table = page.last_runs.table
    table.setCurrentIndex(page.last_runs.model.index(0, 0))
    make_run("two", "finished", 10)
    page.refresh()
    qtbot.waitUntil(lambda: len(page.last_runs.model.runs) == 2, timeout=30_000)
    with qtbot.waitSignal(page.navigate_requested) as asked:
        qtbot.keyClick(table, Qt.Key.Key_Return)
    assert Path(asked.args[1]["run"]).name == folder.name


def test_that_a_run_that_goes_on_stands_on_top(services: Services, qtbot) -> None:
    folder = make_run("going", "running", 30, 60)
    with FolderLock(folder):
        page = shown(services, qtbot)
        assert page.running.isVisible()
        assert page.running.name.text() == "going"
        assert page.running.facts.text().startswith("Step 30 of 60")
        assert page.running.bar.value == pytest.approx(0.5)
    page.refresh()
    qtbot.waitUntil(lambda: not page.running.isVisible(), timeout=30_000)


def test_that_a_run_finished_while_away_is_told(services: Services, qtbot) -> None:
    make_run("overnight", "finished", 40, age_hours=2)
    services.settings.change(last_seen=1.0)
    page = shown(services, qtbot)
    assert page.last_runs.away.text().startswith("While you were away: overnight finished")


def test_that_a_damaged_run_is_listed_with_what_can_be_read(services: Services, qtbot) -> None:
    folder = make_run("hurt", "finished", 10)
    (folder / "recipe.yaml").chmod(0o644)
    (folder / "recipe.yaml").write_text("adapter: [")
    page = shown(services, qtbot)
    model = page.last_runs.model
    assert model.index(0, model.column("state")).data() == "Damaged"


def test_that_readiness_lists_real_checks(services: Services, qtbot) -> None:
    page = shown(services, qtbot)
    titles = [line.title for line in page.readiness.lines]
    assert len(titles) == 5
    assert any("torch" in title or "Libraries" in title for title in titles)
    starter = next(line for line in page.readiness.lines if "tarter" in line.title)
    assert starter.state == WARN
    buttons = [b.text() for b in page.readiness.findChildren(QPushButton)]
    assert "Download" in buttons


def test_that_the_headline_counts_what_must_be_mended() -> None:
    good, advice, wrong = Line(OK, "a", ""), Line(WARN, "b", ""), Line(BAD, "c", "")
    assert headline([good]) == ("This machine is ready", OK)
    assert headline([good, advice]) == ("Ready, with a remark", WARN)
    assert headline([good, wrong]) == ("One thing to mend", BAD)
    assert headline([wrong, wrong])[0] == "2 things to mend"


def test_that_the_checks_are_made_on_this_machine(services: Services) -> None:
    lines = examine()
    assert all(line.title and line.state in (OK, WARN, BAD) for line in lines)


def test_that_well_known_shapes_have_their_published_sizes() -> None:
    published = {"135M": 134_515_008, "7B": 6_738_415_616, "8B": 8_030_261_248, "1B": 1_235_814_400}
    for shape in SHAPES:
        if shape.name in published:
            assert facts_of(shape).parameters == published[shape.name]


def test_that_what_fits_comes_from_the_planner_and_grows_with_the_model() -> None:
    fits, memory = what_fits()
    lora = [fit.bytes for fit in fits if fit.name.endswith(" LoRA")]
    assert memory > 0
    assert lora == sorted(lora)
    for fit in fits:
        assert (fit.verdict == "too_large") == (fit.bytes > memory)


def test_that_storage_is_measured_on_the_disk(services: Services, tmp_path: Path) -> None:
    folder = make_run("big", "finished", 10)
    (folder / "weights.bin").write_bytes(b"x" * 100_000)
    runs = next(place for place in measure().places if place.name == "runs")
    assert runs.bytes >= 100_000
    assert runs.bytes == folder_bytes(tmp_path / "home" / "runs")


def test_that_a_draft_is_one_press_away(services: Services, qtbot) -> None:
    from app.drafts import Draft, save_draft
    from engine.recipe.recipe import Recipe

    save_draft(Draft(recipe=Recipe.model_validate({"data": {"train": ["/d/tickets.jsonl"]}}), step="method"))
    page = shown(services, qtbot)
    assert page.draft.isVisible()
    went: list[str] = []
    services.navigate = lambda name, argument=None: went.append(name)
    page.draft.findChild(QPushButton).click()
    assert went == ["wizard"]


def test_that_a_tip_sent_away_stays_away(services: Services, qtbot) -> None:
    page = shown(services, qtbot)
    assert page.tip.isVisible()
    page.tip.findChild(QPushButton).click()
    assert services.settings.value.tip_dismissed
    assert not shown(services, qtbot).tip.isVisible()


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(1240, 844), (1036, 644)])
@pytest.mark.parametrize("text_size", [100, 150])
def test_that_no_text_of_home_is_cut(
    services, qtbot, theme: str, size: tuple[int, int], text_size: int
) -> None:
    make_run("one-run-of-some-name", "finished", 30)
    services.theme.set_theme(theme)
    services.theme.set_text_size(text_size)
    page = shown(services, qtbot)
    page.resize(*size)
    wait_until_nothing_is_cut(page, qtbot)
    assert not nameless_controls(page)


@pytest.mark.parametrize(("place", "example"), [(0, "support"), (1, "formal"), (2, "text")])
def test_that_a_help_card_brings_data_that_is_there(services, qtbot, place: int, example: str) -> None:
    page = shown(services, qtbot)
    card = page.findChildren(HelpCard)[place]
    with qtbot.waitSignal(page.navigate_requested) as asked:
        qtbot.keyClick(card, Qt.Key.Key_Return)
    name, goal = asked.args
    assert (name, goal["example"], goal["step"]) == ("wizard", example, "data")
    assert "data" not in goal or goal["data"].is_file()
