"""Exporting from the Merge page with real children: formats, sizes, reasons, certificates, commands."""

from __future__ import annotations

import shlex
import shutil

import pytest

from app import exporting
from app.pages.merge import MergePage
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import store
from tests.gui.merge_place import LONG
from tests.integration.adapters import make_adapters


@pytest.fixture
def adapters(tiny_model):
    return make_adapters(tiny_model)


@pytest.fixture
def page(qtbot, services, adapters):
    made = MergePage(services)
    qtbot.addWidget(made)
    qtbot.addWidget(made.parts.actions)
    made.resize(1200, 800)
    made.show()
    made.open_with({"adapter": adapters / "plain-adapter", "part": "export"})
    made.shown()
    qtbot.waitUntil(made.settled, timeout=LONG)
    yield made
    made.finish()


def test_that_formats_say_their_size_or_why_not_and_types_follow_the_format(page):
    cards = page.export.cards
    assert page.part == "export" and page.parts.export_button.isVisibleTo(page.parts.actions)
    assert "kB" in cards["adapter"].figures.text() and cards["gguf"].available
    assert not cards["script"].available and "Only a run" in cards["script"].sentence.text()
    cards["adapter"]._press()
    assert not page.export.types.isVisibleTo(page)
    cards["gguf"]._press()
    q8, k = (page.export.chips.button(list(exporting.TYPES).index(name)) for name in ("q8_0", "q4_k_m"))
    assert page.export.types.isVisibleTo(page) and k.isEnabled() is exporting.has_program()
    assert page.export.program.isVisibleTo(page) is not exporting.has_program()
    before = cards["gguf"].figures.text()
    q8.click()
    assert page.export.place.name == "plain-adapter-gguf-q8-0"
    words = shlex.split(page.command())
    assert words[:2] == ["tunesmith", "export"] and words[-2:] == ["--quantization", "q8_0"]
    assert before
    cards["gguf-adapter"]._press()
    assert page.export.kind == "f16" and "--quantization" in page.command()


def test_that_a_gguf_is_exported_proved_and_ready_to_be_used(page, qtbot):
    page.export.choose("gguf")
    out = page.export.place
    page.primary_action()
    assert page.state_pill.text == "Exporting"
    qtbot.waitUntil(page.settled, timeout=LONG)
    card = page.exported
    assert page.notice.isHidden() and page.result["verified"] and card.seal._token == "ok"
    assert card.command.text().startswith("llama-server -m") and str(out) in card.command.text()
    with qtbot.waitSignal(page.navigate_requested) as asked:
        card.chat_button.click()
    assert asked.args[0] == "chat" and asked.args[1]["model"].suffix == ".gguf"
    assert page.export.place != out and page.certificate.made is None
    assert not card.export_button.isVisibleTo(page)


def test_that_what_cannot_be_exported_says_why_and_leaves_nothing(page, qtbot, home):
    page.export.choose("ollama")
    tokenizer = page.export.what.base.path / "tokenizer.json"
    tokenizer.rename(home / "away")
    try:
        page.export_now()
        qtbot.waitUntil(page.settled, timeout=LONG)
    finally:
        (home / "away").rename(tokenizer)
    assert not page.notice.isHidden() and page.result is None
    assert page.exported.made is None and not list((home / "exports").iterdir())


def test_that_a_run_trained_whole_is_offered_as_an_export(page, qtbot, tiny_model):
    recipe = codec.override(
        Recipe(), {"model.path": str(tiny_model), "name": "whole", "data.train": ["x.jsonl"]}
    )
    run = store.create_run(recipe)
    shutil.copytree(tiny_model, run / "model")
    page.show_part("merge")
    page.open_with({"run": run})
    page.shown()
    qtbot.waitUntil(page.settled, timeout=LONG)
    assert page.part == "export" and page.export.what.run == run
    assert not page.export.cards["adapter"].available and page.export.cards["script"].available
    assert page.export.source.currentText() == page.export.what.name
    assert shlex.split(page.command())[2] == str(run)
