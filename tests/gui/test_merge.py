"""The Merge page with a real child on a tiny base and adapter."""

from __future__ import annotations

import shlex
import shutil

import pytest

from app.merging import free_folder
from app.pages.merge import MergePage
from app.widgets.certificate_view import CertificateView
from app.widgets.label import TextLabel
from engine.models.facts import read_facts
from tests.gui.drawn import nameless_controls, wait_until_nothing_is_cut
from tests.integration.adapters import make_adapters

LONG = 120_000


@pytest.fixture
def adapters(tiny_model):
    return make_adapters(tiny_model)


@pytest.fixture
def page(qtbot, services):
    made = MergePage(services)
    qtbot.addWidget(made)
    qtbot.addWidget(made._actions)
    made.resize(1100, 700)
    made.show()
    yield made
    if made._thread is not None:
        made._thread.cancel_child()
        made._thread.wait(30_000)


def choose(page, qtbot, folder):
    page.open_with({"adapter": folder})
    page.shown()
    qtbot.waitUntil(page.settled, timeout=LONG)


def test_that_a_merge_ends_with_a_certificate_and_a_model_that_opens(page, adapters, qtbot, home):
    choose(page, qtbot, adapters / "plain-adapter")
    assert (
        "plain-base" in page.diagram.accessibleName() and "adapter · LoRA r4" in page.diagram.accessibleName()
    )
    out = page.choice.folder
    assert out == home / "exports" / "plain-adapter-merged"
    shares = []
    page.merge()
    page._thread.events_arrived.connect(lambda _: shares.append(page.choice.meter.value))
    assert page.cancel_button.isVisibleTo(page._actions) and not page.choice.out.isEnabled()
    qtbot.waitUntil(page.settled, timeout=LONG)
    assert page.result is not None and page.result["fidelity"]["passed"]
    assert page.certificate.verdict._kind == "ok" and "agrees" in page.certificate.verdict._title.text()
    assert shares == sorted(shares)
    assert read_facts(out).parameters == read_facts(adapters / "plain-base").parameters
    assert page.choice.folder.name == "plain-adapter-merged-2"
    with qtbot.waitSignal(page.navigate_requested) as asked:
        page.certificate.chat_requested.emit()
    assert asked.args == ["chat", {"model": out}]


def test_that_precision_changes_the_size_and_the_command(page, adapters, qtbot):
    choose(page, qtbot, adapters / "plain-adapter")
    assert "--dtype" not in page.command()
    page.choice.dtypes.button(2).click()
    words = shlex.split(page.command())
    assert words[:3] == ["tunesmith", "merge", str(adapters / "plain-adapter")]
    assert words[-2:] == ["--dtype", "bf16"]
    assert "bfloat16" in page.diagram.accessibleName()


def test_that_an_existing_folder_is_refused_beside_its_field(page, adapters, qtbot, tmp_path):
    choose(page, qtbot, adapters / "plain-adapter")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "a.txt").write_text("x")
    page.choice.out.setText(str(tmp_path / "taken"))
    page.merge()
    assert page._thread is None and not page.notice.isHidden()
    assert "exists already" in page.notice._title.text()


def test_that_an_adapter_whose_base_is_gone_says_which(page, adapters, qtbot, tmp_path):
    lost = tmp_path / "lost"
    shutil.copytree(adapters / "plain-adapter", lost)
    config = (lost / "adapter_config.json").read_text().replace(str(adapters / "plain-base"), "/gone/base")
    (lost / "adapter_config.json").write_text(config)
    choose(page, qtbot, lost)
    assert "/gone/base" in page.notice._title.text()
    assert not page.merge_button.isEnabled()


def test_that_without_adapters_the_page_says_what_to_do(page, qtbot):
    page.shown()
    qtbot.waitUntil(page.settled, timeout=LONG)
    assert page.empty.isVisible() and page.chain.isHidden()


def test_that_a_cancelled_merge_leaves_nothing_half_made(page, adapters, qtbot):
    choose(page, qtbot, adapters / "plain-adapter")
    out = page.choice.folder
    page.merge()
    page._on_cancel()
    qtbot.waitUntil(page.settled, timeout=LONG)
    assert page.result is None and page.notice.isHidden()
    assert not out.exists() and page.merge_button.isEnabled()


def test_that_a_failed_certificate_is_drawn_in_red(qtbot):
    view = CertificateView()
    qtbot.addWidget(view)
    limits = {"max_logit_difference": 1e-3, "mean_kl": 1e-6, "top1_agreement": 0.999}
    view.show_fidelity(
        {
            "max_logit_difference": 2.0,
            "mean_kl": None,
            "top1_agreement": 0.5,
            "same_answers": 1,
            "prompts": 6,
            "limits": limits,
        }
    )
    numbers = {label.text(): label.token for label in view.findChildren(TextLabel)}
    assert numbers["2.0e+00"] == numbers["50.0 %"] == numbers["-"] == "bad"


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
    page.services.theme.set_text_size(100)
