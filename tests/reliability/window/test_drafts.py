"""The unfinished run is never lost: not by a kill, a full disk, a damaged file, or another recipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from PySide6.QtTest import QTest

from app import drafts
from app.drafts import draft_file, load_draft
from app.pages.wizard import draft_keeper
from engine import faults
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import trash
from tests.gui.wizard_place import open_page, ready, settle, write_rows
from tests.reliability.window.typing_window import RANK, RATE, type_into

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


@pytest.fixture
def page(qtbot, services, monkeypatch):
    monkeypatch.setattr(draft_keeper, "SAVE_MS", 20)
    return open_page(qtbot, services)


def kept(qtbot, page) -> None:
    """Wait until all that was typed is on the disk."""
    qtbot.waitUntil(lambda: not page.keeper.waiting, timeout=30_000)


def line_of(page, step: str, path: str):
    return page.steps[step].rows[path].editor.line


def test_r19_that_what_was_typed_survives_a_kill_of_the_window(qtbot, services, home) -> None:
    command = [sys.executable, "-m", "tests.reliability.window.typing_window"]
    window = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ.copy())
    try:
        qtbot.waitUntil(lambda: draft_file().is_file() and RANK in draft_file().read_text(), timeout=60_000)
    finally:
        window.send_signal(signal.SIGKILL)
        window.wait(30)
    page = open_page(qtbot, services)
    assert page.step_name == "method"
    assert page.state.value("training.learning_rate") == float(RATE)
    assert line_of(page, "method", "adapter.r").text() == RANK
    assert page.state.unread["adapter.r"][1], "the way out is said again"
    assert trash.everything() == []


def test_r19_that_a_pass_with_a_fault_on_each_page_loses_nothing(
    qtbot, page, services, tiny_model, tmp_path
) -> None:
    rows = write_rows(tmp_path / "tickets.jsonl")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"prompt": "a", "completion": \n')
    # model: a folder that is none
    page.state.set_value("model.path", str(tmp_path / "no-model"))
    settle(qtbot, page)
    page.footer.next.click()
    assert page.step_name == "model" and page.footer.note.text()
    ready(qtbot, page, tiny_model, broken)
    # data: a file that cannot be read
    page.go_to("data")
    page.footer.next.click()
    assert page.step_name == "data"
    page.footer.back.click()
    assert page.step_name == "model" and page.state.value("data.train") == [str(broken)]
    ready(qtbot, page, tiny_model, rows)
    # method and training: text that is no number
    for step, path in (("method", "adapter.r"), ("training", "training.learning_rate")):
        page.go_to(step)
        type_into(line_of(page, step, path), "many")
        page.footer.next.click()
        assert page.step_name in ("method", "training")
        page.go_to(step)
        page.footer.back.click()
        page.go_to(step)
        assert line_of(page, step, path).text() == "many"
    # review: the draft cannot be written, then it can
    page.go_to("review")
    kept(qtbot, page)
    with faults.arm("write:ENOSPC@1+"):
        page.state.set_value("name", "not lost")
        qtbot.waitUntil(lambda: "Not kept" in page.footer.note.text(), timeout=30_000)
    page.footer.back.click()
    assert page.step_name == "training" and page.state.value("name") == "not lost"
    kept(qtbot, page)
    draft = load_draft()
    assert draft is not None and draft.recipe == page.state.recipe
    assert draft.unread == {"adapter.r": "many", "training.learning_rate": "many"}
    assert page.keeper._writer.problem == ""


def test_r19_that_long_typing_is_kept_without_a_pause(qtbot, page, monkeypatch) -> None:
    monkeypatch.setattr(draft_keeper, "LONGEST_SECONDS", 0.0)
    page.keeper._timer.setInterval(3_600_000)
    page.go_to("training")
    line = line_of(page, "training", "training.learning_rate")
    type_into(line, "3e-")
    QTest.keyClicks(line, "5")
    qtbot.waitUntil(draft_file().is_file, timeout=30_000)


def test_r19_that_a_draft_that_cannot_be_read_waits_in_the_trash_as_it_was(qtbot, services, home) -> None:
    text = "recipe: [this is no recipe\n"
    draft_file().write_text(text)
    page = open_page(qtbot, services)
    assert page.state.recipe == Recipe()
    assert [item.kind for item in trash.everything()] == ["draft"]
    assert (trash.everything()[0].place / trash.THING).read_text() == text
    assert "trash" in page._draft_error.hint


def test_undo_that_another_recipe_in_its_place_puts_the_draft_into_the_trash(
    qtbot, page, services, tmp_path
) -> None:
    page.state.set_values({"name": "first", "training.learning_rate": 3e-4})
    page.go_to("training")
    type_into(line_of(page, "training", "training.max_grad_norm"), "lots")
    file = tmp_path / "other.yaml"
    file.write_text(codec.dumps(codec.override(Recipe(), {"name": "second"})))
    page.read_recipe(file)
    assert page.state.value("name") == "second"
    assert [item.name for item in trash.everything()] == ["first"]
    word, undo = services.toasts[-1][2]
    assert word == "Undo"
    undo()
    assert page.state.value("name") == "first" and page.step_name == "training"
    assert line_of(page, "training", "training.max_grad_norm").text() == "lots"
    assert [item.name for item in trash.everything()] == ["second"]
    kept(qtbot, page)
    assert load_draft().recipe.name == "first"


def test_undo_that_starting_over_is_taken_back_after_the_window_was_closed(qtbot, page, services) -> None:
    page.state.set_values({"name": "worked on for an hour"})
    page.start_over()
    assert page.state.recipe == Recipe()
    kept(qtbot, page)
    trash.restore(trash.everything()[0])
    assert drafts.load_draft().recipe.name == "worked on for an hour"
    page.open_with({"draft": True})
    assert page.state.value("name") == "worked on for an hour"
