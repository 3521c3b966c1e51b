"""A half-typed message is never lost: not by a kill of the window, not by another page, partner or talk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtWidgets import QPlainTextEdit

from app import half_typed, typed_keeper
from app.half_typed import Typed, load_typed, save_typed, typed_dir
from app.pages.chat import ChatPage
from app.pages.merge_try import MergeTry
from app.typed_keeper import TypedKeeper
from app.workers.mix_process import MixProcess
from engine.models import library
from engine.runs import conversations
from engine.runs.conversations import Conversation, Reply, Turn
from tests.reliability.window.chatting_window import MESSAGE, QUESTION

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


@pytest.fixture(autouse=True)
def soon(monkeypatch) -> None:
    monkeypatch.setattr(typed_keeper, "SAVE_MS", 20)


@pytest.fixture
def models(home: Path, tiny_model: Path, tmp_path: Path) -> list[str]:
    """Return two models of the library, the first is whom Chat is with at first."""
    for name in ("alder", "birch"):
        shutil.copytree(tiny_model, tmp_path / name)
        library.add_model(tmp_path / name)
    return [str(tmp_path / "alder"), str(tmp_path / "birch")]


def chat(qtbot, services) -> ChatPage:
    """Return the page as it is after its first visit; its child is never started."""
    page = ChatPage(services)
    page.process.load = lambda *_, **__: None
    qtbot.addWidget(page)
    page.show()
    page.shown()
    qtbot.waitUntil(lambda: page._wanted is not None and not services.background.busy, timeout=30_000)
    return page


def kept() -> dict[str, str]:
    """Return all that lies on the disk: place, words."""
    found = [half_typed._read(file) for file in typed_dir().glob("*.json")]
    return {each.place: each.text for each in found if each is not None}


def write(qtbot, page, text: str) -> None:
    page.message.setPlainText(text)
    qtbot.waitUntil(lambda: not page.typed.keeper.waiting, timeout=10_000)


def want(page, target: str) -> None:
    page._want(page.chooser.find(target))


def test_r19_that_a_message_and_a_question_survive_a_kill_of_the_window(qtbot, services, models) -> None:
    command = [sys.executable, "-m", "tests.reliability.window.chatting_window"]
    window = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ.copy())
    try:
        qtbot.waitUntil(lambda: {MESSAGE, QUESTION} == set(kept().values()), timeout=60_000)
    finally:
        window.send_signal(signal.SIGKILL)
        window.wait(30)
    page = chat(qtbot, services)
    assert page.message.toPlainText() == MESSAGE
    trial = MergeTry(MixProcess(page), lambda: None)
    qtbot.addWidget(trial)
    trial.propose("What is asked here?")
    assert trial.prompt.text() == QUESTION


def test_that_sent_and_cleared_messages_leave_nothing(qtbot, services, models) -> None:
    page = chat(qtbot, services)
    write(qtbot, page, "half a")
    assert list(kept().values()) == ["half a"]
    write(qtbot, page, "")
    assert kept() == {}
    write(qtbot, page, "Where is it?")
    page.send()  # its model is not loaded: the question waits, and is not lost with the window
    qtbot.waitUntil(lambda: not page.typed.keeper.waiting, timeout=10_000)
    assert list(kept().values()) == ["Where is it?"] and page.message.toPlainText() == ""
    page.loaded, page._waiting_question = {"adapter": False}, ""
    page._ask("Where is it?")
    qtbot.waitUntil(lambda: not page.typed.keeper.waiting, timeout=10_000)
    assert kept() == {}


def test_that_words_go_along_to_another_partner_unless_it_has_its_own(qtbot, services, models) -> None:
    save_typed(Typed(f"chat with {models[1]}", "for birch", models[1]))
    page = chat(qtbot, services)
    assert page._wanted.target == models[1] and page.message.toPlainText() == "for birch"
    want(page, models[0])
    assert page.message.toPlainText() == "for birch"  # it goes along: nothing was typed there
    write(qtbot, page, "for alder")
    qtbot.waitUntil(lambda: kept() == {f"chat with {models[0]}": "for alder"}, timeout=10_000)
    save_typed(Typed(f"chat with {models[1]}", "in another window", models[1]))
    want(page, models[1])
    assert page.message.toPlainText() == "in another window"
    qtbot.waitUntil(lambda: not page.typed.keeper.waiting, timeout=10_000)
    assert kept()[f"chat with {models[0]}"] == "for alder"


def test_that_a_message_stays_with_its_conversation_and_is_offered_after_a_start(
    qtbot, services, models
) -> None:
    said = (Turn(question="Hello?", replies={"base": Reply(text="Yes.", ended="eos", tokens=2)}),)
    talk = Conversation(id=conversations.new_id(), title="Hello?", target=models[0], turns=said)
    conversations.save(talk, None)
    save_typed(Typed(f"chat in {talk.id}", "And then", models[0]))
    page = chat(qtbot, services)
    qtbot.waitUntil(lambda: not page.notice.isHidden(), timeout=10_000)
    assert "Hello?" in page.notice._title.text() and page.message.toPlainText() == ""
    write(qtbot, page, "of no talk")
    page.loaded = {"adapter": False}
    page.notice._row.itemAt(0).widget().click()
    assert page.keeping.identity == talk.id and page.message.toPlainText() == "And then"
    page.clear()
    assert page.keeping.identity == ""
    assert page.message.toPlainText() == "of no talk"
    qtbot.waitUntil(lambda: not page.typed.keeper.waiting, timeout=10_000)
    assert kept() == {f"chat in {talk.id}": "And then", f"chat with {models[0]}": "of no talk"}


def test_that_long_typing_is_kept_without_a_pause_and_closing_waits_for_it(qtbot, home, monkeypatch) -> None:
    field = QPlainTextEdit()
    qtbot.addWidget(field)
    keeper = TypedKeeper(field, lambda: Typed("here", field.toPlainText()), field.setPlainText)
    keeper._timer.setInterval(3_600_000)
    field.textChanged.connect(keeper.touch)
    field.setPlainText("on and on")
    assert load_typed("here") == ""
    keeper.finish()
    assert load_typed("here") == "on and on"
    monkeypatch.setattr(typed_keeper, "LONGEST_SECONDS", -1.0)
    field.setPlainText("on and on and on")
    qtbot.waitUntil(lambda: load_typed("here") == "on and on and on", timeout=10_000)


def test_that_damaged_and_strange_files_are_no_words_and_the_oldest_go(home, monkeypatch) -> None:
    save_typed(Typed("a", "words"))
    for text in ("", "[1]", '{"place": 1}', '{"place": "b", "text": "x"}', "[" * 100_000):
        half_typed.typed_file("a").write_text(text)
        assert load_typed("a") == ""
    monkeypatch.setattr(half_typed, "MOST", 3)
    for number in range(6):
        save_typed(Typed(f"place {number}", "x"))
    assert len(kept()) == 3
