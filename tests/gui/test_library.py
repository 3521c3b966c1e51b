"""The library of runs: list, filter, open, rename, delete with undo, trash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QApplication, QLineEdit

from app.pages.library import LibraryPage
from app.services import Services
from app.tables.run_filter import parse
from app.tables.runs import RunsModel
from app.widgets.cells import RowTable
from engine.cli import main
from engine.jobs.lock import FolderLock
from engine.recipe.codec import dumps, override
from engine.runs.store import delete_run, list_runs, load_recipe, summary
from tests.gui.drawn import give_keyboard, nameless_controls, wait_until_nothing_is_cut
from tests.gui.run_folders import make_run


def shown(services: Services, qtbot, size: tuple[int, int] = (1240, 844)) -> LibraryPage:
    page = LibraryPage(services)
    qtbot.addWidget(page)
    page.resize(*size)
    page.show()
    page.shown()
    settle(page, qtbot)
    return page


def settle(page: LibraryPage, qtbot) -> None:
    qtbot.waitUntil(lambda: page.settled() and not page.services.background.busy, timeout=30_000)


def names(page: LibraryPage) -> list[str]:
    model = page.shown_model
    return [str(model.index(row, 0).data()) for row in range(model.rowCount())]


def choose(page: LibraryPage, name: str) -> None:
    page.table.clearSelection()
    page.table.selectRow(names(page).index(name))


def opened_by_enter(page: LibraryPage, qtbot) -> str:
    """Press Enter in the list and return the name of the folder that is opened."""
    give_keyboard(page.table, qtbot)
    with qtbot.waitSignal(page.navigate_requested) as asked:
        qtbot.keyClick(page.table, Qt.Key.Key_Return)
    assert asked.args[0] == "monitor"
    return Path(asked.args[1]["run"]).name


def test_that_without_runs_the_page_says_what_will_be_here(services: Services, qtbot) -> None:
    page = shown(services, qtbot)
    assert page.empty.isVisible()
    assert not page.card.isVisible()


def test_that_runs_are_listed_newest_first_and_going_ones_on_top(services: Services, qtbot) -> None:
    make_run("first", age_hours=9, steps=10)
    make_run("second", age_hours=5, steps=10)
    going = make_run("going", "running", age_hours=20, steps=10, total=40)
    with FolderLock(going):
        page = shown(services, qtbot)
        assert names(page) == ["going", "second", "first"]
        assert page.facts == "3 runs, 1 going on"


def test_that_a_damaged_folder_is_listed_with_the_rest(services: Services, qtbot) -> None:
    hurt = make_run("hurt", steps=10)
    make_run("well", steps=10)
    (hurt / "recipe.yaml").chmod(0o644)
    (hurt / "recipe.yaml").write_text("adapter: [")
    (hurt / "job.json").write_text("no json")
    page = shown(services, qtbot)
    assert len(names(page)) == 2
    states = {str(page.shown_model.index(r, page.model.column("state")).data()) for r in range(2)}
    assert states == {"Damaged", "Finished"}


def test_that_the_filter_hides_what_does_not_match(services: Services, qtbot) -> None:
    make_run("alpha", steps=10)
    make_run("beta", "failed", steps=10, message="no memory")
    page = shown(services, qtbot)
    page.filter.setText("state:failed")
    assert names(page) == ["beta"]
    page.filter.setText("nothing-like-this")
    assert names(page) == []
    assert page.note.text().startswith("No run matches")
    page.filter.setText("colour:red")
    assert "not understood" in page.note.text()


def test_that_filter_terms_compare_fields(services: Services) -> None:
    run = summary(make_run("alpha", steps=40, base="/m/Llama-2-7B", four_bit=True))
    assert parse("alpha").matches(run)
    assert parse("base:llama method:qlora").matches(run)
    assert parse("step>30 best<9").matches(run)
    assert not parse("step>=41").matches(run)
    assert parse("tickets base:llama").matches(run)
    assert parse("best<x").unknown == ("best<x",)


def test_that_sorting_by_best_puts_the_lowest_first(services: Services, qtbot) -> None:
    make_run("long", steps=120, seed=3)
    make_run("short", steps=20, seed=4)
    page = shown(services, qtbot)
    page.table.sortByColumn(page.model.column("best"), Qt.SortOrder.AscendingOrder)
    assert names(page) == ["long", "short"]


def test_that_enter_opens_the_chosen_run(services: Services, qtbot) -> None:
    folder = make_run("one", steps=10)
    page = shown(services, qtbot)
    choose(page, "one")
    assert opened_by_enter(page, qtbot) == folder.name


def test_that_reading_anew_leaves_the_choice_and_the_keyboard_at_their_run(services: Services, qtbot) -> None:
    folder, other = make_run("one", steps=10, age_hours=3), make_run("other", steps=10, age_hours=5)
    page = shown(services, qtbot)
    choose(page, "one")
    make_run("two", steps=10)
    delete_run(other)
    page.refresh()
    settle(page, qtbot)
    assert names(page) == ["two", "one"]
    assert [run.name for run in page.chosen()] == ["one"]
    assert page.table.currentIndex().row() == 1
    assert opened_by_enter(page, qtbot) == folder.name
    delete_run(folder)
    page.refresh()
    settle(page, qtbot)
    assert [run.name for run in page.chosen()] == ["two"]
    assert page.table.currentIndex().row() == 0


def test_that_runs_side_by_side_with_one_seed_each_are_told_to_prove_little(
    services: Services, qtbot, capsys
) -> None:
    folders = [make_run(name, steps=10) for name in ("one", "two")]
    for folder, rank in zip(folders, (8, 32), strict=True):
        recipe = override(load_recipe(folder), {"adapter.r": rank})
        (folder / "recipe.yaml").write_text(dumps(recipe))
    page = shown(services, qtbot)
    choose(page, "one")
    assert page.note.isHidden()
    page.table.selectAll()
    assert page.note.isVisible() and page.note.text().endswith("(R43)")
    assert main(["runs", "compare", *[str(folder) for folder in folders], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["findings"][0]["message"]
    assert page.note.text() == f"{told} (R43)"
    choose(page, "two")
    assert page.note.isHidden()


def test_that_a_run_is_chosen_even_while_shift_is_held(services: Services, qtbot) -> None:
    folder = make_run("one", steps=10)
    elsewhere = QLineEdit()
    qtbot.addWidget(elsewhere)
    qtbot.keyPress(elsewhere, Qt.Key.Key_Home, Qt.KeyboardModifier.ShiftModifier)
    assert QApplication.keyboardModifiers() == Qt.KeyboardModifier.ShiftModifier
    page = shown(services, qtbot)
    assert [run.name for run in page.chosen()] == ["one"]
    assert opened_by_enter(page, qtbot) == folder.name


def test_that_the_rows_follow_any_change_one_by_one(services: Services, qtbot) -> None:
    made = {name: summary(make_run(name, steps=2)) for name in "abcdef"}
    model = RunsModel()
    tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Warning)
    table = RowTable("Runs")
    qtbot.addWidget(table)
    table.setModel(model)
    for wanted in ("abc", "cab", "fcdbe", "be", "ebaf", "f", "ade", "", "cd"):
        kept = model.runs[0].id if model.runs else ""
        table.setCurrentIndex(model.index(0, 0))
        model.show_runs([made[name] for name in wanted])
        assert "".join(run.name for run in model.runs) == wanted
        if kept in [run.id for run in model.runs]:
            assert model.run_at(table.currentIndex().row()).id == kept, tester
            assert [row.row() for row in table.selectionModel().selectedRows()] == [
                table.currentIndex().row()
            ]


def test_that_f2_renames_and_the_name_stays(services: Services, qtbot) -> None:
    make_run("old-name", steps=10)
    page = shown(services, qtbot)
    choose(page, "old-name")
    page.rename_button.click()
    field = page.table.findChild(QLineEdit)
    field.setText("new name")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: names(page) == ["new name"], timeout=30_000)
    assert list_runs()[0].name == "new name"


def test_that_deleting_goes_to_the_trash_and_undo_brings_it_back(services: Services, qtbot) -> None:
    make_run("gone", steps=10)
    make_run("stays", steps=10)
    page = shown(services, qtbot)
    choose(page, "gone")
    page.delete_button.click()
    qtbot.waitUntil(lambda: names(page) == ["stays"], timeout=30_000)
    text, _, (word, undo) = services.toasts[-1]
    assert (text, word) == ("gone went to the trash.", "Undo")
    undo()
    qtbot.waitUntil(lambda: set(names(page)) == {"gone", "stays"}, timeout=30_000)


def test_that_a_going_run_cannot_be_deleted(services: Services, qtbot) -> None:
    folder = make_run("going", "running", steps=10, total=40)
    with FolderLock(folder):
        page = shown(services, qtbot)
        choose(page, "going")
        assert not page.delete_button.isVisible()
        give_keyboard(page.table, qtbot)
        qtbot.keyClick(page.table, Qt.Key.Key_Delete)
        settle(page, qtbot)
        assert folder.is_dir()


def test_that_the_preview_shows_the_chosen_run(services: Services, qtbot) -> None:
    folder = make_run("done", steps=40)
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    page = shown(services, qtbot)
    choose(page, "done")
    assert page.preview.name.text() == "done"
    assert page.preview.chat_button.isVisible()
    with qtbot.waitSignal(page.navigate_requested) as asked:
        page.preview.chat_button.click()
    assert asked.args[0] == "chat"


def test_that_markup_in_a_name_is_shown_as_it_is(services: Services, qtbot) -> None:
    make_run("<img src=x> & <b>bold</b>", steps=5)
    page = shown(services, qtbot)
    assert names(page) == ["<img src=x> & <b>bold</b>"]


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(1240, 844), (1036, 644)])
@pytest.mark.parametrize("text_size", [100, 150])
def test_that_no_text_is_cut_and_every_control_has_a_name(services, qtbot, theme, size, text_size) -> None:
    make_run("one-run", steps=30)
    delete_run(make_run("deleted", steps=10))
    services.theme.set_theme(theme)
    services.theme.set_text_size(text_size)
    page = shown(services, qtbot, size)
    wait_until_nothing_is_cut(page, qtbot)
    assert not nameless_controls(page)
