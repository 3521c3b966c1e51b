"""The Merge page with real children on a tiny base: one adapter merged, compared and found again."""

from __future__ import annotations

import shlex

import pytest

from app.merging import free_folder, last_made
from app.pages.merge import MergePage
from app.widgets.certificate_view import CertificateView
from app.widgets.label import TextLabel
from engine.models.facts import read_facts
from tests.gui.drawn import nameless_controls, wait_until_nothing_is_cut
from tests.gui.merge_place import LONG, moved
from tests.integration.adapters import make_adapters


@pytest.fixture
def adapters(tiny_model):
    return make_adapters(tiny_model)


@pytest.fixture
def page(qtbot, services):
    made = MergePage(services)
    qtbot.addWidget(made)
    qtbot.addWidget(made.parts.actions)
    made.resize(1100, 700)
    made.show()
    yield made
    if made.going.busy:
        made.going.cancel()
        made.going.cancel()
        qtbot.waitUntil(lambda: not made.going.busy, timeout=LONG)
    made.finish()


def choose(page, qtbot, folder):
    page.open_with({"adapter": folder})
    page.shown()
    qtbot.waitUntil(page.settled, timeout=LONG)


def test_that_a_merge_ends_with_a_seal_and_a_model_that_opens_and_damage_breaks_it(
    page, adapters, qtbot, home
):
    choose(page, qtbot, adapters / "plain-adapter")
    assert "plain-base" in page.diagram.accessibleName() and "LoRA r4" in page.diagram.accessibleName()
    out = page.board.result.folder
    assert out == home / "exports" / "plain-adapter-merged"
    shares = []
    page.going.progressed.connect(lambda words, share: shares.append(share))
    page.merge()
    assert page.parts.cancel_button.isVisibleTo(page.parts.actions)
    assert not page.board.result.isEnabled() and not page.trial.isEnabled()
    qtbot.waitUntil(page.settled, timeout=LONG)
    assert page.result is not None and page.result["fidelity"]["passed"]
    card = page.certificate
    assert card.seal._token == "ok" and "agrees with plain-base + plain-adapter" in card.verdict.text()
    assert shares == sorted(shares) and shares[-1] == 1.0
    each = page.result["fidelity"]["each"]
    assert len(each) == page.result["fidelity"]["prompts"] and all(one["same_answer"] for one in each)
    card.figures.prompts_button.click()
    assert card.figures.prompts.isVisible()
    assert read_facts(out).parameters == read_facts(adapters / "plain-base").parameters
    assert page.board.result.folder.name == "plain-adapter-merged-2"
    with qtbot.waitSignal(page.navigate_requested) as asked:
        card.chat_button.click()
    assert asked.args == ["chat", {"model": out}]
    assert last_made().folder == out
    with open(out / "model.safetensors", "r+b") as file:
        file.seek(-3, 2)
        file.write(b"\x7f")
    card.check_button.click()
    qtbot.waitUntil(page.settled, timeout=LONG)
    assert card.seal._token == "bad" and "model.safetensors" in card.verdict.text()
    assert "Make it again" in card.about.text()


def test_that_precision_and_form_change_size_and_command(page, adapters, qtbot):
    choose(page, qtbot, adapters / "plain-adapter")
    assert "--dtype" not in page.command()
    page.board.result.dtypes.button(2).click()
    words = shlex.split(page.command())
    assert words[:3] == ["tunesmith", "merge", str(adapters / "plain-adapter")]
    assert words[-2:] == ["--dtype", "bf16"]
    assert "bfloat16" in page.diagram.accessibleName()
    page.board.result.forms.button(1).click()
    assert "--adapter-only" in page.command() and "new adapter" in page.diagram.accessibleName()
    assert page.board.result.folder.name == "plain-adapter-adapter"
    assert "rank 4" in page.board.result.figures.text()


def test_that_an_existing_folder_is_refused_beside_its_field(page, adapters, qtbot, tmp_path):
    choose(page, qtbot, adapters / "plain-adapter")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "a.txt").write_text("x")
    page.board.result.out.setText(str(tmp_path / "taken"))
    page.merge()
    assert not page.going.busy and not page.notice.isHidden()
    assert "exists already" in page.notice._title.text()


def test_that_an_adapter_whose_base_is_gone_says_which(page, adapters, qtbot, tmp_path):
    choose(page, qtbot, moved(adapters / "plain-adapter", tmp_path / "lost", tmp_path / "gone"))
    assert str(tmp_path / "gone") in page.notice._title.text()
    assert not page.parts.merge_button.isEnabled()


def test_that_without_adapters_the_page_says_what_to_do(page, qtbot):
    page.shown()
    qtbot.waitUntil(page.settled, timeout=LONG)
    assert page.parts.empty.isVisible() and page.parts.chain.isHidden()


def test_that_a_cancelled_merge_leaves_nothing_half_made(page, adapters, qtbot, home):
    choose(page, qtbot, adapters / "plain-adapter")
    page.merge()
    page.going.cancel()
    qtbot.waitUntil(page.settled, timeout=LONG)
    assert page.result is None and page.notice.isHidden()
    assert not [path for path in (home / "exports").iterdir() if path.name.startswith(".")]
    assert page.parts.merge_button.isEnabled()


def test_that_a_failed_certificate_is_drawn_in_red_with_its_proofs(qtbot):
    view = CertificateView()
    qtbot.addWidget(view)
    view.show_fidelity(
        {
            "max_logit_difference": 2.0,
            "mean_kl": None,
            "top1_agreement": 0.5,
            "same_answers": 1,
            "prompts": 6,
            "limits": {"max_logit_difference": 1e-3, "mean_kl": 1e-6, "top1_agreement": 0.999},
            "checks": {"template": {"passed": False, "reason": "it ends otherwise"}},
        }
    )
    labels = {label.text(): label.token for label in view.findChildren(TextLabel)}
    assert labels["2.0e+00"] == labels["50.0 %"] == labels["-"] == "bad"
    assert "the chat template says the same: it ends otherwise" in labels


def test_that_names_for_folders_are_free_and_plain(home):
    assert free_folder("Tickets / ÄÖ").name == "tickets-ao-merged"
    (home / "exports" / "tickets-ao-merged").mkdir()
    assert free_folder("Tickets / ÄÖ").name == "tickets-ao-merged-2"


@pytest.mark.parametrize("text_size", [100, 150])
def test_that_no_word_is_cut_and_every_control_has_a_name(page, adapters, qtbot, text_size):
    page.services.theme.set_text_size(text_size)
    choose(page, qtbot, adapters / "plain-adapter")
    wait_until_nothing_is_cut(page, qtbot)
    assert nameless_controls(page) == []
    page.parts.parts.button(1).click()
    wait_until_nothing_is_cut(page, qtbot)
    assert nameless_controls(page) == []
    page.services.theme.set_text_size(100)
