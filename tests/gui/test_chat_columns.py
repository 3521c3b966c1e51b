"""Several speakers in Chat's window with a real child: columns, dials, chances, conversations, kept tests."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
from PySide6.QtWidgets import QApplication, QPushButton
from safetensors.numpy import load_file, save_file

from app.choices import Choice, choice_for
from app.i18n import size
from app.pages import chat_faults
from app.pages.chat import ChatPage
from app.pages.chat_device import lacking
from app.pages.chat_offers import offers_menu
from app.pages.chat_parts import Turn, messages_for
from app.pages.chat_saved import read_kept
from app.partners import read_checkpoints, read_partners, with_base
from app.widgets.chances_view import ChancesView, percent, visible
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import store
from engine.runs.conversations import Reply
from engine.runs.evaluations import kept_tests
from tests.gui.drawn import nameless_controls, wait_until_nothing_is_cut
from tests.integration.adapters import make_adapters

LONG = 120_000


@pytest.fixture
def adapters(tiny_model):
    return make_adapters(tiny_model)


@pytest.fixture
def run(adapters, home):
    """Return a finished run with two checkpoints and its result, each another adapter than the last."""
    values = {"data.train": ["x.jsonl"], "model.path": str(adapters / "plain-base")}
    recipe = codec.override(Recipe(), values)
    folder = store.create_run(recipe.model_copy(update={"name": "tickets"}))
    shutil.copytree(adapters / "plain-adapter", folder / "adapter")
    for step in (3, 6):
        place = folder / "checkpoints" / f"step-{step:08d}"
        shutil.copytree(adapters / "plain-adapter", place)
        (place / "MANIFEST.json").write_text("{}")
        weights = place / "adapter_model.safetensors"
        save_file({name: values * (step / 9) for name, values in load_file(weights).items()}, weights)
    (folder / "events.jsonl").write_text('{"type": "step", "step": 9, "total_steps": 9, "loss": 1.0}\n')
    return folder


@pytest.fixture
def page(qtbot, services):
    made = ChatPage(services)
    qtbot.addWidget(made)
    made.resize(1240, 780)
    made.show()
    made.settings.fields["max_new_tokens"].setText("6")
    yield made
    made.process.close()


def calm(page, qtbot, replies=0):
    qtbot.waitUntil(
        lambda: page.settled() and (not replies or len(page.turns[-1].replies) >= replies), timeout=LONG
    )


def begin(page, run, qtbot, question="Where is my parcel?"):
    page.open_with({"run": run})
    page.shown()
    calm(page, qtbot)
    page.message.setPlainText(question)
    page.send()
    calm(page, qtbot, 2)


def prints(page):
    return {who: reply.fingerprint for who, reply in page.turns[-1].replies.items()}


def test_that_four_speakers_answer_one_question_each_under_its_own_fingerprint(
    page, run, adapters, tiny_model, qtbot
):
    begin(page, run, qtbot)
    page.sit(choice_for(adapters / "plain-adapter"))
    page.sit(choice_for(tiny_model))
    calm(page, qtbot, 4)
    told = prints(page)
    base = page.loaded["fingerprints"]["base"]
    assert told["base"] == told["c4"] == base  # the tiny model is that very base
    assert told["adapter"] == told["c3"] == page.loaded["fingerprints"]["adapter"]
    assert page.turns[-1].answers["c3"] == page.turns[-1].answers["adapter"]
    for who, column in page.seats.columns.items():
        assert column.blocks[-1].text == page.turns[-1].answers[who]
        assert column.blocks[-1].who.text() == told[who]
    assert page.send_button.text() == "Send to all" and not page.add_button.isEnabled()
    assert page.seats.sit(choice_for(tiny_model)) == ""  # there is no room for a fifth
    wait_until_nothing_is_cut(page, qtbot)
    assert nameless_controls(page) == []
    page.seats.close("c3")
    page.message.setPlainText("And now?")
    page.send()
    calm(page, qtbot, 3)
    assert set(prints(page)) == {"base", "adapter", "c4"}
    assert [m["role"] for m in page.talk.messages("c4")] == ["user", "assistant", "user", "assistant"]


def test_that_dials_change_who_answers_and_a_strength_is_saved(page, run, qtbot):
    begin(page, run, qtbot)
    column, trained = page.seats.columns["adapter"], prints(page)["adapter"]
    qtbot.waitUntil(lambda: column.checkpoint.isVisible(), timeout=LONG)
    assert [step for step, _ in read_checkpoints(str(run))] == [3, 6, 9]
    assert column.checkpoint.value.text() == "9"
    column.strength.slider.setValue(0)
    calm(page, qtbot, 2)
    assert prints(page)["adapter"] == prints(page)["base"]
    assert page.turns[-1].answers["adapter"] == page.turns[-1].answers["base"]
    assert len(column.blocks) == 1
    column.strength.slider.setValue(50)
    calm(page, qtbot, 2)
    assert prints(page)["adapter"] == f"{trained}*0.5"
    column.save_button.click()
    calm(page, qtbot, 2)
    (saved,) = (run / "adapters").iterdir()
    assert saved.name == "tickets-x0.50" and saved.name in page.services.toasts[-1][0]
    column.strength.slider.setValue(100)
    column.checkpoint.slider.setValue(0)
    calm(page, qtbot, 2)
    told = prints(page)["adapter"]
    assert told not in (trained, prints(page)["base"]) and "step 3" in column.name.text()
    page.services.toasts[-1][2][1]()  # chat with what was saved
    calm(page, qtbot, 3)
    assert page.seats.seats["c3"].label == saved.name


def test_that_chances_are_shown_under_each_token_and_a_question_is_kept_as_a_test(page, run, qtbot):
    begin(page, run, qtbot)
    block = page.seats.columns["adapter"].blocks[0]
    block.chances_button.click()
    calm(page, qtbot)
    assert block.chances.isVisible() and block.plain.isHidden()
    assert block.chances.toPlainText().rstrip("\ufffd") in block.text
    block.chances_button.click()
    assert block.chances.isHidden() and (block.plain.isVisible() or block.inset.isVisible())
    block.keep_button.click()
    card = page.keeping.card
    card.expected.setPlainText("")
    card.keep_button.click()
    assert card.fault.isVisible() and not kept_tests(run)
    card.expected.setPlainText("on its way")
    card.keep_button.click()
    (test,) = kept_tests(run)
    assert (test.prompt, test.expected, test.check) == ("Where is my parcel?", "on its way", "contains")
    page.services.toasts[-1][2][1]()
    assert kept_tests(run) == []


def test_that_a_conversation_is_kept_opened_copied_and_deleted_with_undo(page, run, qtbot):
    begin(page, run, qtbot)
    page.sit(choice_for(run / "checkpoints" / "step-00000003"))
    calm(page, qtbot, 3)
    qtbot.waitUntil(lambda: len(read_kept(run)) == 1 and not page.services.background.busy, timeout=LONG)
    said, told = dict(page.turns[0].answers), page.turns[0].replies
    page.seats.close("c3")
    page.clear()
    page.message.setPlainText("Another one")
    page.send()
    calm(page, qtbot, 2)
    qtbot.waitUntil(lambda: len(read_kept(run)) == 2, timeout=LONG)
    page.keeping.open_list()
    qtbot.waitUntil(lambda: page.keeping.list is not None, timeout=LONG)
    rows = page.keeping.list.rows
    assert [row.kept.conversation.title for row in rows] == ["Another one", "Where is my parcel?"]
    rows[0].delete_button.click()
    assert len(read_kept(run)) == 1
    page.services.toasts[-1][2][1]()
    assert len(read_kept(run)) == 2
    rows[1].pressed.emit()
    calm(page, qtbot)
    assert [turn.question for turn in page.turns] == ["Where is my parcel?"]
    assert page.turns[0].answers == said and page.turns[0].replies == told  # shown, not asked again
    assert page.seats.columns["c3"].blocks[0].who.text() == told["c3"].fingerprint
    assert page.seats.columns["base"].blocks[0].text == said["base"]
    page.keeping.copy_markdown()
    assert "## You" in QApplication.clipboard().text() and "### tickets" in QApplication.clipboard().text()
    page.message.setPlainText("And then?")
    page.send()
    calm(page, qtbot, 3)
    assert prints(page) == {who: reply.fingerprint for who, reply in told.items()}
    qtbot.waitUntil(lambda: len(read_kept(run)[0].conversation.turns) == 2, timeout=LONG)
    assert len(read_kept(run)) == 2


def test_that_the_list_puts_those_of_the_loaded_base_first_and_says_what_others_cost(
    run, adapters, tiny_model, services, qtbot
):
    from app.widgets.label import TextLabel
    from engine.models import library

    library.add_adapter(adapters / "plain-adapter")
    other = services.settings and Choice("far", "/no/where", "Llama-2-7B", True, parameters=7_000_000_000)
    partners = read_partners()
    base = with_base(choice_for(run)).base_path
    assert base == str((adapters / "plain-base").resolve())
    owner = TextLabel("")
    qtbot.addWidget(owner)
    chosen: list[Choice] = []
    menu = offers_menu(owner, [other, *partners], base, False, chosen.append, chosen.append)
    words = [action.text() for action in menu.actions() if action.text()]
    assert words.index("tickets") < words.index("With a model of its own")
    assert words.index("plain-adapter") < words.index("With a model of its own")
    assert any(each.startswith(f"far · load its base Llama-2-7B · {size(33.6e9)}") for each in words)
    next(action for action in menu.actions() if action.text() == "tickets").trigger()
    assert chosen[0].target == str(run)


def test_that_a_chat_that_does_not_fit_beside_a_training_asks_and_waits(page, run, qtbot, monkeypatch):
    paused = []
    watch = SimpleNamespace(state="running", name="night", folder=run)
    page.services.run_queue = SimpleNamespace(
        active=lambda: [watch], send=lambda folder, order: paused.append((folder, order))
    )
    full = SimpleNamespace(devices=(), ram_total_bytes=8_000_000, ram_used_bytes=7_900_000)
    page.services.hardware.latest = full
    choice = with_base(choice_for(run))
    assert lacking(choice, full, gpu=False) is not None and lacking(choice, None, gpu=False) is None
    page.open_with({"run": run})
    assert "does not fit beside the training of night" in page.notice._title.text()
    assert page.loaded is None and page.settled()
    page.place._pause([watch])
    assert paused == [(run, "pause")] and page.place.waiting and page.state_pill.text == "Waiting for memory"
    watch.state = "paused"
    qtbot.waitUntil(lambda: page.loaded is not None, timeout=LONG)
    assert not page.place.waiting and page.notice.isHidden()


def test_that_an_adapter_from_elsewhere_is_dropped_and_its_base_pointed_at(
    page, adapters, tmp_path, qtbot, monkeypatch
):
    from engine.models import library

    foreign = tmp_path / "foreign"
    shutil.copytree(adapters / "plain-adapter", foreign)
    told = json.loads((foreign / "adapter_config.json").read_text())
    (foreign / "adapter_config.json").write_text(json.dumps({**told, "base_model_name_or_path": "who/knows"}))
    assert page.handle_drop(foreign)
    qtbot.waitUntil(lambda: not page.notice.isHidden(), timeout=LONG)
    assert "who/knows" in page.notice._title.text()
    chosen = str(adapters / "plain-base")
    monkeypatch.setattr(chat_faults.QFileDialog, "getExistingDirectory", lambda *_: chosen)
    buttons = {each.text(): each for each in page.notice.findChildren(QPushButton)}
    buttons["Choose its base…"].click()
    calm(page, qtbot)
    assert page.loaded["adapter"] == "foreign" and page.notice.isHidden()
    qtbot.waitUntil(lambda: not page.services.background.busy, timeout=LONG)
    assert [facts.name for facts in library.list_adapters()] == ["foreign"]


def test_that_presets_set_the_fields_and_fields_of_ones_own_are_called_so(page):
    settings = page.settings
    assert settings.preset.currentData() == "Exact"
    settings.preset.setCurrentIndex(settings.preset.findData("Creative"))
    settings.preset.activated.emit(settings.preset.currentIndex())
    told = settings.read()
    assert told["temperature"] == 1.0 and told["top_k"] == 0 and told["max_new_tokens"] == 6
    settings.fields["temperature"].setText("0.33")
    assert settings.preset.currentData() == "Your own"
    settings.show_proposed({"temperature": 0.6, "top_p": 0.95})
    settings.preset.activated.emit(settings.preset.findData("As the model proposes"))
    assert settings.read()["top_p"] == 0.95
    assert settings.preset.currentData() == "As the model proposes"


def test_that_a_model_without_a_template_says_so_and_another_is_seen_at_once(
    page, tiny_model, tmp_path, qtbot
):
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model, bare)
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    kept = json.loads((bare / "tokenizer_config.json").read_text())
    kept.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(kept))
    page.open_with({"model": bare})
    calm(page, qtbot)
    settings = page.settings
    qtbot.waitUntil(lambda: "your message" in settings.reading.toPlainText(), timeout=LONG)
    assert "brings no template" in settings.template_source.text() and settings.reading.isVisible()
    settings.template.setCurrentIndex(settings.template.findData("alpaca"))
    settings.template.activated.emit(settings.template.currentIndex())
    qtbot.waitUntil(lambda: "### Instruction" in settings.reading.toPlainText(), timeout=LONG)


def test_that_a_speaker_who_came_later_hears_what_it_answered_and_the_last_question() -> None:
    turns = [
        Turn("one", {"base": Reply(text="1")}),
        Turn("two", {"base": Reply(text="2"), "c3": Reply(text="x")}),
    ]
    turns.append(Turn("three"))
    assert [m["content"] for m in messages_for(turns, "c3", "")] == ["two", "x", "three"]
    assert [m["content"] for m in messages_for(turns, "base", "be")] == [
        "be",
        "one",
        "1",
        "two",
        "2",
        "three",
    ]


def test_that_a_place_in_an_answer_finds_its_token_beyond_16_bits(qtbot):
    view = ChancesView()
    qtbot.addWidget(view)
    rows = [("🙂", 0.9), (" a", 0.5), ("", 0.1), ("\n", 0.0001)]
    view.show_tokens([{"text": t, "chance": c, "place": 1, "likeliest": []} for t, c in rows])
    assert view.toPlainText() == "🙂 a\n"
    assert [view.token_at(position) for position in range(6)] == [0, 0, 1, 1, 2, None]
    assert (percent(0.5), percent(0.0001), percent(0.99999)) == ("50.0\u00a0%", "<0.1\u00a0%", "100\u00a0%")
    assert visible(" a\n") == "·a↵"
