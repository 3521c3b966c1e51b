"""The Chat page with a real child on a tiny base and adapter."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
from PySide6.QtCore import Qt

from app.choices import read_choices, read_prompts
from app.half_typed import typed_dir
from app.pages.chat import ChatPage
from app.widgets.chat_view import AnswerBlock, ChatColumn, pretty
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import store
from tests.gui.drawn import give_keyboard, nameless_controls, wait_until_nothing_is_cut
from tests.integration.adapters import make_adapters

LONG = 90_000


@pytest.fixture
def adapters(tiny_model):
    return make_adapters(tiny_model)


@pytest.fixture
def page(qtbot, services):
    made = ChatPage(services)
    qtbot.addWidget(made)
    made.resize(1200, 760)
    made.show()
    made.settings.fields["max_new_tokens"].setText("8")
    yield made
    made.process.close()


def answered(page):
    return bool(page.turns) and not page.talk.open and page.loaded is not None


def open_adapter(page, adapters, qtbot):
    page.open_with({"adapter": adapters / "plain-adapter"})
    page.shown()
    qtbot.waitUntil(page.settled, timeout=LONG)


def ask(page, qtbot, text):
    page.message.setPlainText(text)
    qtbot.keyClick(page.message, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: answered(page) and page.turns[-1].question == text, timeout=LONG)


def test_that_one_message_is_answered_in_both_columns_by_who_they_say(page, adapters, qtbot):
    open_adapter(page, adapters, qtbot)
    assert "plain-base" in page.seats.columns["base"].name.text()
    assert page.seats.columns["adapter"].name.text() == "plain-adapter"
    ask(page, qtbot, "Where is my parcel?")
    assert set(page.turns[0].answers) == {"base", "adapter"}
    fingerprints = page.loaded["fingerprints"]
    for who in ("base", "adapter"):
        block = page.seats.columns[who].blocks[0]
        assert block.text == page.turns[0].answers[who]
        assert fingerprints[who] in block.who.text()
        assert "tok" in page.seats.columns[who].figures.text()
    ask(page, qtbot, "And now?")
    roles = [m["role"] for m in page.talk.messages("adapter")]
    assert roles == ["user", "assistant", "user", "assistant"]
    assert page.talk.messages("adapter")[1]["content"] == page.turns[0].answers["adapter"]
    qtbot.waitUntil(lambda: not page.typed.keeper.waiting, timeout=10_000)
    assert not any(typed_dir().glob("*.json"))  # what was sent is no draft


def test_that_keys_send_break_the_line_edit_the_last_and_ask_again(page, adapters, qtbot):
    open_adapter(page, adapters, qtbot)
    qtbot.keyClicks(page.message, "one")
    qtbot.keyClick(page.message, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClicks(page.message, "two")
    assert page.message.toPlainText() == "one\ntwo" and not page.turns
    ask(page, qtbot, "one\ntwo")
    qtbot.keyClick(page.message, Qt.Key.Key_Up)
    assert page.message.toPlainText() == "one\ntwo"
    ask(page, qtbot, "three")
    assert [turn.question for turn in page.turns] == ["three"]
    before = page.turns[0].answers
    page.answer_again()
    qtbot.waitUntil(lambda: answered(page) and len(page.turns[0].answers) == 2, timeout=LONG)
    assert page.turns[0].answers == before
    assert len(page.seats.columns["base"].blocks) == 1


def test_f45_that_a_killed_child_is_told_and_try_again_answers(page, adapters, qtbot):
    open_adapter(page, adapters, qtbot)
    ask(page, qtbot, "first")
    page.settings.fields["max_new_tokens"].setText("400")
    page.message.setPlainText("second")
    page.send()
    os.kill(page.process.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: not page.notice.isHidden(), timeout=LONG)
    assert "CHAT-01" in page.notice._text.text()
    assert [turn.question for turn in page.turns] == ["first", "second"]
    page.settings.fields["max_new_tokens"].setText("8")
    page.faults.try_again()
    qtbot.waitUntil(lambda: answered(page) and len(page.turns[-1].answers) == 2, timeout=LONG)
    assert [turn.question for turn in page.turns] == ["first", "second"]
    assert page.notice.isHidden()


def test_that_stop_keeps_what_was_said(page, adapters, qtbot):
    open_adapter(page, adapters, qtbot)
    page.settings.fields["max_new_tokens"].setText("450")
    page.settings.fields["temperature"].setText("3")
    page.message.setPlainText("Tell me everything.")
    page.send()
    qtbot.waitUntil(lambda: page.seats.columns["adapter"].blocks[0].text != "", timeout=LONG)
    assert page.stop_button.isVisible() and not page.send_button.isVisible()
    give_keyboard(page.message, qtbot)
    qtbot.keyClick(page.message, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: answered(page), timeout=LONG)
    assert page.seats.columns["adapter"].blocks[0].text
    assert page.send_button.isVisible()


def test_that_a_wrong_sampling_field_is_said_and_nothing_is_sent(page, adapters, qtbot):
    open_adapter(page, adapters, qtbot)
    page.settings.fields["top_p"].setText("7")
    page.message.setPlainText("hello")
    page.send()
    assert not page.turns and page.message.toPlainText() == "hello"
    assert not page.settings._faults["top_p"].isHidden()
    page.settings.fields["top_p"].setText("0.9")
    ask(page, qtbot, "hello")
    assert page.settings._faults["top_p"].isHidden()


def test_that_a_model_alone_has_one_column(page, tiny_model, qtbot):
    page.open_with({"model": tiny_model})
    qtbot.waitUntil(page.settled, timeout=LONG)
    assert page.seats.columns["adapter"].isHidden() and page.send_button.text() == "Send"
    ask(page, qtbot, "hello")
    assert set(page.turns[0].answers) == {"base"}


def test_that_a_folder_that_is_no_model_says_so_and_the_page_lives(page, tmp_path, tiny_model, qtbot):
    page.open_with({"model": tmp_path})
    qtbot.waitUntil(lambda: not page.notice.isHidden(), timeout=LONG)
    page.open_with({"model": tiny_model})
    qtbot.waitUntil(page.settled, timeout=LONG)
    assert page.notice.isHidden() and page.loaded is not None


@pytest.fixture
def trained(adapters, home):
    """Return a finished run with an adapter, a system prompt and its sampled questions."""
    recipe = codec.override(
        Recipe(),
        {
            "data.train": ["x.jsonl"],
            "data.system_prompt": "Be short.",
            "model.path": str(adapters / "plain-base"),
        },
    )
    folder = store.create_run(recipe.model_copy(update={"name": "tickets"}))
    shutil.copytree(adapters / "plain-adapter", folder / "adapter")
    line = '{"type": "sample_generated", "step": 0, "prompt": "Where is it?", "text": "no"}\n'
    (folder / "events.jsonl").write_text(line)
    return folder


def test_that_a_run_brings_its_system_prompt_and_its_questions(page, trained, qtbot):
    assert read_choices()[0].label == "tickets"
    assert read_prompts(str(trained)) == ["Where is it?"]
    page.open_with({"run": trained})
    page.shown()
    qtbot.waitUntil(lambda: page.settled() and page.prompts.row.count() == 1, timeout=LONG)
    assert page.settings.system_prompt == "Be short."
    assert "as trained" in page.settings.system_source.text()
    page.prompts.row.itemAt(0).widget().click()
    qtbot.waitUntil(lambda: answered(page), timeout=LONG)
    assert page.talk.messages("base")[0] == {"role": "system", "content": "Be short."}
    assert page.prompts.isHidden()
    page.clear()
    assert not page.turns and page.prompts.isVisible()


def test_that_the_same_partner_keeps_the_conversation_and_another_begins_anew(
    page, adapters, tiny_model, qtbot
):
    open_adapter(page, adapters, qtbot)
    ask(page, qtbot, "hello")
    page.open_with({"adapter": adapters / "plain-adapter"})
    assert page.settled() and len(page.turns) == 1
    page.open_with({"model": tiny_model})
    qtbot.waitUntil(page.settled, timeout=LONG)
    assert page.turns == []


def test_that_json_is_laid_out_and_what_is_not_valid_says_so(qtbot):
    column = ChatColumn("accent")
    qtbot.addWidget(column)
    good, bad = column.ask("q"), column.ask("q")
    good.say('{"queue": ')
    assert not good.inset.isHidden()
    good.finish('{"queue": "billing"}', "eos", 9, "ab")
    bad.finish('{"queue": "bil', "length", 9, "ab")
    assert good.code.text() == '{\n  "queue": "billing"\n}'
    assert words(good) == ["valid JSON", "ended by itself", "ab"]
    assert words(bad) == ["not valid JSON", "cut at 9 tokens", "ab"]
    assert pretty("no json") is None


def words(block: AnswerBlock) -> list[str]:
    from app.widgets.label import TextLabel

    return [*(label.text() for label in block._marks.findChildren(TextLabel)), block.who.text()]


def test_that_a_word_wider_than_its_column_is_broken_and_cuts_nothing(qtbot):
    column = ChatColumn("accent")
    qtbot.addWidget(column)
    column.resize(300, 600)
    column.show()
    block = column.ask("See https://example.org/" + "x" * 90)
    block.say("W" * 40)
    block.say("W" * 40 + " \ufffd end")
    qtbot.waitUntil(lambda: block.plain.width() <= 300, timeout=10_000)
    qtbot.waitUntil(lambda: block.plain.verticalScrollBar().maximum() == 0, timeout=10_000)
    assert column._inner.width() == column.area.viewport().width()
    assert block.plain.text() == block.text and block.plain.document().size().height() > 3


@pytest.mark.parametrize("text_size", [100, 150])
def test_that_no_word_is_cut_and_every_control_has_a_name(page, adapters, qtbot, text_size):
    page.services.theme.set_text_size(text_size)
    open_adapter(page, adapters, qtbot)
    ask(page, qtbot, "Where is my parcel? I have been waiting for three weeks and nobody answers.")
    wait_until_nothing_is_cut(page, qtbot)
    assert nameless_controls(page) == []
    page.services.theme.set_text_size(100)
