"""Undo for every deletion: what is in the trash is seen, comes back whole, and goes after thirty days."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QApplication, QPushButton

from app import drafts, kept
from app.pages.library import LibraryPage
from app.pages.preferences_library import LibrarySection
from app.widgets.question import Question
from engine import paths
from engine.errors import EngineError
from engine.models import library
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import conversations, store, tests_kept, trash
from engine.runs.conversations import Conversation, Turn
from tests.gui.drawn import nameless_controls
from tests.gui.run_folders import make_run


def digest(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder with its bytes."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def a_conversation(run: Path | None) -> Conversation:
    made = Conversation(id=conversations.new_id(), title="Why?", turns=(Turn(question="Why?"),))
    return conversations.save(made, run)


def kinds() -> list[str]:
    return sorted(item.kind for item in trash.everything())


def test_undo_that_each_kind_of_thing_comes_back_byte_for_byte(home, tiny_model, tmp_path) -> None:
    run = make_run("a run", steps=5)
    model = paths.models_dir() / "own-model"
    shutil.copytree(tiny_model, model)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tiny_model, elsewhere)
    library.add_model(elsewhere)
    talk = a_conversation(run)
    line = tests_kept.keep_test(home, "What is due?", "Rent", "contains")
    drafts.save_draft(drafts.Draft(recipe=codec.override(Recipe(), {"name": "half done"})))
    before = digest(home)

    made = [
        trash.delete_model(model),
        trash.delete_model(elsewhere),
        trash.delete_test(home, line),
        trash.delete_draft(drafts.draft_file()),
    ]
    conversations.delete(talk.id, run)
    assert kinds() == ["conversation", "draft", "model", "model", "test"]
    assert elsewhere.is_dir() and not library.is_recorded("model", elsewhere)
    assert tests_kept.lines_of(home) == [] and drafts.load_draft() is None
    assert made[3].name == "half done"
    for item in trash.everything():
        trash.restore(item)
    store.delete_run(run)
    assert kinds() == ["run"]
    trash.restore(trash.everything()[0])
    assert kinds() == []
    after = digest(home)
    assert {name for name in after if "trash" not in name} == {name for name in before if "trash" not in name}
    assert all(after[name] == before[name] for name in before)


def test_undo_that_a_place_that_is_taken_meanwhile_is_named_and_nothing_is_lost(home, tiny_model) -> None:
    model = paths.models_dir() / "own-model"
    shutil.copytree(tiny_model, model)
    item = trash.delete_model(model)
    shutil.copytree(tiny_model, model)
    with pytest.raises(EngineError, match="own-model is there already"):
        trash.restore(item)
    assert (item.place / trash.THING / "config.json").is_file()


def test_undo_that_the_starter_and_the_results_of_runs_are_not_offered(home, tiny_model) -> None:
    shutil.copytree(tiny_model, library.starter_folder())
    assert kept.kept_things() == []


def test_undo_that_after_thirty_days_a_thing_goes_for_good(home) -> None:
    talk = a_conversation(None)
    conversations.delete(talk.id)
    old = store.delete_run(make_run("old", steps=5))
    days = trash.KEEP_DAYS + 1
    old.rename(old.with_name(f"{old.name.rpartition('.')[0]}.{int(time.time()) - days * 86_400}"))
    assert kinds() == ["conversation"]
    file = trash.everything()[0].place
    long_ago = time.time() - days * 86_400
    os.utime(file, (long_ago, long_ago))
    assert kinds() == [] and not file.exists() and not any(store.trash_dir().iterdir())


def test_undo_that_an_entry_from_a_stranger_leads_nowhere(home) -> None:
    place = trash.trash_dir() / "20260101-000000-abcdef"
    place.mkdir(parents=True)
    for text in ("", "[]", '{"kind": "run"}', '{"kind": "x", "origin": "/", "deleted": 1}', "[" * 10_000):
        (place / trash.ENTRY).write_text(text)
        assert trash.everything() == []


# -- in the window -----------------------------------------------------------------------------------------
@pytest.fixture
def page(qtbot, services, home):
    made = LibraryPage(services)
    qtbot.addWidget(made)
    made.resize(1240, 844)
    made.show()
    made.shown()
    qtbot.waitUntil(lambda: made.settled() and not services.background.busy, timeout=30_000)
    return made


def names(page) -> list[str]:
    model = page.trash.table.model()
    return [str(model.index(row, 0).data()) for row in range(model.rowCount())]


def answer(press: str) -> None:
    """Press a button of the question that comes up."""

    def act() -> None:
        question = QApplication.activeModalWidget()
        assert isinstance(question, Question) and question.stay_button.isDefault()
        (question.act_button if press == "act" else question.stay_button).click()

    QTimer.singleShot(50, act)


def test_undo_that_the_trash_shows_all_kinds_and_brings_them_back_by_a_press(qtbot, page, services) -> None:
    store.delete_run(make_run("deleted", steps=5))
    conversations.delete(a_conversation(None).id)
    page._look_anew()
    qtbot.waitUntil(lambda: page.trash_button.text() == "Trash (2)", timeout=30_000)
    page.trash_button.click()
    assert page.card.isHidden() and page.trash.isVisible()
    assert sorted(names(page)) == ["Why?", "deleted"]
    assert not nameless_controls(page)
    page.trash.table.selectRow(names(page).index("deleted"))
    qtbot.keyClick(page.trash.table, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: names(page) == ["Why?"], timeout=30_000)
    assert store.list_runs()[0].name == "deleted"
    page.trash.left.emit()
    assert page.card.isVisible()


def test_undo_that_emptying_the_trash_asks_and_names_what_is_lost(qtbot, page, services) -> None:
    store.delete_run(make_run("deleted", steps=5))
    page.show_trash(True)
    qtbot.waitUntil(lambda: names(page) == ["deleted"], timeout=30_000)
    answer("stay")
    page.trash.empty_button.click()
    assert names(page) == ["deleted"]
    answer("act")
    page.trash.empty_button.click()
    qtbot.waitUntil(lambda: names(page) == [], timeout=30_000)
    assert not any(store.trash_dir().iterdir())


def test_undo_that_a_model_deleted_in_the_settings_comes_back_by_undo(
    qtbot, services, home, tiny_model
) -> None:
    model = paths.models_dir() / "own-model"
    shutil.copytree(tiny_model, model)
    section = LibrarySection(services)
    qtbot.addWidget(section)
    section.refresh()

    def press() -> QPushButton | None:
        presses = section.findChildren(QPushButton)
        return next(
            (b for b in presses if b.accessibleName().startswith("Delete") and not b.isHidden()), None
        )

    qtbot.waitUntil(lambda: press() is not None, timeout=30_000)
    press().click()
    qtbot.waitUntil(lambda: bool(services.toasts) and not services.background.busy, timeout=30_000)
    assert not model.exists()
    word, undo = services.toasts[-1][2]
    assert word == "Undo"
    undo()
    qtbot.waitUntil(lambda: (model / "config.json").is_file(), timeout=30_000)
